"""Tar shards: read where they lie, counted once, and refused with a sentence where they are not whole."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.loading.loader import Loader
from longtail.data.open import open_images
from longtail.data.parts import ImageSet
from longtail.errors import LongtailError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((12, 10, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def tar(path: Path, members: Mapping[str, bytes | str], form: int = tarfile.PAX_FORMAT) -> Path:
    """A shard with these members in this order; a text is the target of a link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def samples(start: int, count: int) -> dict[str, bytes]:
    """Grey images whose level says their number, even ones of class 0, odd ones of class 1."""
    members = {}
    for number in range(start, start + count):
        members[f"{number:06}.png"] = png(number)
        members[f"{number:06}.cls"] = str(number % 2).encode()
    return members


def check(images: ImageSet) -> int:
    """Every image is the one of its name, and has its label; returns how many there are."""
    for part in images.parts.values():
        for index, identity in enumerate(part.identities):
            number = int(identity.rpartition("/")[2].partition(".")[0])
            assert part.labels[index] == number % 2
            assert part.pixels.content(index) == png(number)
            with part.pixels.open(index) as image:
                assert image.getpixel((0, 0)) == (number,) * 3
    return sum(map(len, images.parts.values()))


def test_a_folder_of_shards(tmp_path: Path) -> None:
    for index in range(3):
        tar(tmp_path / "set" / f"data-{index:04}.tar", samples(20 * index, 20))
    images = open_images(tmp_path / "set")
    assert (images.name, images.kind, images.size) == ("set", "small", (12, 10))
    assert check(images) == 60
    assert images.counts.per_class == (24, 24)
    assert "Data: 3 tar shards with 60 images of 2 classes (train 60)" in images.notes
    named = open_images(str(tmp_path / "set" / "data-{0000..0002}.tar"))
    assert named.name == "data"
    assert named.fingerprint() == images.fingerprint()


@pytest.mark.parametrize("names", [("train-0.tar", "test-0.tar"), ("train/a.tar", "test/b.tar")])
def test_parts_are_told_by_names(tmp_path: Path, names: tuple[str, str]) -> None:
    for start, name in zip((0, 40), names, strict=True):
        tar(tmp_path / "set" / name, samples(start, 40))
    images = open_images(tmp_path / "set")
    assert {name: len(part) for name, part in images.parts.items()} == {"train": 40, "test": 40}
    assert check(images) == 80


def test_one_shard_and_its_loader(tmp_path: Path) -> None:
    images = open_images(tar(tmp_path / "one.tar", samples(0, 24)))
    for batch in Loader(images.train, Preprocessing((12, 10)), batch_size=8, workers=1).batches():
        for image, label in zip(batch.images, batch.labels.tolist(), strict=True):
            assert int(image[0, 0, 0]) % 2 == label


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_labels_of_all_kinds(tmp_path: Path, form: int) -> None:
    members: dict[str, bytes | str] = {}
    for number in range(12):
        key = f"./photos of ünï/{'x' * 60}/{number:06}"
        members[f"{key}.JPG" if number == 3 else f"{key}.png"] = png(number)
        label = {"label": "cat" if number % 2 else "dog", "caption": "."}
        members[f"{key}.json"] = json.dumps(label).encode()
        members[f"{key}.npy"] = b"passed over"
        members[f"{key}.seg.png"] = b"passed over"
    members["__MACOSX/x.png"] = b"hidden"
    members["photos of ünï/link.png"] = "/etc/hostname"
    images = open_images(tar(tmp_path / "odd.tar", members, form))
    assert images.classes == ("cat", "dog")
    assert sum(map(len, images.parts.values())) == 12
    assert any("25 members (.npy 12, .seg.png 12, .png 1)" in note for note in images.notes)


def test_the_index_is_kept_where_asked_and_only_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tar(tmp_path / "set" / "a.tar", samples(0, 20))
    kept = tmp_path / "kept"
    first = open_images(shard)
    assert not kept.exists()
    assert open_images(shard, {"cache": kept}).fingerprint() == first.fingerprint()
    assert [path.suffix for path in kept.iterdir()] == [".json"]
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["a.tar"]

    def refuse(*args: object) -> None:
        raise AssertionError("counted again")

    with monkeypatch.context() as patched:
        patched.setattr("longtail.data.sources.shards.index_shard", refuse)
        assert check(open_images(shard, {"cache": kept})) == 20
    tar(shard, samples(20, 30))
    assert check(open_images(shard, {"cache": kept})) == 30
    next(kept.iterdir()).write_text("{")
    assert check(open_images(shard, {"cache": kept})) == 30


NO_LABEL = {"a.png": png(0), "b.png": png(1), "b.cls": b"1"}
BROKEN: dict[str, tuple[Mapping[str, bytes | str], str]] = {
    "no label": (NO_LABEL, r"set.tar, sample a has no label; it takes a .cls or a .json"),
    "blank label": ({"a.png": png(0), "a.cls": b" \n"}, r"set.tar, sample a has no label"),
    "json without label": ({"a.png": png(0), "a.json": b'{"caption": 3}'}, r"sample a: its .json has no label"),
    "no json": ({"a.png": png(0), "a.json": b"{"}, r"sample a: its .json is none"),
    "two images": ({"a.png": png(0), "a.jpg": png(1), "a.cls": b"0"}, r"sample a has two images, a.png and a.jpg"),
    "no images": ({"a.txt": b"x"}, r"set.tar holds no images"),
    "twice": ({"a.png": png(0), "./a.png": png(1)}, r"."),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_shard_that_cannot_be_has_a_sentence(tmp_path: Path, case: str) -> None:
    members, sentence = BROKEN[case]
    with pytest.raises(LongtailError, match=sentence):
        open_images(tar(tmp_path / "set.tar", members))


def test_a_shard_cut_short_or_damaged_is_refused(tmp_path: Path) -> None:
    whole = tar(tmp_path / "set.tar", samples(0, 40)).read_bytes()
    end = len(whole.rstrip(b"\0"))
    for damaged in (
        whole[: end // 2],
        whole[: end - 300],
        whole[:512],
        whole[:20_480] + bytes(reversed(whole[20_480:20_992])) + whole[20_992:],
        whole + whole,
        b"no tar file at all" * 100,
        b"",
    ):
        (tmp_path / "set.tar").write_bytes(damaged)
        with pytest.raises(LongtailError, match=r"set.tar (is damaged|is no whole tar file|holds no images)"):
            open_images(tmp_path / "set.tar")


def test_mutated_shards_lose_nothing_unsaid(tmp_path: Path) -> None:
    """Whatever happens to the bytes: an error, or images that begin where the index says."""
    whole = tar(tmp_path / "set.tar", samples(0, 30)).read_bytes()
    draw = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        headers = draw.integers(0, len(whole) // 512, 3) * 512
        for place in headers + draw.integers(0, 512, 3):
            damaged[place] = draw.integers(0, 256)
        (tmp_path / "set.tar").write_bytes(damaged)
        try:
            images = open_images(tmp_path / "set.tar")
        except LongtailError:
            refused += 1
            continue
        for part in images.parts.values():
            for index, identity in enumerate(part.identities):
                assert part.pixels.content(index)[:4] == b"\x89PNG" or identity in images.unreadable
    assert refused > 50


def test_compressed_tars_and_missing_shards_are_said(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(LongtailError, match=r"shards are uncompressed \.tar files"):
        open_images(tmp_path / "set.tar")
    with pytest.raises(LongtailError, match=r"a-0.tar cannot be read: No such file"):
        open_images(str(tmp_path / "a-{0..2}.tar"))
    with pytest.raises(LongtailError, match="is no range of shards"):
        open_images(str(tmp_path / "a-{5..2}.tar"))
    tar(tmp_path / "mixed" / "train-0.tar", samples(0, 4))
    tar(tmp_path / "mixed" / "other.tar", samples(4, 4))
    with pytest.raises(LongtailError, match=r"other.tar of .* belong to no part"):
        open_images(tmp_path / "mixed")


def test_class_folders_beside_a_tar_file_stay_class_folders(tmp_path: Path) -> None:
    tar(tmp_path / "photos" / "backup.tar", samples(0, 4))
    for name in "ab":
        (tmp_path / "photos" / name).mkdir()
        for number in range(5):
            (tmp_path / "photos" / name / f"{number}.png").write_bytes(png(number))
    assert open_images(tmp_path / "photos").classes == ("a", "b")


def test_remote_shards_and_tables_through_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/train-0.tar", tar(tmp_path / "a.tar", samples(0, 30)).read_bytes())
    memory.pipe("/bucket/train-1.tar", tar(tmp_path / "a.tar", samples(30, 30)).read_bytes())
    images = open_images("memory://bucket/train-{0..1}.tar")
    assert check(images) == 60
    assert images.kind == "photographs"
    rows = [f"photos/{number:06}.png,{number % 2}\n" for number in range(20)]
    for number in range(20):
        memory.pipe(f"/bucket/photos/{number:06}.png", png(number))
    memory.pipe("/bucket/table.csv", ("path,label\n" + "".join(rows)).encode())
    assert check(open_images("memory://bucket/table.csv")) == 20
    memory.pipe("/bucket/table.csv", b"path,label\n../../secret.png,0\n")
    with pytest.raises(LongtailError, match=r"table.csv, line 2: '../../secret.png' leads out of"):
        open_images("memory://bucket/table.csv")
    for url in ("memory://bucket/absent.tar", "memory://bucket/absent.csv", "nosuch://bucket/a.tar"):
        with pytest.raises(LongtailError, match="cannot be re"):
            open_images(url)
    with pytest.raises(LongtailError, match="no table or shard that can be read from there"):
        open_images("memory://bucket/photos")
