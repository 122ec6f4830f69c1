"""The house holds: imports run one way, only the terminal prints, nothing runs foreign code, the door opens at once."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "longtail"
FILES = sorted(PACKAGE.rglob("*.py"))

LEVELS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            ("errors", "files", "interrupts", "text", "watching"),
            ("counts",),
            ("device", "draws", "metrics", "priors", "runs", "schedules", "weighting", "world"),
            ("launch", "moment", "unfinished"),
            ("data", "losses", "models", "report", "samplers"),
            ("deploy", "training"),
            ("studies",),
            ("cards",),
            ("terminal",),
            ("exits", "options"),
            ("cli",),
            ("__main__",),
        ),
    )
)
"""A room imports from rooms of the levels above it; rooms of one level do not know one another."""

PRINTING = {"cli", "exits", "terminal"}
CHECKPOINTS = "models/foreign.py"
"""The one file that may call torch.load, and only so that it gives nothing but tensors and plain values."""
UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
DEPENDENCIES = {
    "PIL",
    "click",
    "huggingface_hub",
    "jinja2",
    "matplotlib",
    "rich",
    "safetensors",
    "scipy",
    "simplejpeg",
    "sklearn",
    "timm",
    "torchvision",
}
"""What is installed with the package beside torch and numpy."""


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all that is imported, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports inside the package are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def rooms_imported(file: Path) -> set[str]:
    names = [name.split(".") for name in imported(ast.parse(file.read_text(encoding="utf-8")))]
    known = {room for level in LEVELS for room in level}
    return {parts[1] for parts in names if parts[0] == "longtail" and len(parts) > 1 and parts[1] in known}


def level_of(room: str) -> int:
    for number, level in enumerate(LEVELS):
        if room in level:
            return number
    raise AssertionError(f"{room} has no place in LEVELS: who may import it, and whom may it import?")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    room = room_of(file)
    if room == "__init__":  # the public door imports nothing until a name is asked for
        return
    wrong = {other for other in rooms_imported(file) - {room} if level_of(other) >= level_of(room)}
    assert not wrong, f"{room} may not import {', '.join(sorted(wrong))}"


def test_the_levels_name_every_room_and_no_other() -> None:
    assert {room for level in LEVELS for room in level} == {room_of(file) for file in FILES} - {"__init__"}


def forbidden(tree: ast.AST) -> Iterator[str]:
    """What would run code that comes with data."""
    for name in imported(tree):
        if name.split(".")[0] in UNPICKLING or name == "torch.load":
            yield f"import of {name}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {"eval", "exec", "torch.load", "os.system"} or called.endswith("extractall"):
            yield f"{called}()"
        for keyword in node.keywords:
            if keyword.arg == "allow_pickle" or (keyword.arg == "shell" and ast.unparse(keyword.value) != "False"):
                yield f"{called}({keyword.arg}=...)"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_runs_code_that_comes_with_data(file: Path) -> None:
    found = list(forbidden(ast.parse(file.read_text(encoding="utf-8"))))
    assert found == (["torch.load()"] if file == PACKAGE / CHECKPOINTS else [])


def test_checkpoints_are_read_as_tensors_and_plain_values_alone() -> None:
    tree = ast.parse((PACKAGE / CHECKPOINTS).read_text(encoding="utf-8"))
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load")
    assert {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}["weights_only"] == "True"


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "torch.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(text, shell=True)",
        "archive.extractall(folder)",
        "os.system(text)",
    ],
)
def test_the_guard_sees_what_it_is_for(line: str) -> None:
    assert list(forbidden(ast.parse(line)))


@pytest.mark.parametrize("line", ["model.eval()", "loader.exec_module(module)", "safetensors.torch.load(data)"])
def test_the_guard_lets_the_harmless_pass(line: str) -> None:
    assert not list(forbidden(ast.parse(line)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_command_line_prints(file: Path) -> None:
    if room_of(file) in PRINTING:
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    named = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    assert not {"print", "sys.stdout", "sys.stderr"} & set(named)


def python(code: str, **settings: str) -> str:
    surroundings = {**os.environ, **settings}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=surroundings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = python("import longtail, sys; print(*sys.modules)").split()
    assert "longtail" in loaded
    assert not {"torch", "numpy", "rich", "click", "PIL"} & set(loaded)


def test_the_command_line_imports_nothing_heavy() -> None:
    loaded = python("import longtail.cli, sys; print(*sys.modules)").split()
    assert "click" in loaded
    assert not {"torch", "numpy", "rich", "PIL"} & set(loaded)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list the threads of a process")
def test_importing_starts_no_threads() -> None:
    """They would be missing in a process forked from one that has imported, which would wait for them for ever."""
    modules = [".".join(("longtail", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in FILES]
    code = f"""
import importlib, os

for module in {[module for module in modules if not module.endswith("__")]!r}:
    importlib.import_module(module)
print(len(os.listdir("/proc/self/task")))
"""
    assert python(code, OMP_NUM_THREADS="4", OPENBLAS_NUM_THREADS="1") == "1\n"


@pytest.mark.parametrize("room", ["losses", "samplers", "weighting"])
def test_the_parts_for_other_loops_need_torch_and_numpy_alone(room: str) -> None:
    code = f"""
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(DEPENDENCIES)!r}:
            raise ImportError(f"{{name}} is not installed")

sys.meta_path.insert(0, Nothing())
import longtail
print(*vars(longtail.{room}))
"""
    assert len(python(code).split()) > 5


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    import longtail

    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    checked = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname
        for block in checked
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(longtail.__all__)
    for name in longtail.__all__:
        assert getattr(longtail, name) is not None
