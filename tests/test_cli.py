"""The words on the command line: a frozen list, the functions' own arguments and defaults, help that says units."""

from __future__ import annotations

import errno
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest

import longtail
from longtail.cli import cli
from longtail.data.asked import Reading
from longtail.deploy import evaluate, predict
from longtail.errors import LongtailError
from longtail.exits import MISTAKE, PIPE_CLOSED, STOPPED, answer
from longtail.training.planning.wishes import Wishes

HOW_TO_READ = {
    "--imbalance",
    "--profile",
    "--selection",
    "--data-root",
    "--image-root",
    "--val",
    "--split",
    "--group-by",
    "--background",
    "--cache",
    "--shot-borders",
}
WISHES = HOW_TO_READ | {
    "--bad-images",
    "--epochs",
    "--backbone",
    "--weights",
    "--image-size",
    "--batch-size",
    "--lr",
    "--optimizer",
    "--weight-decay",
    "--backbone-lr",
    "--schedule",
    "--warm-up",
    "--clip",
    "--accumulate",
    "--ema",
    "--sync-bn",
    "--numbers",
    "--sampling",
    "--freeze",
    "--views",
    "--features",
    "--device",
    "--loading",
    "--workers",
    "--compile",
    "--precision",
    "--checkpoint-every",
}
REBALANCING = HOW_TO_READ | {
    "--bad-images",
    "--epochs",
    "--backbone",
    "--classes",
    "--preprocessing",
    "--image-size",
    "--batch-size",
    "--lr",
    "--optimizer",
    "--weight-decay",
    "--clip",
    "--ema",
    "--views",
    "--features",
    "--device",
    "--loading",
    "--workers",
    "--checkpoint-every",
}
FROZEN = {
    "train": {"data", "--recipe", "--seed", "--resume", "--out"} | WISHES,
    "compare": {"data", "--recipes", "--seeds", "--jobs", "--resume", "--out"} | WISHES,
    "rebalance": {"model", "data", "--how", "--sampler", "--loss", "--seed", "--out"} | REBALANCING,
    "compare-rebalanced": {"model", "data", "--how", "--sampler", "--loss", "--seeds", "--out"} | REBALANCING,
    "predict": {"run", "images", "--format", "--top", "--test-prior", "--device", "--batch-size", "--workers"},
    "evaluate": {
        "run",
        "data",
        "--part",
        "--bad-images",
        "--test-prior",
        "--json",
        "--out",
        "--device",
        "--batch-size",
        "--workers",
    }
    | HOW_TO_READ,
    "describe": {"data", "--full", "--groups-out", "--json"} | HOW_TO_READ,
    "methods": {"name"},
}
"""Every word there is. A new one is a promise to keep: add it here on purpose."""

SAID_OTHERWISE = {
    ("describe", "as_json"),
    ("evaluate", "as_json"),
    ("predict", "form"),
    ("train", "resume"),
    ("compare", "resume"),
}
"""What changes how a result is written, or is a function of its own, and so is no argument of the function."""


def words(command: click.Command) -> dict[str, click.Parameter]:
    return {parameter.opts[0]: parameter for parameter in command.params}


def test_the_words_are_frozen() -> None:
    assert {name: set(words(command)) for name, command in cli.commands.items()} == FROZEN


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_a_command_says_what_its_function_takes(name: str) -> None:
    function: Callable[..., Any] = getattr(longtail, name.replace("-", "_"))
    taken = set(inspect.signature(function).parameters)
    how: Any = {"predict": predict.How, "evaluate": evaluate.How}.get(name)
    for together, named in (("wishes", Wishes), ("reading", Reading), ("how", how)):
        if named and together in taken:
            taken = (taken - {together}) | set(get_type_hints(named))
    said = {parameter.name for parameter in cli.commands[name].params if (name, parameter.name) not in SAID_OTHERWISE}
    assert said <= taken
    unsaid = {"watcher", "workers"}  # describe decodes in its own process
    if "rebalanc" in name:
        unsaid |= {"weights", "numbers", "freeze", "sampling"}  # the model has its own
        unsaid |= {"schedule", "warm_up", "backbone_lr", "accumulate", "sync_bn"}  # of a backbone that learns
        unsaid |= {"compile", "precision"}
    assert taken - said <= unsaid


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_a_default_on_the_command_line_is_that_of_the_function(name: str) -> None:
    arguments = inspect.signature(getattr(longtail, name.replace("-", "_"))).parameters
    required = [parameter for parameter in cli.commands[name].params if parameter.required]
    said = cli.commands[name].make_context(name, ["word"] * len(required)).params
    for word in said.keys() & arguments.keys() - {parameter.name for parameter in required}:
        assert (str(said[word]) if isinstance(said[word], Path) else said[word]) == arguments[word].default, word


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_help_names_unit_and_default_of_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(cli, [name, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for word, parameter in words(cli.commands[name]).items():
        if not isinstance(parameter, click.Option):
            continue
        assert parameter.help
        described = text[text.index(f" {word} ") :].partition(" --")[2].partition(" --")[0]
        if not parameter.is_flag:
            assert parameter.make_metavar(click.Context(cli.commands[name])) in described
            assert "[default:" in described, word


def test_the_programs_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(cli, ["-h"]) == 0
    out = capsys.readouterr().out
    assert "longtail compare" in out
    for name in FROZEN:
        assert f"  {name} " in out
    assert "\x1b" not in out  # no colours where there is no terminal


def test_help_waits_for_nothing_heavy() -> None:
    """What makes the answer quick; how quick it is, benchmarks/startup.py measures."""
    program = (
        "import sys; from longtail.cli import cli; from longtail.exits import answer; answer(cli, ['--help']);"
        "print(sorted({'torch', 'numpy', 'PIL', 'sklearn', 'matplotlib', 'jinja2', 'timm'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_words_become_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, Any] = {}

    def train(*args: Any, **kwargs: Any) -> None:
        heard.update(kwargs, data=args[0])
        raise LongtailError("enough.")

    monkeypatch.setattr("longtail.studies.train.train", train)
    wishes = "--val 0.1 --shot-borders 50,5 --lr 1e-2 --epochs 3 --bad-images drop"
    assert answer(cli, ["train", "photos", *wishes.split(), "--out", "runs/a", "--seed", "7"]) == MISTAKE
    assert heard["data"] == "photos"
    assert heard["val"] == 0.1
    assert heard["shot_borders"] == (50.0, 5.0)
    assert (heard["lr"], heard["epochs"], heard["seed"], heard["bad_images"]) == (0.01, 3, 7, "drop")
    assert heard["out"] == Path("runs/a")
    assert heard["weights"] is None
    answer(cli, ["train", "photos", "--val", "photos/val"])
    assert heard["val"] == Path("photos/val")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("train --epochs many", "Invalid value for '--epochs': 'many' is not a valid integer."),
        ("train --shot-borders 100", "Invalid value for '--shot-borders': '100' is not two numbers, as in 100,20."),
        ("train --epoch 3", "No such option '--epoch'"),
        ("trian", "No such command 'trian'"),
        ("predict run", "Missing argument 'IMAGE...'"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_a_hint(line: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(cli, line.split()) == MISTAKE
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith(f"Error: {sentence}")
    assert shown.err.rstrip().endswith("--help")


def failing(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("longtail", callback=fail)


def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    mistake = LongtailError("Class \x1b[31mcat\u202e has no image; add some.")
    assert answer(failing(mistake), []) == MISTAKE
    assert capsys.readouterr().err == "Error: Class �[31mcat� has no image; add some.\n"


def test_ctrl_c_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(failing(KeyboardInterrupt()), []) == STOPPED == 128 + signal.SIGINT
    assert capsys.readouterr().err.strip() == "Stopped."


def test_a_full_disk_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/steps.jsonl")
    assert answer(failing(full), []) == MISTAKE
    shown = capsys.readouterr().err
    assert shown == "Error: No space left on device (runs/a/steps.jsonl); make room, or give another --out.\n"


def test_a_fault_of_ours_shows_where_it_is() -> None:
    with pytest.raises(OSError, match="unheard of"):
        answer(failing(OSError(errno.EXDEV, "unheard of")), [])
    with pytest.raises(ZeroDivisionError):
        answer(failing(ZeroDivisionError()), [])


@pytest.mark.parametrize("words", ["methods", "describe --json", "--help"])
def test_a_closed_pipe_ends_quietly(words: str) -> None:
    command = [sys.executable, "-m", "longtail", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written
        assert not process.stderr.read()
        assert process.wait() == PIPE_CLOSED


def test_without_words_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(cli, []) == 0
    assert capsys.readouterr().out.startswith("Usage: longtail")


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "longtail", "train", "no/such/folder"], capture_output=True, text=True, check=False
    )
    assert done.returncode == MISTAKE
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
