"""What is trained and tested on: parts of labelled images, and a set of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from longtail.counts import ClassCounts
from longtail.data.pixels import DIGEST_BYTES, Pixels
from longtail.data.words import listed, shown
from longtail.errors import LongtailError
from longtail.text import counted

Kind = Literal["digits", "cifar", "small", "photographs"]


@dataclass(frozen=True, eq=False)
class Part:
    """N labelled images. An identity names an image within its set: a relative path, or an official index."""

    labels: NDArray[np.int64]  # (N,) class indices
    identities: tuple[str, ...]
    pixels: Pixels

    def __post_init__(self) -> None:
        if not len(self.labels) == len(self.identities) == len(self.pixels):
            raise ValueError("a part needs one label and one identity per image")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64]) -> Part:
        """The images at `indices`, in that order; label, identity and pixels move together."""
        identities = tuple(self.identities[index] for index in indices)
        return Part(self.labels[indices], identities, self.pixels.subset(indices))

    def digests(self) -> NDArray[np.uint8]:
        """What the images are known by where something of them is kept, (N, 16); see `Pixels.digest`."""
        joined = b"".join(self.pixels.digest(index) for index in range(len(self)))
        return np.frombuffer(joined, np.uint8).reshape(len(self), DIGEST_BYTES)

    def without(self, identities: Mapping[str, object]) -> Part:
        """The part without the images of these identities."""
        kept = [index for index, identity in enumerate(self.identities) if identity not in identities]
        return self if len(kept) == len(self) else self.subset(np.array(kept, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to train on, to choose on (validation) and to measure on (test), and how they were come by.

    Raises LongtailError for fewer than two classes or a class without a training image.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    train: Part
    validation: Part | None
    test: Part | None
    notes: tuple[str, ...] = ()  # what was found and chosen, a line each
    counts_before_split: ClassCounts | None = None  # of the user's folder, where test images were taken out of it
    unreadable: Mapping[str, str] = field(default_factory=dict)  # identity -> reason, as far as headers tell
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of a table: name -> identity -> value
    background: str | None = None  # the class that is no thing of interest: trained on, but out of the averages

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            what = counted(len(self.classes), "class")
            raise LongtailError(f"{self.name} has {what}; a classifier needs at least two.")
        counts = np.bincount(self.train.labels, minlength=len(self.classes))
        if empty := [name for name, count in zip(self.classes, counts, strict=True) if count == 0]:
            raise LongtailError(
                f"No readable training image in class {listed(empty)} of {self.name}; mend or add some, or remove the "
                "class."
            )

    @property
    def counts(self) -> ClassCounts:
        """Training images per class."""
        return ClassCounts.from_labels(self.train.labels, len(self.classes))

    @property
    def parts(self) -> dict[str, Part]:
        """The parts there are, by name: train, validation, test."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) where all images of all parts have one size, else None."""
        sizes = {part.pixels.size for part in self.parts.values() if len(part)}
        return sizes.pop() if len(sizes) == 1 else None

    def fingerprint(self) -> str:
        """SHA-256 over part, identity and label of every image, and the size of files in bytes.

        It names the split: the order of the images, the machine and the place of the folder do not matter.
        """
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            rows = zip(part.identities, part.labels.tolist(), range(len(part)), strict=True)
            for identity, label, index in sorted(rows):
                digest.update(json.dumps([name, identity, label, part.pixels.mark(index)]).encode())
        return digest.hexdigest()

    def in_order_of(self, classes: Sequence[str]) -> ImageSet:
        """The set with its class indices in the order of another's names.

        Raises LongtailError where the names are not the same.
        """
        if tuple(classes) == self.classes:
            return self
        if differing := sorted(set(classes) ^ set(self.classes)):
            whose = "is no class of the images" if differing[0] in classes else "is no class of the classifier"
            raise LongtailError(
                f"{differing[0]!r} {whose} ({len(differing)} such names); folders and classes must be called the same."
            )
        places = np.array([classes.index(name) for name in self.classes])
        ordered = {name: replace(part, labels=places[part.labels]) for name, part in self.parts.items()}
        return replace(
            self,
            classes=tuple(classes),
            train=ordered["train"],
            validation=ordered.get("validation"),
            test=ordered.get("test"),
            counts_before_split=None,
        )

    def without(self, unreadable: Mapping[str, str]) -> ImageSet:
        """The set without these images (identity -> reason), which its notes name.

        Raises LongtailError where a class would lose its last training image.
        """
        if not unreadable:
            return self
        left = {name: part.without(unreadable) for name, part in self.parts.items()}
        if empty := [name for name, part in left.items() if len(part) == 0]:
            raise LongtailError(f"No image of the {empty[0]} part can be read; mend the files or remove its folder.")
        dropped = sum(map(len, self.parts.values())) - sum(map(len, left.values()))
        lines = [f"Left out, unreadable: {shown(name)} ({reason})" for name, reason in unreadable.items()]
        return replace(
            self,
            train=left["train"],
            validation=left.get("validation"),
            test=left.get("test"),
            notes=(*self.notes, f"Left out: {counted(dropped, 'unreadable image')}", *lines),
            unreadable={name: reason for name, reason in self.unreadable.items() if name not in unreadable},
        )
