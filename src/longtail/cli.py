"""The words on the command line: each command is one call of the function of the same name, whose result is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from longtail import options
from longtail.exits import answer

if TYPE_CHECKING:
    from longtail.deploy.table import Format
    from longtail.training.wishes import Wishes

UNREADABLE = 1
"""Exit code of `predict` if a file could not be read."""


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
@options.OUT
def train(data: str | None, recipe: str, seed: int, out: Path | None, **wishes: Unpack[Wishes]) -> None:
    """Train one classifier and write its run folder.

    DATA is a folder of class folders, or one with train/ and test/ (also val/) beneath; or cifar10, cifar100. Without
    it: scikit-learn's digits, made long-tailed at ratio 50.
    """
    import longtail
    from longtail.terminal import Terminal
    from longtail.terminal.tables import show_run

    run = longtail.train(data, recipe=recipe, seed=seed, out=out, watcher=Terminal(), **wishes)
    show_run(run.folder)


@cli.command
@options.DATA
@options.RECIPES
@options.SEEDS
@options.WISHES
@options.OUT
def compare(data: str | None, recipes: tuple[str, ...], seeds: int, out: Path | None, **wishes: Unpack[Wishes]) -> None:
    """Train several recipes on the same split and show what differs.

    DATA is a folder of class folders, or one with train/ and test/ (also val/) beneath; or cifar10, cifar100. Without
    it: scikit-learn's digits, made long-tailed at ratio 50.
    """
    import longtail
    from longtail.terminal import Terminal
    from longtail.terminal.tables import show_study

    study = longtail.compare(data, recipes=recipes, seeds=seeds, out=out, watcher=Terminal(), **wishes)
    show_study(study.folder)


@cli.command
@click.argument("run")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@options.FORMAT
@options.TOP
@options.PREDICT_BATCH_SIZE
@options.WORKERS
@click.pass_context
def predict(
    ctx: click.Context, run: str, images: tuple[str, ...], form: Format, top: int, batch_size: int, workers: int | None
) -> None:
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
    predictions = longtail.predict(
        run, _with_standard_input(images), top=top, batch_size=batch_size, workers=workers, watcher=watcher
    )
    unreadable = write_predictions(predictions, sys.stdout, form, top)
    if unreadable:
        show_unreadable(unreadable)
        ctx.exit(UNREADABLE)


@cli.command
@options.DATA
@options.HOW_TO_READ
@options.FULL
@options.JSON
def describe(data: str | None, full: bool, as_json: bool, **reading: Any) -> None:
    """Show class counts, imbalance ratio, shot groups, the picture of the tail, and unreadable files.

    DATA is a folder of class folders, or one with train/ and test/ (also val/) beneath; or cifar10, cifar100. Without
    it: scikit-learn's digits, made long-tailed at ratio 50. Nothing is written.
    """
    import longtail
    from longtail.terminal import Terminal
    from longtail.terminal.describing import show_description, show_json

    description = longtail.describe(data, full=full, watcher=Terminal(), **reading)
    if as_json:
        show_json(description.as_dict())
    else:
        show_description(description)


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


def _with_standard_input(images: Iterable[str]) -> Iterator[str]:
    """The words, with the lines of standard input in the place of `-`."""
    for image in images:
        if image == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin)
        else:
            yield image
