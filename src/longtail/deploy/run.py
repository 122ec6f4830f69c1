"""A trained run, ready to use: its metrics, its model, its predictions on new images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import torch

from longtail.counts import ClassCounts
from longtail.data.images.preprocessing import Preprocessing
from longtail.deploy.predict import BATCH_SIZE, How, Prediction, predict_files
from longtail.deploy.prior import TestPrior
from longtail.device import choose_device
from longtail.errors import LongtailError
from longtail.models.classifier import Architecture, Classifier
from longtail.priors import TRAIN
from longtail.runs import RunFolder


class Run:
    """One trained classifier and what is known of it.

    >>> import longtail
    >>> run = longtail.load("runs/photos-gcl-seed0")  # doctest: +SKIP
    >>> run.metrics["groups"]["few"]["accuracy"]  # doctest: +SKIP
    0.61
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Metrics of the test part; None if the data had none."""
        return self.folder.metrics

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """From a picture to what the model was trained on."""
        return Preprocessing.of(self.folder.model["preprocessing"])

    @cached_property
    def model(self) -> Classifier:
        """The classifier, in evaluation mode, with `.classes` and `.transform`."""
        architecture = Architecture.of(self.folder.model)
        model = architecture.build()
        load_weights(model, self.folder.weights)
        model.classes = architecture.classes
        model.transform = self.preprocessing
        return model.eval()

    @property
    def counts(self) -> ClassCounts:
        """Training images per class."""
        return ClassCounts(tuple(self.folder.config["data"]["counts"]))

    def model_on(self, device: torch.device) -> Classifier:
        """The classifier on a device; elsewhere than `model` it is a copy."""
        here = next(self.model.parameters()).device
        return self.model if device == here else deepcopy(self.model).to(device)

    def test_prior(self, words: str | Path) -> TestPrior:
        """From the class frequencies that the model expects to those that `words` name; see `How`.

        Raises:
            LongtailError: either of them is not known.
        """
        stands_for, counts = self.folder.model.get("prior"), self.counts if str(words) == TRAIN else None
        classes = Architecture.of(self.folder.model).classes
        return TestPrior.asked(
            words, classes=classes, stands_for=stands_for, counts=counts, model=self.path / "model.json"
        )

    def predict(self, images: Iterable[str | Path], **how: Unpack[How]) -> Iterator[Prediction]:
        """Class and probability for image files, one prediction a file, in their order; see `predict_files`."""
        words = how.get("test_prior")
        return predict_files(
            self.model_on(choose_device(how.get("device", "auto"))),
            self.preprocessing,
            images,
            top=how.get("top", 1),
            batch_size=how.get("batch_size", BATCH_SIZE),
            workers=how.get("workers"),
            prior=None if words is None else self.test_prior(words),
            watcher=how.get("watcher"),
        )

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def load(folder: str | Path) -> Run:
    """A run from its folder.

    Raises:
        LongtailError: the folder is not a finished run.
    """
    files = RunFolder(Path(folder))
    if not files.path.is_dir():
        raise LongtailError(f"There is no folder {folder}; give the folder that longtail train has made.")
    if not files.weights.exists():
        raise LongtailError(f"{files.weights} is missing; {folder} is not a finished run of longtail.")
    return Run(files)


def predict(run: Run | str | Path, images: Iterable[str | Path], **how: Unpack[How]) -> Iterator[Prediction]:
    """Class and probability for image files by a run or its folder; see `predict_files`."""
    return (run if isinstance(run, Run) else load(run)).predict(images, **how)


def save_model(
    classifier: Classifier,
    architecture: Architecture,
    preprocessing: Preprocessing,
    folder: RunFolder,
    prior: Sequence[float] | None = None,
) -> None:
    """Write weights, architecture and preprocessing, so that `load` finds the same classifier.

    `prior` (C,) is how often the classifier expects each class; None if that is not known.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    folder.write_weights(save(tensors))
    known = None if prior is None else list(prior)
    folder.write_model({**architecture.description(), "preprocessing": preprocessing.description(), "prior": known})


def load_weights(classifier: Classifier, path: Path) -> None:
    """Give a classifier the weights of a run; every tensor must be there and fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        classifier.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise LongtailError(f"{path} does not hold this run's weights ({reason}); restore the file.") from None
