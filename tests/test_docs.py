"""Every page under docs/ runs as it stands, from the first block of Python to the last."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
OTHER_LIBRARIES = {
    "hugging-face-trainer": ("transformers", "accelerate"),
    "in-your-own-loop": (),
    "lightning": ("lightning",),
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
    script = tmp_path / "page.py"  # not its own name, which may be a library's
    script.write_text(code, encoding="utf-8")
    # In a process of its own: these libraries change the one that they run in.
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=offline, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
