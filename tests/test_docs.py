"""Every page under docs/ runs as it stands, first block of Python to last; so does the method of CONTRIBUTING."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OTHER_LIBRARIES = {
    "data": (),
    "hugging-face-trainer": ("transformers", "accelerate"),
    "in-your-own-loop": (),
    "lightning": ("lightning",),
    "second-stage": (),
    "several-machines": (),
    "stopping-and-going-on": (),
}
"""What a page needs besides longtail. A new page needs a line here."""


def python_of(page: Path) -> str:
    """All blocks of Python, at the lines of the page where they stand, so that an error names its line."""
    inside, lines = False, []
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = re.fullmatch(r"```(\w*)", line)
        lines.append(line if inside and not fence else "")
        if fence:
            inside = fence[1] == "python"
    return "\n".join(lines)


def test_every_page_is_known() -> None:
    assert {page.stem for page in DOCS.glob("*.md")} == set(OTHER_LIBRARIES)


@pytest.mark.parametrize("name", OTHER_LIBRARIES)
def test_a_page_runs(name: str, tmp_path: Path) -> None:
    for library in OTHER_LIBRARIES[name]:
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed; it is no dependency of longtail")
    code = python_of(DOCS / f"{name}.md")
    assert "longtail" in code
    (tmp_path / "page.py").write_text(code, encoding="utf-8")  # not its own name, which may be a library's
    run(tmp_path, "page.py")


def test_a_method_of_ones_own_trains(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(python_of(ROOT / "CONTRIBUTING.md"), encoding="utf-8")
    train = ("-m", "longtail", "train", "--recipe", "mine.py:root_margin")
    run(tmp_path, *train, "--epochs", "1", "--device", "cpu", "--out", "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert "OnTarget" in config["stages"][0]["loss"]


def run(folder: Path, *arguments: str) -> None:
    """Python in a process of its own, since other libraries change the one that they run in."""
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
