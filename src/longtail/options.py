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
PROFILE = on_images(
    "--profile",
    type=click.Choice(["exp", "step"]),
    help="How the counts fall from class to class where data are cut down: exponentially, or by a step in the middle.",
    show_default="exp",
)
SELECTION = on_images(
    "--selection",
    type=click.Choice(["ldam-drw", "kps", "shike"]),
    help="Whose images are taken where data are cut down, by published code: seed 0, seed 666, or the first ones.",
    show_default="ldam-drw",
)
DATA_ROOT = on_images(
    "--data-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path("data"),
    help="Folder of the named data sets; of cifar10 and cifar100, what it lacks is downloaded.",
)
IMAGE_ROOT = on_images(
    "--image-root",
    metavar="DIR|URL",
    help="Folder that the paths of a list or table are relative to; none may lead out of it.",
    show_default="the folder of the list; that of a named data set",
)
VALIDATION = on_images(
    "--val",
    metavar="FRACTION|DIR|0",
    callback=fraction_or_folder,
    help="Validation part: a fraction of each class's training images, a folder of class folders, or 0 for none.",
    show_default="val/ if there is one, else 0",
)
SPLIT = on_images(
    "--split",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that says which image belongs to which part, for instance split.csv of a run.",
    show_default="the data's own parts, or a fifth of each class to test on",
)
GROUP_BY = on_images(
    "--group-by",
    metavar="folder|near-duplicate|COLUMN|FILE",
    help="What keeps images together in one part: their folder, likeness, a column of the table, or a file of groups.",
    show_default="every image on its own",
)
BACKGROUND = on_images(
    "--background",
    metavar="CLASS",
    help="Class that is trained on but left out of all averages, with rates of false alarms and misses of its own.",
    show_default="none",
)
CACHE = on_images(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to keep what is slow to get again: large images decoded and resized, what lies where in tar shards.",
    show_default="nothing is kept",
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

SAMPLING = on_method(
    "--sampling",
    metavar="NAME",
    help="Images of the first stage: instance, class-balanced, square-root, progressive, effective-number, cben, "
    "class-aware or reversed.",
    show_default="the recipe's own",
)
NUMBERS = on_method(
    "--numbers",
    type=click.Choice(["paper", "code"]),
    default="paper",
    help="Whose hyper-parameters a recipe gets where a paper and its published code differ.",
)
HOW = on_method(
    "--how",
    metavar="WAY",
    default="crt",
    help="How: crt, crt-warm, lws, disalign, mislas, tau-norm, ncm or posthoc.",
)
WAYS = on_method(
    "--how",
    metavar="WAY,WAY,...",
    callback=names,
    default="lws,tau-norm,crt",
    help="Ways, of crt, crt-warm, lws, disalign, mislas, tau-norm, ncm, posthoc.",
)
SAMPLER = on_method(
    "--sampler",
    metavar="NAME",
    default="cben",
    help="Images for crt and lws: cben, class-balanced, effective-number, class-aware, square-root, progressive, "
    "reversed or instance.",
)
SAMPLERS = on_method(
    "--sampler",
    metavar="NAME,NAME,...",
    callback=names,
    default="cben",
    help="Images for crt and lws, each sampler in turn; those of rebalance.",
)
LOSS = on_method(
    "--loss",
    metavar="NAME",
    help="Loss for crt and lws, by a name that `longtail methods` lists.",
    show_default="cross_entropy; for a head of cosines that of GCL's second stage",
)
REBALANCING_EPOCHS = on_method(
    "--epochs", type=int, metavar="EPOCHS", help="Epochs of the second stage.", show_default="30; digits 60"
)

FREEZE = on_model(
    "--freeze",
    is_flag=True,
    help="Train the head alone, on features of the backbone that are computed once.",
    show_default=False,
)
VIEWS = on_model(
    "--views",
    type=int,
    metavar="NUMBER",
    help="Augmented views of an image whose features are kept for a frozen backbone; 1: not augmented; 0: none, the "
    "backbone runs every epoch, which is exact.",
    show_default="8 with --freeze and for rebalance, else 0",
)
FEATURES = on_model(
    "--features",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of kept features, which runs share.",
    show_default="features/ in the run's folder",
)
CLASSES = on_model(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Class names in the order of the outputs, one a line.",
    show_default="what the run, or the file of weights, says",
)
PREPROCESSING = on_model(
    "--preprocessing",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Size, mean, std, interpolation and crop_fraction as in model.json, of weights made elsewhere.",
    show_default="the published one of the backbone",
)
BACKBONE = on_model(
    "--backbone",
    metavar="NAME",
    help="resnet32 (CIFAR's, 0.46 million parameters), any name of timm, or torchvision/NAME.",
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
    show_default="0.1, pretrained photographs 0.01, less for smaller batches; by adamw 0.001, pretrained 0.0001",
)
OPTIMIZER = on_model(
    "--optimizer",
    type=click.Choice(["sgd", "adamw"]),
    help="Optimiser of every stage: sgd with momentum 0.9, or adamw.",
    show_default="sgd",
)
WEIGHT_DECAY = on_model(
    "--weight-decay",
    type=float,
    metavar="DECAY",
    help="Weight decay of every stage.",
    show_default="0.0002, pretrained photographs 0.0001; adamw 0.05",
)
BACKBONE_LEARNING_RATE = on_model(
    "--backbone-lr",
    type=float,
    metavar="FACTOR",
    help="Learning rate of the backbone, as a factor on that of the head.",
    show_default="1",
)
SCHEDULE = on_model(
    "--schedule",
    type=click.Choice(["cosine", "steps", "constant"]),
    help="How the learning rate of stage one falls: over half a cosine, to a hundredth at 0.8 and again at 0.9 of the "
    "epochs (or where the recipe's paper has its steps), or not at all.",
    show_default="steps, pretrained photographs cosine",
)
WARM_UP = on_model(
    "--warm-up",
    type=int,
    metavar="EPOCHS",
    help="Epochs of stage one over which its learning rate rises first; 0: none.",
    show_default="a fortieth of them, pretrained photographs a twentieth",
)
CLIP = on_model(
    "--clip",
    type=float,
    metavar="NORM",
    help="Largest norm of the gradient of a step, in every stage; a larger one is scaled down to it.",
    show_default="none",
)
ACCUMULATE = on_model(
    "--accumulate",
    type=int,
    metavar="PIECES",
    help="Pieces that a batch is taken in, in every stage, for the memory of one; the gradient is that of the batch, "
    "but batch norm sees a piece at a time.",
    show_default="1",
)
EMA = on_model(
    "--ema",
    type=float,
    metavar="DECAY",
    help="End every stage in an exponential moving average of its weights, with this decay a step, for instance 0.999.",
    show_default="no average",
)
SYNC_BN = on_model(
    "--sync-bn",
    is_flag=True,
    help="Batch norm over the images of all processes, not of each alone.",
    show_default=False,
)

DEVICE = on_machine(
    "--device",
    metavar="auto|cpu|cuda|cuda:1|mps",
    default="auto",
    help="Where to compute; auto takes a GPU if there is one.",
)
TEST_PRIOR = on_rows(
    "--test-prior",
    metavar="uniform|train|estimate|FILE",
    help="How often each class is expected here: alike, as in training, estimated from these images alone, or as in a "
    "file with the columns class and share.",
    show_default="as the model learnt: its training images, or alike if it was re-balanced",
)
PART = on_images(
    "--part",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="test",
    help="Which images to measure.",
)
LOADING = on_machine(
    "--loading",
    type=click.Choice(["auto", "memory", "decode"]),
    default="auto",
    help="Hold images in memory, or decode them anew each time; auto does what suits.",
)
WORKERS = on_machine(
    "--workers",
    type=int,
    metavar="PROCESSES",
    help="Processes that decode images.",
    show_default="one a core, at most 8; 0 for few or small images",
)
PRECISION = on_machine(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    help="What the network trains in; auto is bfloat16 where the hardware is fast at it. Statistics, weights and "
    "losses stay in float32.",
)
COMPILE = on_machine(
    "--compile",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    help="Compile a network that learns, which takes about 3 s a layer; auto compiles resnet32 on a processor where "
    "the training is long enough to pay for that.",
)
JOBS = on_machine(
    "--jobs",
    type=int,
    metavar="RUNS",
    default=1,
    help="Runs at a time, each in a process of its own that keeps to its share of the cores; on a GPU they share it.",
)
RESUME = on_machine(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Go on with what was stopped, from its last checkpoint; DATA, if given, says where the images are now. "
    "Only workers, checkpoint-every, lr and clip may be asked for anew.",
    show_default="start anew",
)
CHECKPOINT_EVERY = on_machine(
    "--checkpoint-every",
    type=float,
    metavar="SECONDS",
    default=60.0,
    help="Time between two checkpoints, from which a stopped run can go on; 0: after every step.",
    show_default="60",
)
OUT = on_machine(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write, which must not exist.",
    show_default="a free name under runs/",
)

OUT_FILE = on_rows(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="File to write the numbers to, which must not exist.",
    show_default="nothing is written",
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
FULL = on_images(
    "--full",
    is_flag=True,
    help="Decode every image instead of reading its header, and look for near-identical ones.",
    show_default=False,
)
GROUPS_OUT = on_rows(
    "--groups-out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the groups of near-identical images as CSV, which can be grouped by.",
    show_default="not written",
)
JSON = on_rows("--json", "as_json", is_flag=True, help="JSON on standard output instead of text.", show_default=False)

HOW_TO_READ = together(
    IMBALANCE,
    PROFILE,
    SELECTION,
    DATA_ROOT,
    IMAGE_ROOT,
    VALIDATION,
    SPLIT,
    GROUP_BY,
    BACKGROUND,
    CACHE,
    SHOT_BORDERS,
)
WISHES = together(
    HOW_TO_READ,
    BAD_IMAGES,
    EPOCHS,
    BACKBONE,
    WEIGHTS,
    IMAGE_SIZE,
    BATCH_SIZE,
    LEARNING_RATE,
    OPTIMIZER,
    WEIGHT_DECAY,
    BACKBONE_LEARNING_RATE,
    SCHEDULE,
    WARM_UP,
    CLIP,
    ACCUMULATE,
    EMA,
    SYNC_BN,
    NUMBERS,
    SAMPLING,
    FREEZE,
    VIEWS,
    FEATURES,
    DEVICE,
    LOADING,
    WORKERS,
    PRECISION,
    COMPILE,
    CHECKPOINT_EVERY,
)
REBALANCING = together(
    HOW_TO_READ,
    BAD_IMAGES,
    REBALANCING_EPOCHS,
    BACKBONE,
    CLASSES,
    PREPROCESSING,
    IMAGE_SIZE,
    BATCH_SIZE,
    LEARNING_RATE,
    OPTIMIZER,
    WEIGHT_DECAY,
    CLIP,
    EMA,
    VIEWS,
    FEATURES,
    DEVICE,
    LOADING,
    WORKERS,
    CHECKPOINT_EVERY,
)
