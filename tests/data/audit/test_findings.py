"""What `longtail describe` finds: every finding with its id and severity, and the exit code that follows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import longtail
from longtail.cli import cli
from longtail.data.audit.findings import Finding
from longtail.data.open import open_images
from longtail.data.pixels import Files
from longtail.exits import answer

MakeFolder = Callable[..., Path]


def found(data: Path | None, **options: object) -> dict[str, Finding]:
    description = longtail.describe(data, **options)  # type: ignore[arg-type]
    findings = {finding.id: finding for finding in description.findings}
    assert len(findings) == len(description.findings)
    return findings


def photographs(root: Path, counts: dict[str, int]) -> Path:
    """Pictures that have nothing in common."""
    draw = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            coarse.resize((60, 50), Image.Resampling.BICUBIC).save(root / name / f"{number:03}.png")
    return root


PARTS = {"train/cat": 8, "train/dog": 6, "test/cat": 3, "test/dog": 3}


def test_sound_images_have_no_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = photographs(tmp_path / "photos", PARTS)
    assert found(root, full=True) == {}
    assert answer(cli, ["describe", str(root)]) == 0
    assert "No unreadable file" in capsys.readouterr().out


def test_the_embedded_set_is_no_cause_for_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    findings = found(None)
    assert {finding.severity for finding in findings.values()} <= {"info"}
    assert findings["class-with-few-images"].about == (("8",), ("9",))
    assert answer(cli, ["describe"]) == 0
    assert "[class-with-few-images]" in capsys.readouterr().out


def test_labels_and_parts(tmp_path: Path) -> None:
    root = photographs(tmp_path / "photos", {**PARTS, "train/Cat ": 7, "train/rare": 2, "val/dog": 2})
    findings = found(root)
    assert findings["labels-alike"].about == (("Cat ", "cat"),)
    assert findings["labels-alike"].severity == "warning"
    assert findings["class-with-few-images"].about == (("rare",),)
    assert findings["class-not-in-test"].about == (("Cat ",), ("rare",))
    assert findings["class-not-in-test"].severity == "warning"
    assert findings["class-not-in-validation"].about == (("Cat ",), ("cat",), ("rare",))
    assert answer(cli, ["describe", str(root)]) == 1


def test_copies_within_and_across(tmp_path: Path) -> None:
    root = photographs(tmp_path / "photos", PARTS)
    for source, copy in {
        "train/cat/000.png": "train/cat/copy.png",
        "train/cat/001.png": "test/cat/copy.png",
        "train/dog/002.png": "train/cat/wrong.png",
    }.items():
        shutil.copy(root / source, root / copy)
    findings = found(root)
    assert {name: (finding.severity, finding.about) for name, finding in findings.items()} == {
        "identical-across-parts": ("warning", (("train/cat/001.png", "test/cat/copy.png"),)),
        "identical-across-classes": ("warning", (("train/cat/wrong.png", "train/dog/002.png"),)),
        "identical-images": ("info", (("train/cat/000.png", "train/cat/copy.png"),)),
    }


def test_only_files_of_one_length_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photographs(tmp_path / "photos", PARTS)
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        path.write_bytes(path.read_bytes().ljust(20_000 + number))
    shutil.copy(root / "train/cat/000.png", root / "train/cat/copy.png")
    seen: list[int] = []
    original = Files.content

    def content(self: Files, index: int) -> bytes:
        seen.append(index)
        return original(self, index)

    monkeypatch.setattr(Files, "content", content)
    assert "identical-images" in found(root)
    assert len(seen) == 2


def test_near_copies_are_found_with_full_and_written_as_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = photographs(tmp_path / "photos", PARTS)
    with Image.open(root / "train/cat/003.png") as image:
        image.convert("RGB").save(root / "test/cat/again.jpg", quality=60)
    assert found(root) == {}
    shutil.copy(root / "train/dog/000.png", root / "train/dog/copy.png")
    assert set(found(root, full=True)) == {"near-identical-across-parts", "identical-images"}
    (root / "train/dog/copy.png").unlink()
    near = found(root, full=True)["near-identical-across-parts"]
    assert near.about == (("train/cat/003.png", "test/cat/again.jpg"),)
    groups = tmp_path / "groups.csv"
    assert answer(cli, ["describe", str(root), "--groups-out", str(groups), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [finding["id"] for finding in told["findings"]] == ["near-identical-across-parts"]
    rows = groups.read_text().splitlines()
    assert [row.partition(",")[2] for row in rows] == ["identity", "test/cat/again.jpg", "train/cat/003.png"]
    images = open_images(root, {"group_by": str(groups)})
    assert "train/cat/003.png" not in images.train.identities
    assert answer(cli, ["describe", str(root), "--groups-out", str(groups)]) == 2
    assert "groups.csv exists already" in capsys.readouterr().err
    assert answer(cli, ["describe", str(root), "--groups-out", str(tmp_path / "no" / "groups.csv")]) == 2


def test_an_unreadable_image_is_the_worst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = photographs(tmp_path / "photos", {**PARTS, "train/rare": 2})
    (root / "train/cat/000.png").write_text("no image")
    description = longtail.describe(root)
    assert description.severity == "error"
    assert [finding.severity for finding in description.findings] == ["error", "warning", "info"]
    assert description.findings[0].about == (("train/cat/000.png",),)
    assert answer(cli, ["describe", str(root)]) == 2
    out = capsys.readouterr().out
    assert "! 1 class without a test image (rare): not measured [class-not-in-test]" in out


def test_slow_decoding_is_advised_on_unless_a_cache_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photographs(tmp_path / "photos", PARTS)
    for path in root.rglob("*.png"):
        with Image.open(path) as image:
            image.resize((70, 70)).save(path)
    slow = "longtail.data.audit.describe.advice"
    monkeypatch.setattr(slow, lambda part, preprocessing: f"{len(part)} images are slow.")
    assert found(root)["slow-decoding"].text == "14 images are slow"
    assert not found(root, cache=tmp_path / "kept")
