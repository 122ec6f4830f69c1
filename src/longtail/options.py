"""The options of the commands, each said once. Their names are those of the functions' arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def names(ctx: click.Context, parameter: click.Parameter, words: str) -> tuple[str, ...]:
    """`ce,gcl` as two names."""
    return tuple(word.strip() for word in words.split(",") if word.strip())


def borders(ctx: click.Context, parameter: click.Parameter, words: str | None) -> tuple[float, float] | None:
    """`100,20` as two numbers of images; whether they make sense is the library's question."""
    if words is None:
        return None
    try:
        many, few = (float(word) for word in words.split(","))
    except ValueError:
        raise click.BadParameter(f"{words!r} is not two numbers, as in 100,20.", ctx, parameter) from None
    return many, few


def fraction_or_folder(ctx: click.Context, parameter: click.Parameter, words: str | None) -> float | Path | None:
    """`0.1` as a number, anything else as a folder."""
    if words is None:
        return None
    try:
        return float(words)
    except ValueError:
        return Path(words)


class Option(click.Option):
    """An option that help shows under the heading of its `panel`."""

    def __init__(self, *args: Any, panel: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.panel = panel


class Command(click.Command):
    """A command whose help is drawn by the terminal room."""

    def get_help(self, ctx: click.Context) -> str:
        """The text of --help."""
        return _help_text(self, ctx)


class Commands(click.Group):
    """The program: a group of commands."""

    command_class = Command

    def get_help(self, ctx: click.Context) -> str:
        """The text of --help."""
        return _help_text(self, ctx)


def _help_text(command: click.Command, ctx: click.Context) -> str:
    from longtail.terminal.help import help_text

    return help_text(command, ctx)


def option(*names: str, panel: str, help: str, **details: Any) -> Decorator:  # noqa: A002
    """One option, as a decorator."""
    return click.option(
        *names, cls=Option, panel=panel, help=help, show_default=details.pop("show_default", True), **details
    )


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator; help shows them in this order."""
    return lambda command: reduce(lambda wrapped, decorate: decorate(wrapped), reversed(options), command)


on_images = partial(option, panel="Images")
on_method = partial(option, panel="Method")
on_model = partial(option, panel="Model and optimiser")
on_rows = partial(option, panel="Output")
on_machine = partial(option, panel="Machine and output")

DATA = click.argument("data", required=False)

IMBALANCE = on_images(
    "--imbalance",
    type=float,
    metavar="RATIO",
    help="Cut balanced data down to this ratio of largest to smallest class, 1 or more.",
    show_default="data as they are; digits 50",
)
DATA_ROOT = on_images(
    "--data-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path("data"),
    help="Folder of cifar10 and cifar100; what it lacks is downloaded.",
)
VALIDATION = on_images(
    "--val",
    metavar="FRACTION|DIR|0",
    callback=fraction_or_folder,
    help="Validation part: a fraction of each class's training images, a folder of class folders, or 0 for none.",
    show_default="val/ if there is one, else 0",
)
SHOT_BORDERS = on_images(
    "--shot-borders",
    metavar="MANY,FEW",
    callback=borders,
    help="Shot groups by training images a class: many has more than MANY, few has fewer than FEW.",
    show_default="100,20; in proportion less where the largest class has fewer than 500",
)
BAD_IMAGES = on_images(
    "--bad-images",
    type=click.Choice(["error", "drop"]),
    default="error",
    help="Images that cannot be decoded: name them all and stop, or name them and go on without.",
)

RECIPE = on_method(
    "--recipe",
    metavar="NAME|FILE.py:FUNCTION",
    default="gcl",
    help="How to train: a recipe that `longtail methods` lists, or one's own.",
)
RECIPES = on_method(
    "--recipes",
    metavar="NAME,NAME,...",
    callback=names,
    default="ce,gcl",
    help="Recipes to compare, by name or as FILE.py:FUNCTION; differences are to the first.",
)
EPOCHS = on_method(
    "--epochs",
    type=int,
    metavar="EPOCHS",
    help="Epochs of stage one; later stages scale in the recipe's proportion.",
    show_default="digits 80, photographs 30 if pretrained, else 200",
)
SEED = on_method(
    "--seed",
    type=int,
    metavar="NUMBER",
    default=0,
    help="Seed of everything random but the split, which stays the same.",
)
SEEDS = on_method(
    "--seeds", type=int, metavar="NUMBER", default=1, help="How many seeds to train each recipe with: 0, 1, 2, ..."
)

BACKBONE = on_model(
    "--backbone",
    metavar="NAME",
    help="resnet32 (CIFAR's, 0.46 million parameters) or any name of timm.",
    show_default="resnet32, for photographs resnet50",
)
WEIGHTS = on_model(
    "--weights",
    metavar="pretrained|none|FILE.safetensors",
    help="What the backbone starts from.",
    show_default="none, for photographs pretrained",
)
IMAGE_SIZE = on_model(
    "--image-size",
    type=int,
    metavar="PIXELS",
    help="Height and width that images are brought to, in pixels.",
    show_default="the backbone's own; small images keep theirs",
)
BATCH_SIZE = on_model(
    "--batch-size",
    type=int,
    metavar="IMAGES",
    help="Images a step.",
    show_default="128, pretrained photographs 64, fewer for few images",
)
LEARNING_RATE = on_model(
    "--lr",
    type=float,
    metavar="RATE",
    help="Learning rate of stage one after warm-up.",
    show_default="0.1, pretrained photographs 0.01, less for smaller batches",
)

DEVICE = on_machine(
    "--device",
    metavar="auto|cpu|cuda|cuda:1|mps",
    default="auto",
    help="Where to compute; auto takes a GPU if there is one.",
)
WORKERS = on_machine(
    "--workers",
    type=int,
    metavar="PROCESSES",
    help="Processes that decode images.",
    show_default="one a core, at most 8; 0 for few or small images",
)
OUT = on_machine(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write, which must not exist.",
    show_default="a free name under runs/",
)

FORMAT = on_rows(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    help="CSV with a heading line, or a JSON object a line.",
)
TOP = on_rows(
    "--top", type=int, metavar="K", default=1, help="How many classes to name for each file, the likeliest first."
)
PREDICT_BATCH_SIZE = on_machine("--batch-size", type=int, metavar="IMAGES", default=64, help="Images at a time.")
FULL = on_images("--full", is_flag=True, help="Decode every image instead of reading its header.", show_default=False)
JSON = on_rows("--json", "as_json", is_flag=True, help="JSON on standard output instead of text.", show_default=False)

HOW_TO_READ = together(IMBALANCE, DATA_ROOT, VALIDATION, SHOT_BORDERS)
WISHES = together(
    HOW_TO_READ,
    BAD_IMAGES,
    EPOCHS,
    BACKBONE,
    WEIGHTS,
    IMAGE_SIZE,
    BATCH_SIZE,
    LEARNING_RATE,
    DEVICE,
    WORKERS,
)
