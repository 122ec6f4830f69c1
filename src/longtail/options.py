"""The options of the commands, each said once. Their names are the names of the functions' arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from longtail.errors import LongtailError

IMAGES, METHOD, MODEL, MACHINE = "Images", "Method", "Model and optimiser", "Machine and output"

BadImages = Literal["error", "drop"]
Format = Literal["csv", "jsonl"]


def names(words: str) -> tuple[str, ...]:
    """`ce,gcl` as two names."""
    return tuple(word.strip() for word in words.split(",") if word.strip())


def borders(words: str) -> tuple[float, float]:
    """`100,20` as two numbers of images."""
    try:
        many, few = (float(word) for word in words.split(","))
    except ValueError:
        raise LongtailError(f"--shot-borders must be two numbers, as in 100,20, not {words!r}.") from None
    return many, few


def fraction_or_folder(words: str) -> float | Path:
    """`0.1` as a number, anything else as a folder."""
    try:
        return float(words)
    except ValueError:
        return Path(words)


Data = Annotated[
    str | None,
    typer.Argument(
        help="A folder of class folders, or one with train/ and test/ (also val/) beneath; cifar10 or cifar100.",
        show_default="scikit-learn's digits, made long-tailed at ratio 50",
    ),
]
Imbalance = Annotated[
    float | None,
    typer.Option(
        help="Cut balanced data down to this ratio of largest to smallest class (images over images, 1 or more).",
        show_default="images as they are; digits 50",
        metavar="RATIO",
        rich_help_panel=IMAGES,
    ),
]
Validation = Annotated[
    str | None,
    typer.Option(
        help="Validation part: a fraction of the training images (0 to 1, by class), a folder of class folders, or 0.",
        show_default="val/ if there is one, else 0",
        metavar="FRACTION|DIR|0",
        rich_help_panel=IMAGES,
    ),
]
Policy = Annotated[
    BadImages,
    typer.Option(help="Images that cannot be decoded: name them all and stop, or go on without them.", rich_help_panel=IMAGES),
]
DataRoot = Annotated[
    Path,
    typer.Option(help="Folder of cifar10 and cifar100; what it lacks is downloaded.", metavar="DIR", rich_help_panel=IMAGES),
]
Borders = Annotated[
    str | None,
    typer.Option(
        help="Shot groups in training images a class: many has more than MANY, few has fewer than FEW.",
        show_default="100,20; smaller in proportion where the largest class has fewer than 500",
        metavar="MANY,FEW",
        rich_help_panel=IMAGES,
    ),
]
Recipe = Annotated[
    str,
    typer.Option(help="A recipe by name (see longtail methods), or one's own.", metavar="NAME|FILE.py:FUNCTION", rich_help_panel=METHOD),
]
Recipes = Annotated[
    str,
    typer.Option(
        help="Recipes to compare, by name or as FILE.py:FUNCTION; differences are to the first.",
        metavar="NAME,NAME,...",
        rich_help_panel=METHOD,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="Epochs of stage one; later stages scale in the recipe's proportion.",
        show_default="digits 80, small images 200, photographs 30",
        rich_help_panel=METHOD,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Seed of everything random but the split, which is always the same.", rich_help_panel=METHOD)
]
Seeds = Annotated[
    int, typer.Option(help="How many seeds each recipe is trained with: 0, 1, 2, ...", rich_help_panel=METHOD)
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="resnet32 (CIFAR's, 0.46 million parameters) or any name of timm.",
        show_default="resnet32 for small images, resnet50 for photographs",
        metavar="NAME",
        rich_help_panel=MODEL,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="What the backbone starts from.",
        show_default="none for resnet32, else pretrained",
        metavar="pretrained|none|FILE.safetensors",
        rich_help_panel=MODEL,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Pixels a side that images are brought to.",
        show_default="the backbone's; small images their own",
        rich_help_panel=MODEL,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="Images a step.",
        show_default="128, photographs 64; smaller for few images",
        rich_help_panel=MODEL,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        help="Learning rate of stage one after warm-up; later stages scale in the recipe's proportion.",
        show_default="0.1 from scratch, 0.01 from pretrained weights, for the default batch",
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Where to compute: auto takes a GPU if there is one.", metavar="auto|cpu|cuda|cuda:1|mps", rich_help_panel=MACHINE
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes that decode images.",
        show_default="one a core, 8 at most; 0 for images held in memory",
        rich_help_panel=MACHINE,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="The folder to write, which must not exist.",
        show_default="a free name under runs/",
        metavar="DIR",
        rich_help_panel=MACHINE,
    ),
]
