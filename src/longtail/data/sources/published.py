"""The large long-tailed sets of the papers, from the user's images and the public lists of which are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longtail.counts import ClassCounts
from longtail.data.asked import Reading
from longtail.data.parts import ImageSet
from longtail.data.sources.catalogue import Entry, image_set
from longtail.data.sources.folders import check_folder
from longtail.data.sources.inside import Inside
from longtail.data.sources.lists import files, names_of_folders, read_list
from longtail.data.words import shown
from longtail.errors import LongtailError
from longtail.text import counted
from longtail.watching import Watcher


@dataclass(frozen=True)
class Published:
    """What the paper says of a set, which its lists must keep to."""

    name: str
    lists: Mapping[str, tuple[str, ...]]  # part -> names that its list may have
    images: Mapping[str, int]
    classes: int
    largest: int  # training images of a class
    smallest: int


IMAGENET_LT = Published(
    "imagenet-lt",
    {
        "train": ("ImageNet_LT_train.txt",),
        "validation": ("ImageNet_LT_val.txt",),
        "test": ("ImageNet_LT_test.txt",),
    },
    {"train": 115_846, "validation": 20_000, "test": 50_000},
    classes=1000,
    largest=1280,
    smallest=5,
)
PLACES_LT = Published(
    "places-lt",
    {"train": ("Places_LT_train.txt",), "validation": ("Places_LT_val.txt",), "test": ("Places_LT_test.txt",)},
    {"train": 62_500, "validation": 7_300, "test": 36_500},
    classes=365,
    largest=4980,
    smallest=5,
)
INATURALIST_2018 = Published(
    "inaturalist2018",
    {"train": ("iNaturalist18_train.txt", "train2018.json"), "test": ("iNaturalist18_val.txt", "val2018.json")},
    {"train": 437_513, "test": 24_426},
    classes=8142,
    largest=1000,
    smallest=2,
)


def imagenet_lt(reading: Reading, watcher: Watcher) -> ImageSet:
    """Things of all kinds: 115,846 training images of ImageNet's 1,000 classes, 1,280 to 5 each.

    20,000 validation images (20 a class, from ImageNet's training images) and ImageNet's 50,000 validation images as
    the test part. `--image-root` is the folder of ImageNet's train/ and val/, the latter with a folder for each class;
    the lists ImageNet_LT_train.txt, ImageNet_LT_val.txt and ImageNet_LT_test.txt lie there or in imagenet-lt under
    `--data-root`.

    How it is made: a Pareto distribution with power 6 cuts ImageNet-2012 down. Source: Liu et al. (2019); Deng et al.
    (2009). Licence: ImageNet's terms, research and teaching only.
    """
    return _open(IMAGENET_LT, reading, watcher)


def places_lt(reading: Reading, watcher: Watcher) -> ImageSet:
    """Views of places: 62,500 training images of 365 kinds, 4,980 to 5 each.

    7,300 validation images (20 a class) and 36,500 test images (100 a class, Places365's validation images).
    `--image-root` is the folder of Places365's train/ and val/, both with a folder for each class; the lists
    Places_LT_train.txt, Places_LT_val.txt and Places_LT_test.txt lie there or in places-lt under `--data-root`.

    How it is made: a Pareto distribution with power 6 cuts Places365 down. Source: Liu et al. (2019); Zhou et al.
    (2018). Licence: that of Places365, CC BY 4.0 for the database, the photographers' for the images.
    """
    return _open(PLACES_LT, reading, watcher)


def inaturalist2018(reading: Reading, watcher: Watcher) -> ImageSet:
    """Living things as people met them: 437,513 training images of 8,142 species, 1,000 to 2 each.

    iNaturalist 2018, long-tailed by itself. Its 24,426 validation images (3 a class) are the test part, as in the
    papers; there is no other validation part. `--image-root` is the folder of train_val2018/; the lists,
    iNaturalist18_train.txt and iNaturalist18_val.txt or the official train2018.json and val2018.json, lie there or in
    inaturalist2018 under `--data-root`.

    Source: Van Horn et al. (2018). Licence: the photographers', for research and teaching only.
    """
    return _open(INATURALIST_2018, reading, watcher)


def _open(published: Published, reading: Reading, watcher: Watcher) -> ImageSet:
    if reading.get("imbalance") is not None:
        raise LongtailError(f"{published.name} is long-tailed already; leave --imbalance away.")
    home = Path(reading.get("data_root", "data")) / published.name
    root = Path(reading.get("image_root") or home)
    check_folder(root)
    entries = read_lists(published, root, (home, root))
    pixels, headers = files(root, entries, watcher)
    sizes = ", ".join(f"{part} {images:,}" for part, images in published.images.items())
    note = f"Data: {published.name}, {published.classes:,} classes ({sizes}), by its public lists"
    return image_set(published.name, entries, pixels, headers, notes=[note], names=names_of_folders(entries))


def read_lists(published: Published, root: Path, places: Sequence[Path]) -> list[Entry]:
    """The entries of all parts, from lists that lie in the first of `places` that has them; no image is looked for.

    Raises LongtailError for a list that is not there, that is broken, or that has other counts than were published.
    """
    inside, entries = Inside(root), list[Entry]()
    for part, names in published.lists.items():
        path = _found(published, names, places)
        found = read_list(path, part, inside)
        if len(found) != published.images[part]:
            has = counted(len(found), "image")
            raise LongtailError(f"{shown(str(path))} has {has}, not the published {published.images[part]:,}.")
        entries += found
    _check_counts(published, [entry.label for entry in entries if entry.part == "train"])
    return entries


def _found(published: Published, names: Sequence[str], places: Sequence[Path]) -> Path:
    for place in places:
        for name in names:
            if (place / name).is_file():
                return place / name
    raise LongtailError(
        f"{published.name} needs its public list {' or '.join(names)}, which is neither in "
        f"{' nor in '.join(shown(str(place)) for place in dict.fromkeys(places))}; put it there."
    )


def _check_counts(published: Published, labels: Sequence[str]) -> None:
    wrong = sorted({label for label in labels if not (label.isdecimal() and int(label) < published.classes)})
    if wrong:
        raise LongtailError(
            f"{published.name} has labels 0 to {published.classes - 1}, but its training list has {shown(wrong[0])!r}."
        )
    counts = ClassCounts.from_labels([int(label) for label in labels], published.classes)
    if (counts.largest, counts.smallest) != (published.largest, published.smallest):
        raise LongtailError(
            f"The training list of {published.name} has {counts.largest:,} to {counts.smallest:,} images a class, not "
            f"the published {published.largest:,} to {published.smallest:,}."
        )
