"""The words on the command line: each command is one call of the function of the same name, whose result is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click
from click.core import ParameterSource

from longtail import options
from longtail.exits import answer

if TYPE_CHECKING:
    from longtail.deploy.evaluate import How as EvaluateHow
    from longtail.deploy.predict import How as PredictHow
    from longtail.deploy.run import Run
    from longtail.deploy.table import Format
    from longtail.studies.compare import Study
    from longtail.training.planning.wishes import Wishes

UNREADABLE = 1
"""Exit code of `predict` if a file could not be read."""
FOUND = {"warning": 1, "error": 2}
"""Exit code of `describe` by the severity of its worst finding."""


@click.group(
    cls=options.Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Image classifiers that do not forget the rare classes.

    Begin with `longtail compare`: it trains cross-entropy and GCL on scikit-learn's digits and shows the difference.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command
@options.DATA
@options.RECIPE
@options.SEED
@options.WISHES
@options.RESUME
@options.OUT
def train(
    data: str | None, recipe: str, seed: int, resume: Path | None, out: Path | None, **wishes: Unpack[Wishes]
) -> None:
    """Train one classifier and write its run folder.

    DATA is a folder of class folders, or one with train/ and test/ (also val/) beneath; a table of images (.csv,
    .jsonl, .parquet); tar shards; a set of Hugging Face's; or a name that `longtail methods` lists. Without it:
    scikit-learn's digits, made long-tailed at ratio 50.
    """
    import longtail
    from longtail.terminal import Terminal

    if resume:
        _show(_resumed(resume))
    else:
        _show(longtail.train(data, recipe=recipe, seed=seed, out=out, watcher=Terminal(), **wishes))


@cli.command
@options.DATA
@options.RECIPES
@options.SEEDS
@options.WISHES
@options.JOBS
@options.RESUME
@options.OUT
def compare(
    data: str | None,
    recipes: tuple[str, ...],
    seeds: int,
    jobs: int,
    resume: Path | None,
    out: Path | None,
    **wishes: Unpack[Wishes],
) -> None:
    """Train several recipes on the same split and show what differs.

    DATA is a folder of class folders, or one with train/ and test/ (also val/) beneath; a table of images (.csv,
    .jsonl, .parquet); tar shards; a set of Hugging Face's; or a name that `longtail methods` lists. Without it:
    scikit-learn's digits, made long-tailed at ratio 50.
    """
    import longtail
    from longtail.terminal import Terminal

    if resume:
        _show(_resumed(resume))
    else:
        _show(longtail.compare(data, recipes=recipes, seeds=seeds, jobs=jobs, out=out, watcher=Terminal(), **wishes))


@cli.command
@click.argument("model")
@options.DATA
@options.HOW
@options.SAMPLER
@options.LOSS
@options.SEED
@options.REBALANCING
@options.OUT
def rebalance(model: str, data: str | None, **wishes: Any) -> None:
    """Make the head of a trained classifier fair to rare classes; the model itself is only read.

    MODEL is a run folder, or weights made elsewhere, of a backbone that is named: safetensors, or a .pt with tensors
    alone. DATA is as for train; a run on a named set knows its own.
    """
    import longtail
    from longtail.terminal import Terminal

    _show(longtail.rebalance(model, data, watcher=Terminal(), **wishes))


@cli.command
@click.argument("model")
@options.DATA
@options.WAYS
@options.SAMPLERS
@options.LOSS
@options.SEEDS
@options.REBALANCING
@options.OUT
def compare_rebalanced(model: str, data: str | None, **wishes: Any) -> None:
    """Re-balance a classifier in several ways, on features that are computed once, and show what differs.

    MODEL and DATA are as for rebalance. What samples is tried with each sampler.
    """
    import longtail
    from longtail.terminal import Terminal

    _show(longtail.compare_rebalanced(model, data, watcher=Terminal(), **wishes))


@cli.command
@click.argument("run")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@options.FORMAT
@options.TOP
@options.TEST_PRIOR
@options.DEVICE
@options.PREDICT_BATCH_SIZE
@options.WORKERS
@click.pass_context
def predict(ctx: click.Context, run: str, images: tuple[str, ...], form: Format, **how: Unpack[PredictHow]) -> None:
    """Write class and probability (0 to 1) of images to standard output.

    RUN is a run folder. IMAGE is a file, a folder of them, or - for a list of them on standard input, a line each.

    Every file has its row. One that cannot be read has no class but the reason, and the exit code is 1 at the end.
    """
    import longtail
    from longtail.deploy.table import write_predictions
    from longtail.terminal import Terminal
    from longtail.terminal.describing import show_unreadable
    from longtail.watching import Watcher

    watcher = (
        Watcher() if sys.stdout.isatty() else Terminal()
    )  # a bar and rows on one terminal would run into each other
    how["watcher"] = watcher
    predictions = longtail.predict(run, _with_standard_input(images), **how)
    unreadable = write_predictions(predictions, sys.stdout, form, how["top"])
    if unreadable:
        show_unreadable(unreadable)
        ctx.exit(UNREADABLE)


@cli.command
@click.argument("run")
@options.DATA
@options.PART
@options.HOW_TO_READ
@options.BAD_IMAGES
@options.TEST_PRIOR
@options.JSON
@options.OUT_FILE
@options.DEVICE
@options.PREDICT_BATCH_SIZE
@options.WORKERS
def evaluate(
    run: str, data: str | None, part: str, as_json: bool, out: Path | None, **how: Unpack[EvaluateHow]
) -> None:
    """Measure a finished run on labelled images: those it was tested on, or others.

    RUN is a run folder. DATA is as for `longtail train`, with classes that the run knows by name; without it, the
    images of the run, if it was trained on a named data set.
    """
    import longtail
    from longtail.terminal import Terminal
    from longtail.terminal.describing import show_json
    from longtail.terminal.tables import show_evaluation

    evaluation = longtail.evaluate(run, data, part=part, out=out, watcher=Terminal(), **how)
    if as_json:
        show_json(evaluation.metrics)
    else:
        show_evaluation(evaluation)


@cli.command
@options.DATA
@options.HOW_TO_READ
@options.FULL
@options.GROUPS_OUT
@options.JSON
@click.pass_context
def describe(ctx: click.Context, /, data: str | None, as_json: bool, **reading: Any) -> None:
    """Show class counts, imbalance ratio, shot groups, the picture of the tail, and what is wrong with the images.

    DATA is a folder of class folders, or one with train/ and test/ (also val/) beneath; a table of images (.csv,
    .jsonl, .parquet); tar shards; a set of Hugging Face's; or a name that `longtail methods` lists. Without it:
    scikit-learn's digits, made long-tailed at ratio 50. Nothing is written but the file of --groups-out.

    What may spoil a training or a measurement is listed; the exit code is 1 if the worst of it is a warning, 2 if it is
    an error, which training would stop at.
    """
    import longtail
    from longtail.terminal import Terminal
    from longtail.terminal.describing import show_description, show_json

    description = longtail.describe(data, watcher=Terminal(), **reading)
    if as_json:
        show_json(description.as_dict())
    else:
        show_description(description)
    ctx.exit(FOUND.get(description.severity or "", 0))


@cli.command
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """List recipes, losses, samplings and heads; with a NAME, show its card: formula, numbers, citation."""
    import longtail
    from longtail.terminal.methods import show_cards, show_methods

    cards = longtail.methods(name)
    if name is None:
        show_methods(cards)
    else:
        show_cards(cards)


def main() -> None:
    """The program `longtail`."""
    sys.exit(answer(cli, sys.argv[1:]))


def _resumed(run: Path) -> Run | Study:
    """What was stopped, gone on with to its end; `longtail.resume` with the words of the command line that it takes."""
    import longtail
    from longtail.studies.resume import Changes
    from longtail.terminal import Terminal

    ctx = click.get_current_context()
    given: Any = {
        name: value
        for name, value in ctx.params.items()
        if name != "resume" and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for name in given.keys() - Changes.__annotations__.keys():
        raise longtail.LongtailError(
            f"--{name.replace('_', '-')} cannot change in the middle of a run; leave it away, or start another."
        )
    return longtail.resume(run, watcher=Terminal(), **given)


def _show(done: Run | Study) -> None:
    """What came out; of processes that worked together, the first shows it."""
    from longtail.runs import RunFolder
    from longtail.terminal.tables import show_run, show_study
    from longtail.unfinished import is_first

    if not is_first():
        return
    if isinstance(done.folder, RunFolder):
        show_run(done.folder)
    else:
        show_study(done.folder)


def _with_standard_input(images: Iterable[str]) -> Iterator[str]:
    """The words, with the lines of standard input in the place of `-`."""
    for image in images:
        if image == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin)
        else:
            yield image
