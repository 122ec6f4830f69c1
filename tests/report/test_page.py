"""Pages: complete, closed to the network, true to the run folder, and harmless whatever classes are called."""

from __future__ import annotations

import getpass
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest

from longtail.errors import LongtailError
from longtail.report.page import write_run_page, write_study_page
from written_runs import write_run, write_study

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg><iframe src=//x>",
    "{{ 7 * 7 }}",
    r"$\frac{a}{b$",
    "javascript:alert(1)",
    "a\x1b[2J\u202egnp.exe\x00",
    "红熊猫 🦊",
    "x" * 300,
    "&lt;b&gt; &amp;",
)


class Page(HTMLParser):
    """Elements, attributes and text of a page as a browser finds them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.texts))


def assert_closed(page: Page) -> None:
    """No script, nothing loaded, and a policy that forbids both."""
    assert not page.tags & {"script", "iframe", "link", "object", "embed", "form", "base", "img", "image"}
    policies = [found["content"] for _, found in page.elements if "http-equiv" in found]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        address = attributes.get("href", "#")
        assert address.startswith("#") or tag == "a"
        assert ":" not in address
        assert "url(http" not in attributes.get("style", "")


def test_the_page_of_a_run_says_what_was_trained_and_what_came_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", recipe="gcl")
    assert write_run_page(tmp_path / "run") == folder.page
    page = Page(folder.page)
    assert_closed(page)
    metrics = folder.metrics
    assert metrics
    assert "gcl on pets" in page.texts
    assert "A resnet32 (0.46 M parameters, from random weights), trained with gcl on 655 images" in page.text
    assert f"{100 * metrics['accuracy']:.1f}" in page.texts
    assert f"{100 * metrics['groups']['few']['accuracy']:.1f}" in page.texts
    for title in ("The tail", "Accuracy by class", "Training", "Confidence", "Mistakes", "How it was made"):
        assert title in page.texts
    assert sum(tag == "svg" for tag, _ in page.elements) == 5
    for fact in ("instance()", "2.15.0", "0123456789ab", "no validation part was asked for", "lynx"):
        assert fact in page.texts


def test_the_page_of_a_study_links_to_its_runs(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", recipes=("ce", "mine.py:own", "gcl"), seeds=(0, 1))
    write_study_page(folder.path)
    page = Page(folder.page)
    assert_closed(page)
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert len(links) == 6
    assert all((folder.path / link).parent.is_dir() for link in links)
    assert all(link.endswith("/report.html") for link in links)
    assert "From ce to mine.py:own, class by class" in page.texts
    assert page.texts.count("Gained most") == 2
    assert "gcl against ce, in points" in page.text


def test_a_study_of_one_recipe_compares_nothing(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", recipes=("gcl",))
    write_study_page(folder.path)
    assert "Gained most" not in Page(folder.page).texts


def test_where_no_class_loses_the_page_says_so(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    run = study.run("gcl", 0)
    metrics = run.metrics
    assert metrics
    for row in metrics["per_class"]:
        row["accuracy"] = 1.0
    run.write_metrics(metrics)
    write_study_page(study.path)
    assert "No class." in Page(study.page).texts


def test_a_loss_of_many_lines_stands_in_one(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    config = folder.config
    config["stages"][0]["loss"] = "Objective(\n  mean=batch\n  (likelihood): Softmax()\n)"
    folder.write_config(config)
    write_run_page(folder.path)
    assert "Objective(mean=batch (likelihood): Softmax())" in Page(folder.page).texts


def test_hostile_names_are_harmless(tmp_path: Path) -> None:
    counts = [100 - 9 * number for number in range(len(HOSTILE))]
    study = write_study(tmp_path / "study", names=HOSTILE, counts=counts)
    run = study.run("gcl", 0)
    config = run.config
    config["data"] |= {"name": HOSTILE[0], "notes": [HOSTILE[1]]}
    run.write_config(config | {"recipe": "gcl"})
    write_run_page(run.path)
    write_study_page(study.path)
    for path in (run.page, study.page):
        page = Page(path)
        assert_closed(page)
        assert "{{ 7 * 7 }}" in path.read_text(encoding="utf-8")
        assert not set(page.text) & set("\x00\x1b\u202e")
        assert "b" not in page.tags
    assert "<script>alert(1)</script>" in Page(run.page).texts
    assert r"$\frac{a}{b$" in Page(run.page).texts


def test_nothing_of_the_machine_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "user-4711")
    monkeypatch.setattr(socket, "gethostname", lambda: "host-4711")
    study = write_study(tmp_path / "study")
    write_study_page(study.path)
    write_run_page(study.run("gcl", 0).path)
    for path in (study.page, study.run("gcl", 0).page):
        text = path.read_text(encoding="utf-8")
        for secret in (str(tmp_path), tmp_path.name, str(Path.cwd()), str(Path.home()) + "/", "user-4711", "host-4711"):
            assert secret not in text


def test_pages_are_the_same_every_time(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    first = write_run_page(folder.path).read_bytes()
    assert write_run_page(folder.path).read_bytes() == first


def test_a_run_without_a_test_part_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", tested=False)
    write_run_page(folder.path)
    page = Page(folder.page)
    assert "The data had no test part: nothing was measured." in page.texts
    assert sum(tag == "svg" for tag, _ in page.elements) == 2


def test_what_is_not_measured_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    metrics = folder.metrics
    assert metrics
    metrics["per_class"][3] |= {"accuracy": None, "test_images": 0}
    metrics["per_class"][2] |= {"test_images": 7}
    folder.write_metrics(metrics | {"not_measured": ["lynx"]})
    write_run_page(folder.path)
    text = Page(folder.page).text
    assert "Classes without test images, left out of all means: lynx." in text
    assert "fewer than 20 test images, where one image is more than 5 points: fox." in text
    assert "from seed to seed: there is only one." in text


def test_an_unfinished_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"is missing; is .* a finished run"):
        write_run_page(tmp_path)
    assert list(tmp_path.iterdir()) == []
