"""The embedded set: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, made long-tailed."""

from __future__ import annotations

import numpy as np
import torch

from longtail.data.asked import Reading
from longtail.data.parts import ImageSet, Part
from longtail.data.pixels import InMemory
from longtail.data.splits.imbalance import Cut
from longtail.watching import Watcher

RATIO = 50.0


def digits(reading: Reading | None = None, watcher: Watcher | None = None) -> ImageSet:
    """Handwritten digits of 8 x 8 pixels that come with scikit-learn, made long-tailed.

    1,797 images of 10 classes; those left over are the test part. The largest class takes four fifths of what the
    smallest digit has (174 images, so 139): whichever digit is at the head, a fifth of it or more is left to test on.
    At the default ratio 50 the classes 0 .. 9 have 139, 89, 58, 37, 24, 15, 10, 6, 4 and 2 training images. There is
    no validation part.

    Source: Alpaydin and Kaynak (1998), the test part of UCI's "Optical Recognition of Handwritten Digits", as
    scikit-learn carries it. Licence: CC BY 4.0.
    """
    from sklearn.datasets import load_digits  # half a second that other data need not pay

    source = load_digits()
    grey = np.rint(source.images * (255 / 16)).astype(np.uint8)
    images = torch.from_numpy(grey)[:, None].repeat(1, 3, 1, 1)
    labels = source.target.astype(np.int64)
    everything = Part(labels, tuple(f"digits/{index}" for index in range(len(labels))), InMemory(images))

    classes = tuple(str(name) for name in source.target_names)
    largest = int(np.bincount(labels).min() * 4 / 5)
    cut = Cut.of(reading or {}, RATIO)
    chosen = cut.indices(labels, classes, largest)
    left_over = np.setdiff1d(np.arange(len(labels)), chosen)
    return ImageSet(
        name="digits",
        kind="digits",
        classes=classes,
        train=everything.subset(chosen),
        validation=None,
        test=everything.subset(left_over),
        notes=(
            "Data: scikit-learn's handwritten digits, 8 x 8 pixels, 10 classes (the embedded set)",
            cut.note(len(chosen), "" if (reading or {}).get("imbalance") else " (the default)"),
            f"Tested on the {len(left_over)} digits left over",
        ),
    )
