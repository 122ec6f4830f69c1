"""Every mistake that a user can make: one clear sentence with the way out, exit code 2, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtail.cli import cli
from longtail.exits import MISTAKE, PIPE_CLOSED, STOPPED, answer

Make = Callable[[Mapping[str, int]], Path]
QUICK = "--backbone test_resnet --weights none --image-size 32 --epochs 1 --workers 0"


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (80, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes `photos` with so many pictures a folder, in the current folder of the test."""
    monkeypatch.chdir(tmp_path)

    def photos(counts: Mapping[str, int]) -> Path:
        (tmp_path / "photos").mkdir()
        for folder, count in counts.items():
            (tmp_path / "photos" / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture(tmp_path / "photos" / folder / f"{number}.png", number)
        return tmp_path / "photos"

    return photos


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def complaint(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The error of a command that must fail and leave the current folder as it is."""
    before = everything(Path.cwd())
    code = answer(cli, line.split())
    error = "Error: " + capsys.readouterr().err.rpartition("Error: ")[2]
    assert code == MISTAKE, error
    assert everything(Path.cwd()) == before
    assert "Traceback" not in error
    return error


def assert_one_sentence(error: str) -> None:
    assert len(error.strip().splitlines()) == 1
    assert error.strip().endswith((".", "?"))


TWO = {"cat": 6, "dog": 4}
WRONG: dict[str, tuple[Mapping[str, int], str, tuple[str, ...]]] = {
    # what is wrong: (folders and their images, what is typed, what the sentence must name)
    "missing folder": ({}, "train nowhere", ("nowhere",)),
    "empty folder": ({}, "train photos", ("photos",)),
    "a file for a folder": (TWO, "train photos/cat/0.png", ("0.png",)),
    "one class": ({"cat": 3}, "train photos", ("one class", "cat")),
    "class folder without images": ({"cat": 3, "dog": 0}, "train photos", ("dog",)),
    "test labels that training has not": (
        {"train/cat": 3, "train/dog": 3, "test/cat": 1, "test/lynx": 1},
        "train photos",
        ("lynx",),
    ),
    "ratio below 1": (TWO, "train photos --imbalance 0.5", ("0.5", "at least 1")),
    "ratio is no number": (TWO, "train photos --imbalance nan", ("nan",)),
    "ratio is infinite": (TWO, "train photos --imbalance inf", ("inf",)),
    "ratio beyond the largest class": (TWO, "train photos --imbalance 1000", ("1000", "largest class")),
    "a class that the ratio would leave empty": ({}, "train --imbalance 1000", ("1000", "empty")),
    "unknown recipe": (TWO, "train photos --recipe gcll", ("gcll", "did you mean gcl")),
    "recipe file that is not there": (TWO, "train photos --recipe mine.py:best", ("mine.py", "FILE.py:function")),
    "unknown backbone": (TWO, "train photos --backbone resnet5O", ("resnet5O", "resnet50")),
    "unknown device": (TWO, f"train photos {QUICK} --device tpu9", ("tpu9", "--device")),
    "no such GPU": (TWO, f"train photos {QUICK} --device cuda:63", ("cuda:63", "--device")),
    "no epochs": (TWO, "train photos --epochs 0", ("--epochs", "at least 1", "0")),
    "negative epochs": (TWO, "train photos --epochs -3", ("--epochs", "at least 1", "-3")),
    "an --out that exists": (TWO, f"train photos {QUICK} --out photos", ("photos", "exists", "--out")),
    "weights that are no file": (TWO, "train photos --weights best.safetensors", ("best.safetensors", "none")),
    "batch of nothing": (TWO, "train photos --batch-size 0", ("--batch-size", "0")),
    "learning rate that is no number": (TWO, "train photos --lr nan", ("--lr", "nan")),
    "a gradient clipped to nothing": (TWO, "train photos --clip 0", ("--clip", "positive", "0")),
    "more pieces than the batch has": (TWO, f"train photos {QUICK} --accumulate 100", ("--accumulate", "100")),
    "pieces of a whole batch": (TWO, f"train photos {QUICK} --recipe lade --accumulate 2", ("--accumulate", "whole")),
    "a warm-up beyond the end": (TWO, f"train photos {QUICK} --warm-up 2", ("--warm-up", "2 epochs", "of 1")),
    "an average that forgets nothing": (TWO, "train photos --ema 1", ("--ema", "between 0 and 1")),
    "a rate for a frozen backbone": (TWO, "train photos --freeze --backbone-lr 0.1", ("--freeze", "--backbone-lr")),
    "validation of more than there is": (TWO, "train photos --val 1.5", ("1.5",)),
    "borders the wrong way round": (TWO, f"train photos {QUICK} --shot-borders 5,50", ("few 50", "many 5")),
    "compare with one recipe": (TWO, "compare photos --recipes gcl", ("two", "gcl")),
    "compare with the same recipe twice": (TWO, "compare photos --recipes gcl,gcl", ("different", "gcl")),
    "compare with no seed": (TWO, "compare photos --seeds 0", ("--seeds", "0")),
    "compare into a folder that exists": (TWO, "compare photos --out photos", ("photos", "exists", "--out")),
    "compare with an unknown recipe": (TWO, "compare photos --recipes ce,gcll", ("gcll", "did you mean gcl")),
    "describe a missing folder": ({}, "describe nowhere", ("nowhere",)),
    "describe with a ratio below 1": (TWO, "describe photos --imbalance 0.5", ("0.5",)),
    "unknown method": ({}, "methods focall", ("focall", "did you mean focal")),
    "predict with a run that is none": (TWO, "predict photos photos/cat", ("photos", "run")),
    "predict with a run that is not there": (TWO, "predict nowhere photos/cat", ("nowhere",)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_sentence_with_the_way_out(wrong: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folders, line, named = WRONG[wrong]
    make(folders)
    error = complaint(line, capsys)
    assert_one_sentence(error)
    for word in named:
        assert word in error


@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_truncated_image_is_named_after_the_pass(
    command: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make({"cat": 8, "dog": 6})
    for name in ("cat/1.png", "dog/2.png"):
        content = (photos / name).read_bytes()
        (photos / name).write_bytes(content[: len(content) // 2])
    error = complaint(f"{command} photos {QUICK}", capsys)
    sentence, *names = error.strip().splitlines()
    assert "2 images cannot be read" in sentence
    assert "--bad-images drop" in sentence
    assert [name.strip().partition(":")[0] for name in names] == ["cat/1.png", "dog/2.png"]
    assert all("truncated" in name for name in names)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_text_named_as_an_image_is_named_at_once(
    command: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make({"cat": 8, "dog": 6})
    (photos / "dog" / "notes.jpg").write_text("not a picture")
    error = complaint(f"{command} photos {QUICK}", capsys)
    assert "dog/notes.jpg: not an image" in error
    assert "--bad-images drop" in error


def test_pretrained_weights_that_cannot_be_had(
    make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def nothing(*_: object, **__: object) -> str:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", nothing)
    make(TWO)
    error = complaint("train photos --backbone resnet18 --epochs 1 --workers 0", capsys)
    assert_one_sentence(error)
    for word in ("resnet18", "--weights none", "FILE.safetensors"):
        assert word in error


def longtail(line: str, folder: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """The program in a folder and in a process of its own, which does `before` first."""
    command = [sys.executable, "-m", "longtail", *line.split()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, preexec_fn=before)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize("command", ["train", "compare"])
def test_ctrl_c_says_how_to_go_on(command: str, tmp_path: Path) -> None:
    process = longtail(f"{command} --epochs 10000 --out runs/mine", tmp_path)
    steps = "steps.jsonl" if command == "train" else "ce-seed0/steps.jsonl"
    wait_for(tmp_path / "runs" / "mine" / steps, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == STOPPED
    assert err.strip().endswith(f"Stopped.\nGo on with: longtail {command} --resume runs/mine")
    assert "Traceback" not in err
    assert not out
    assert (tmp_path / "runs" / "mine" / "unfinished").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_no_space_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on the size of files stops the write of the weights as a full disk does."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    process = longtail("train --epochs 1 --out runs/mine", tmp_path, limit)
    _, err = process.communicate(timeout=120)
    assert process.returncode == MISTAKE, err
    error = err.strip().splitlines()[-1]
    assert error.startswith("Error: File too large")
    assert "--out" in error
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_where_one_may_not_write(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make(TWO)
    Path("locked").mkdir(mode=0o500)
    assert_one_sentence(complaint(f"train photos {QUICK} --out locked/run", capsys))


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_a_closed_pipe_in_mid_training_leaves_nothing_behind(tmp_path: Path) -> None:
    process = longtail("train --epochs 300 --out runs/mine", tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    wait_for(tmp_path / "runs" / "mine" / "steps.jsonl", process)
    process.stdout.close()
    process.stderr.close()  # as `2>&1 | head` does; the next line of progress finds nobody
    assert process.wait(timeout=120) == PIPE_CLOSED
    assert not list(tmp_path.iterdir())
