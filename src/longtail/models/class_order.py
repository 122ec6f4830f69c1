"""Which class each output of a network stands for: said by the file of its weights, or by the user, never guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from longtail.errors import LongtailError

LISTS = ("classes", "class_names", "label_names", "class_to_idx", "idx_to_class", "id2label", "label2id")
"""Under what names checkpoints hold their classes: a list, names with numbers, or numbers with names."""
WAY_OUT = "give --classes FILE with one class a line, in the order of the outputs"


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the order of the outputs, from a file with one a line, or a .json with a list or {name: index}.

    Raises:
        LongtailError: the file cannot be read, or does not name at least two different classes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else text.strip().splitlines()
    except OSError as error:
        raise LongtailError(f"Cannot read the classes in {path}: {error.strerror}.") from None
    except ValueError as error:  # of UTF-8, and of JSON
        raise LongtailError(f"Cannot read the classes in {path} ({error}); write one class a line, as UTF-8.") from None
    names = _ordered(content)
    if names is None:
        raise LongtailError(f"{path} is neither a list of class names nor names with numbers 0, 1, 2, ...")
    names = tuple(name.strip() for name in names)
    _check(names, str(path))
    return names


def classes_within(content: Mapping[str, Any], source: str) -> tuple[str, ...] | None:
    """Class names in the order of the outputs, as a checkpoint holds them beside its weights; None if it does not.

    Raises:
        LongtailError: it holds several orders that differ, or one that is no order.
    """
    found: dict[str, tuple[str, ...]] = {}
    for key in LISTS:
        if key not in content:
            continue
        names = _ordered(_parsed(content[key]))
        if names is None:
            raise LongtailError(f"What {source} holds as {key!r} is no order of classes; {WAY_OUT}.")
        _check(names, source)
        found[key] = names
    if len(set(found.values())) > 1:
        raise LongtailError(f"{source} holds orders of classes that differ ({', '.join(found)}); save it with one.")
    return next(iter(found.values()), None)


def agreed_classes(
    given: Sequence[str] | None, found: tuple[str, ...] | None, outputs: int, source: str
) -> tuple[str, ...]:
    """The one order of classes: what the user gives, what the file holds, or both if they agree.

    Raises:
        LongtailError: there is none, they differ, or there are not as many classes as outputs.
    """
    names = found if given is None else tuple(given)
    if names is None:
        raise LongtailError(f"{source} does not say which class each of its {outputs} outputs stands for; {WAY_OUT}.")
    if found is not None and names != found:
        differ = next((pair for pair in zip(names, found, strict=False) if pair[0] != pair[1]), None)
        what = f"{differ[0]!r} stands where the file has {differ[1]!r}" if differ else "one is longer"
        raise LongtailError(f"The classes given are not those that {source} holds ({what}); leave --classes away.")
    _check(names, source)
    if len(names) != outputs:
        raise LongtailError(f"{source} has {outputs} outputs, but there are {len(names)} classes; {WAY_OUT}.")
    return names


def _ordered(content: Any) -> tuple[str, ...] | None:
    """Names in their order, from a list of names, from name -> index, or from index -> name."""
    if isinstance(content, list | tuple):
        return tuple(content) if all(isinstance(name, str) for name in content) else None
    if not isinstance(content, Mapping):
        return None
    by_index = {_index(key): name for key, name in content.items() if isinstance(name, str)}
    if not by_index:
        by_index = {_index(index): name for name, index in content.items() if isinstance(name, str)}
    if len(by_index) != len(content) or by_index.keys() != set(range(len(content))):
        return None
    return tuple(by_index[index] for index in range(len(content)))


def _index(value: Any) -> int | None:
    """A number as JSON and Python write it as a key."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parsed(content: Any) -> Any:
    """The metadata of a safetensors file are texts; lists in them are JSON."""
    if not isinstance(content, str):
        return content
    try:
        return json.loads(content)
    except ValueError:
        return None


def _check(names: Sequence[str], source: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise LongtailError(f"{source} names the class {twice[0]!r} more than once; every output needs its own.")
    if len(names) < 2 or "" in names:
        raise LongtailError(f"{source} does not name at least two classes; write one a line, without empty lines.")
