from __future__ import annotations

from pathlib import Path

import pytest

from longtail.errors import LongtailError
from longtail.models.class_order import read_classes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "cat\ndog\nred fox\n"),
        ("names.txt", "\ufeffcat\r\ndog \r\nred fox"),
        ("names.json", '["cat", "dog", "red fox"]'),
        ("names.json", '{"red fox": 2, "cat": 0, "dog": 1}'),
        ("names.json", '{"0": "cat", "2": "red fox", "1": "dog"}'),
    ],
)
def test_classes_in_the_order_of_the_outputs(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_classes(tmp_path / name) == ("cat", "dog", "red fox")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("names.txt", b"", "at least two classes"),
        ("names.txt", b"cat\n\ndog\n", "without empty lines"),
        ("names.txt", b"cat\ndog\ncat\n", "'cat' more than once"),
        ("names.txt", b"cat\n\xff\xfe", "as UTF-8"),
        ("names.json", b'["cat", "dog"', "Cannot read the classes"),
        ("names.json", b'{"cat": 0, "dog": 2}', "numbers 0, 1, 2"),
        ("names.json", b'{"cat": 0, "dog": 0}', "numbers 0, 1, 2"),
        ("names.json", b'{"cat": 0, "dog": true}', "numbers 0, 1, 2"),
        ("names.json", b"3", "neither a list"),
        ("names.json", b'["cat", 1]', "neither a list"),
    ],
)
def test_a_file_that_is_no_list_of_classes_is_named(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LongtailError, match=sentence) as caught:
        read_classes(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"gone\.txt: No such file"):
        read_classes(tmp_path / "gone.txt")
