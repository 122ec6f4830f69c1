"""Ways to re-balance a trained classifier, by name: what `--how`, `--sampler` and `--loss` of `rebalance` mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_type_hints

from longtail import losses, samplers
from longtail.counts import ClassCounts
from longtail.data.mixing import mixup
from longtail.errors import LongtailError, unknown
from longtail.losses import Criterion, Scaled
from longtail.models.heads import Head
from longtail.samplers import Sampling
from longtail.training.planning.settings import Setting
from longtail.training.recipes.cosines import gcl_loss_of_stage_two
from longtail.training.second_stage import rebalance
from longtail.training.stage import HeadEdit, Stage, Step

BY_SAMPLING: dict[str, Callable[[Setting, Criterion, Sampling], Stage]] = {
    "crt": rebalance.crt,
    "crt-warm": lambda setting, objective, sampling: rebalance.crt(setting, objective, sampling, warm=True),
    "lws": rebalance.lws,
}
IN_CLOSED_FORM: dict[str, Callable[[ClassCounts, bool], HeadEdit]] = {
    "tau-norm": lambda counts, balanced: rebalance.tau_norm(),
    "ncm": lambda counts, balanced: rebalance.ncm(),
    "posthoc": lambda counts, balanced: rebalance.posthoc(counts, by_theory=0.0 if balanced else 1.0),
}
WAYS = (*BY_SAMPLING, "disalign", "mislas", *IN_CLOSED_FORM)


@dataclass(frozen=True)
class Way:
    """One way, with its sampler and its loss where it has them."""

    how: str
    sampler: str | None = None
    loss: str | None = None
    """None: cross-entropy; for a head of cosines GCL's loss of stage two, with mixup."""

    @property
    def name(self) -> str:
        """What its run is called: `crt-cben`, `tau-norm`."""
        return f"{self.how}-{self.sampler}" if self.sampler else self.how

    @property
    def balances(self) -> bool:
        """Whether the outcome expects all classes alike."""
        return self.sampler != "instance" or self.loss not in {None, "cross_entropy"}

    @property
    def learns(self) -> bool:
        """Whether the outcome depends on a seed."""
        return self.how not in IN_CLOSED_FORM

    def step(self, counts: ClassCounts, setting: Setting, head: Head, balanced: bool = False) -> Step:
        """The step of a recipe that re-balances this head.

        Args:
            counts: training images per class.
            setting: of the second stage.
            head: what is re-balanced.
            balanced: whether it expects all classes alike already.

        Raises:
            LongtailError: the loss does not fit the head.
        """
        if self.how in IN_CLOSED_FORM:
            return IN_CLOSED_FORM[self.how](counts, balanced)
        if self.how == "disalign":
            # A cosine head's logits are so large that at the whole rate the confidence closes at once, for good.
            return rebalance.disalign(counts, setting, lr=setting.lr / (10 if _gives_cosines(head) else 1))
        if self.how == "mislas":
            stage = rebalance.mislas(counts, setting)
            return replace(stage, objective=_fitting(stage.objective, head))
        assert self.sampler is not None  # noqa: S101  (see `ways`)
        stage = BY_SAMPLING[self.how](setting, self._objective(counts, head), samplers.BY_NAME[self.sampler]())
        if self._as_in_gcl(head) and setting.retraining_mixup:
            stage = replace(stage, mixing=mixup(setting.retraining_mixup))
        return stage if self.how == "crt" else replace(stage, objective=_fitting(stage.objective, head))

    def _objective(self, counts: ClassCounts, head: Head) -> Criterion:
        if self.loss is not None:
            return find_loss(self.loss)(counts)
        return gcl_loss_of_stage_two(counts) if self._as_in_gcl(head) else losses.cross_entropy(counts)

    def _as_in_gcl(self, head: Head) -> bool:
        return self.loss is None and _gives_cosines(head)


def ways(hows: Sequence[str], samplings: Sequence[str], loss: str | None = None) -> Iterator[Way]:
    """All ways: those that sample with each sampler, the others once.

    Raises:
        LongtailError: there is no such way, sampler or loss.
    """
    for sampler in samplings:
        if sampler not in samplers.BY_NAME:
            raise unknown("sampler", sampler, samplers.BY_NAME)
    if loss is not None:
        find_loss(loss)
        if not set(hows) & set(BY_SAMPLING):
            raise LongtailError(f"--loss is for {', '.join(BY_SAMPLING)}; {', '.join(hows)} would not look at it.")
    for how in hows:
        if how not in WAYS:
            raise unknown("way to re-balance", how, WAYS)
        if how in BY_SAMPLING:
            yield from (Way(how, sampler, loss) for sampler in samplings)
        else:
            yield Way(how)


def find_loss(name: str) -> Callable[[ClassCounts], Criterion]:
    """A loss by its name in `longtail.losses`.

    Raises:
        LongtailError: there is no such loss, or it needs more than class counts and one head.
    """
    functions = {name: loss for name, loss in vars(losses).items() if inspect.isfunction(loss)}
    offered = {name: loss for name, loss in functions.items() if _of_counts_alone(loss) and _of_one_head(loss)}
    if name not in offered:
        raise unknown("loss", name, offered)
    return offered[name]


def _of_counts_alone(loss: Callable[..., object]) -> bool:
    returned = get_type_hints(loss).get("return")
    first, *others = inspect.signature(loss).parameters.values()
    takes_counts = first.name == "counts" and all(other.default is not other.empty for other in others)
    return takes_counts and inspect.isclass(returned) and issubclass(returned, Criterion)


def _of_one_head(loss: Callable[[ClassCounts], Criterion]) -> bool:
    return loss(ClassCounts((2, 1))).score_dims == 2


def _fitting(objective: Criterion, head: Head) -> Criterion:
    """The loss on the scores that this head gives in training."""
    if objective.takes_cosines and not _gives_cosines(head):
        raise LongtailError(
            "This loss takes cosines, and the classifier has a linear head; give another --loss, or --how crt, which "
            "begins with a new head."
        )
    if _gives_cosines(head) and not objective.takes_cosines:
        return Scaled(objective, _scale(head))
    return objective


def _gives_cosines(head: Head) -> bool:
    return _scale(head) != 1


def _scale(head: Head) -> float:
    scale = getattr(head, "inference_scale", 1.0)  # what has no scores of its own has no scale
    assert isinstance(scale, float)  # noqa: S101  (for the type checker)
    return scale
