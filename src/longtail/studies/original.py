"""A trained classifier as it came, and the images to re-balance it on."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from longtail.data.images.preprocessing import Preprocessing
from longtail.data.parts import ImageSet
from longtail.deploy.again import warning, where_its_own_are
from longtail.deploy.foreign import load_foreign, read_preprocessing
from longtail.deploy.run import Run, load
from longtail.errors import LongtailError
from longtail.models.class_order import read_classes
from longtail.models.classifier import Architecture, Classifier
from longtail.studies.carrying_out import prepare
from longtail.training.planning.wishes import Wishes
from longtail.watching import Watcher


@dataclass(frozen=True)
class Original:
    """A trained classifier as it came: a run of longtail, or a file made elsewhere."""

    name: str
    classifier: Classifier
    architecture: Architecture
    preprocessing: Preprocessing
    run: Run | None
    """None: it was trained elsewhere."""

    @classmethod
    def open(
        cls, model: str | Path, classes: str | Path | None, preprocessing: str | Path | None, wishes: Wishes
    ) -> Original:
        """Read a run folder or a file of weights.

        Raises:
            LongtailError: it cannot be used as it is; the sentence says what it lacks.
        """
        path = Path(model)
        if path.is_dir():
            told = {
                "--backbone": wishes.get("backbone") is not None,
                "--image-size": wishes.get("image_size") is not None,
                "--classes": classes is not None,
                "--preprocessing": preprocessing is not None,
            }
            if given := [word for word, is_given in told.items() if is_given]:
                raise LongtailError(f"{path} is a run, which knows its network and classes; leave {given[0]} away.")
            run = load(path)
            return cls(path.name, run.model, Architecture.of(run.folder.model), run.preprocessing, run)
        if not path.exists():
            raise LongtailError(f"There is no run folder and no file of weights {path}.")
        backbone = wishes.get("backbone")
        if backbone is None:
            raise LongtailError(
                f"What network is {path}? Give --backbone, for instance resnet50 or torchvision/resnet18."
            )
        classifier, architecture, prepared = load_foreign(
            path,
            backbone=backbone,
            classes=read_classes(Path(classes)) if classes else None,
            image_size=wishes.get("image_size"),
            preprocessing=read_preprocessing(Path(preprocessing)) if preprocessing else None,
        )
        return cls(path.stem, classifier, architecture, prepared, None)

    def copy(self) -> Classifier:
        """The classifier to work on, its backbone frozen; the original stays as it came."""
        classifier = deepcopy(self.classifier)
        classifier.backbone.requires_grad_(False)
        return classifier

    @property
    def background(self) -> str | None:
        """The class that no average counts, as far as it is known."""
        return self.run.folder.config["data"].get("background") if self.run else None

    @property
    def balanced(self) -> bool:
        """Whether it expects all classes alike, as far as it is known."""
        prior = (self.run.folder.model.get("prior") if self.run else None) or [0.0, 1.0]
        return bool(max(prior) == min(prior))


def asked_for(original: Original, data: str | Path | None, wishes: Wishes) -> tuple[str | Path, Wishes]:
    """Which images, and how to read them: where nobody says, those that the classifier was trained on.

    Raises:
        LongtailError: nobody says, and they are not known.
    """
    if data is not None:
        return data, {"background": original.background, **_given(wishes)}
    own, reading = where_its_own_are(original.run, original.name)
    return own, {**reading, **_given(wishes)}


def images_for(original: Original, data: str | Path, watcher: Watcher, wishes: Wishes) -> ImageSet:
    """The images to re-balance on, their classes in the order of the classifier's outputs.

    Raises:
        LongtailError: they are of other classes.
    """
    images = prepare(data, watcher, wishes, original.run).in_order_of(original.architecture.classes)
    if original.run is None:
        watcher.say(f"Whether {original.name} has seen the test images before is not known here")
    elif doubt := warning(original.run, images):
        watcher.say(doubt)
    return images


def _given(wishes: Wishes) -> Wishes:
    return {name: value for name, value in wishes.items() if value is not None}  # type: ignore[return-value]
