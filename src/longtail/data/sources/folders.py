"""A user's own folder as an image set: class folders, alone or beneath train/, val/ and test/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from longtail.data.images.headers import Headers, read_headers
from longtail.data.images.reading import SUFFIXES
from longtail.data.parts import ImageSet, Part
from longtail.data.pixels import Files
from longtail.data.sources.catalogue import kind_of, sizes_in_words
from longtail.data.sources.finding import Found, Layout, find_images, find_layout
from longtail.data.words import listed, printable, shown
from longtail.errors import LongtailError
from longtail.text import counted
from longtail.watching import Watcher


def open_folder(root: Path, watcher: Watcher) -> ImageSet:
    """The images beneath `root` in the parts that have folders; only headers are read.

    An image's identity is its path relative to `root`. Raises LongtailError for a folder that is missing or empty, a
    class without images, a single class, and test or validation labels that training has not.
    """
    check_folder(root)
    layout = find_layout(root)
    found = {part: find_images(folder, root) for part, folder in layout.parts.items()}
    classes = _classes(root, layout.parts["train"], found["train"])
    for part in found.keys() - {"train"}:
        _check_some(found[part], layout.parts[part])
        _check_known(found[part], classes, layout.parts[part])
    headers = read_headers(root, [name for part in found.values() for name in _names(part)], watcher)
    parts = {part: _part(root, images, classes, headers) for part, images in found.items()}
    return ImageSet(
        name=printable(root.resolve().name) or "data",
        kind=kind_of(headers),
        classes=classes,
        train=parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        notes=tuple(_notes(parts, layout, found, headers, len(classes))),
        unreadable={printable(name): reason for name, reason in headers.unreadable.items()},
    )


def with_validation_folder(images: ImageSet, folder: Path, watcher: Watcher) -> ImageSet:
    """The set with the class folders of `folder` as its validation part.

    Identities begin with "validation/", so that they differ from those of the set's own folder. Raises LongtailError
    for a folder without images, and for a class that training has not.
    """
    check_folder(folder)
    found = find_images(folder, folder)
    if not any(found.names.values()):
        raise LongtailError(f"{folder} has no class folders with images; a validation folder needs them.")
    _check_known(found, images.classes, folder)
    headers = read_headers(folder, _names(found), watcher)
    part = _part(folder, found, images.classes, headers)
    named = replace(part, identities=tuple(map(_in_validation, part.identities)))
    unreadable = {_in_validation(printable(name)): reason for name, reason in headers.unreadable.items()}
    return replace(
        images,
        validation=named,
        notes=(*images.notes, f"Validation part: {counted(len(part), 'image')} of the folder given", *found.notes()),
        unreadable={**images.unreadable, **unreadable},
    )


def check_folder(folder: Path) -> None:
    """Raises LongtailError unless `folder` is one."""
    if not folder.exists():
        raise LongtailError(f"There is no folder {shown(str(folder))}.")
    if not folder.is_dir():
        raise LongtailError(f"{shown(str(folder))} is a file; give a folder with one folder of images for each class.")


def _names(found: Found) -> list[str]:
    return [name for names in found.names.values() for name in names]


def _in_validation(identity: str) -> str:
    return f"validation/{identity}"


def _classes(root: Path, folder: Path, found: Found) -> tuple[str, ...]:
    if not found.names and not found.loose:
        raise LongtailError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}).")
    if not found.names:
        loose = counted(len(found.loose), "image")
        raise LongtailError(
            f"{folder} holds {loose} but no class folders; put the images of each class into a folder of its name."
        )
    if empty := [name for name, images in found.names.items() if not images]:
        raise LongtailError(f"No images in the class folders {listed(empty)} of {folder}; add some or remove these.")
    if len(found.names) == 1:
        raise LongtailError(f"{folder} has one class folder only, {_only_class(root, folder, found)}")
    return tuple(found.names)


def _only_class(root: Path, folder: Path, found: Found) -> str:
    """The one class, and the way out: people point at the folder above the class folders."""
    ((name, images),) = found.names.items()
    depth = len(folder.relative_to(root).parts) + 1
    paths = [PurePosixPath(image).parts for image in images]
    nested = sorted({parts[depth] for parts in paths if len(parts) > depth + 1})
    if len(nested) > 1:
        return f"{shown(name)}; if its folders {listed(nested)} are the classes, give {shown(str(folder / name))}."
    return f"{shown(name)}; a classifier needs at least two."


def _check_some(found: Found, folder: Path) -> None:
    if any(found.names.values()):
        return
    what = f"{counted(len(found.loose), 'image')} but no class folders" if found.loose else "no images"
    raise LongtailError(
        f"{folder} holds {what}; put the images of each class into a folder of its name, or move {folder.name}/ away."
    )


def _check_known(found: Found, classes: tuple[str, ...], folder: Path) -> None:
    if unknown := sorted(found.names.keys() - set(classes)):
        raise LongtailError(
            f"{folder} has classes that the training part has not: {listed(unknown)}; rename or remove them."
        )


def _part(root: Path, found: Found, classes: tuple[str, ...], headers: Headers) -> Part:
    names = _names(found)
    label = {name: index for index, name in enumerate(classes)}
    labels = [label[name] for name, images in found.names.items() for _ in images]
    sizes = np.array([size for each in found.bytes.values() for size in each], dtype=np.int64)
    files = Files(root, tuple(names), sizes, headers.size)
    return Part(np.array(labels, dtype=np.int64), tuple(map(printable, names)), files)


def _notes(
    parts: Mapping[str, Part], layout: Layout, found: Mapping[str, Found], headers: Headers, classes: int
) -> Iterator[str]:
    total = sum(map(len, parts.values()))
    yield f"Data: a folder with {total} images of {classes} classes ({_places(parts, layout)})"
    yield sizes_in_words(headers)
    if layout.left_out:
        yield f"Left out, beside the folders of the parts: {listed(layout.left_out)}"
    for images in found.values():
        yield from images.notes()


def _places(parts: Mapping[str, Part], layout: Layout) -> str:
    if len(parts) == 1:
        return "class folders"
    return ", ".join(f"{layout.parts[part].name}/ {len(images)}" for part, images in parts.items())
