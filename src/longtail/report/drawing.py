"""From a matplotlib figure to an SVG inside a page: coloured by the page, with words on its marks."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PALETTE = {
    "ink": "#1d2330",
    "soft": "#667085",
    "rule": "#e4e7ec",
    "paper": "#fffffe",
    "many": "#4c5bb5",
    "medium": "#1b9e8a",
    "few": "#e5841f",
    "better": "#187a58",
    "worse": "#c2402b",
    "method-0": "#8b929e",
    "method-1": "#7a3e9e",
    "method-2": "#0f86b8",
    "method-3": "#d2608e",
    "method-4": "#94810f",
}
"""Told apart by colour-blind eyes. The page's style sheet has a variable of every name, and others for the dark."""

PALETTE_IN_THE_DARK = {
    "ink": "#eceef3",
    "soft": "#9aa3b2",
    "rule": "#2c3342",
    "paper": "#171b24",
    "many": "#8d9bf0",
    "medium": "#3fc7b0",
    "few": "#f2a04f",
    "better": "#4fc795",
    "worse": "#f0826f",
    "method-0": "#8b929e",
    "method-1": "#bd8ae0",
    "method-2": "#4fb8e8",
    "method-3": "#ec8fb5",
    "method-4": "#cdb93f",
}
MARKERS = ("o", "D", "s", "^", "v")
"""One a method, so that its points are known without colour."""

_RULES: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": PALETTE["soft"],
    "axes.labelcolor": PALETTE["soft"],
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib; the page shows its own, which is narrower
    "font.size": 11,
    "grid.color": PALETTE["rule"],
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": PALETTE["ink"],
    "text.parse_math": False,  # a class may be named $x$
    "text.usetex": False,
    "xtick.color": PALETTE["soft"],
    "xtick.labelsize": 10.5,
    "ytick.color": PALETTE["soft"],
    "ytick.labelsize": 10.5,
}
_SVG = "http://www.w3.org/2000/svg"


@contextmanager
def drawing_rules() -> Iterator[None]:
    """Looks of every plot, whatever the user's matplotlib is set to; also a decorator."""
    with mpl.rc_context(_RULES), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the letters
        yield


class Drawing:
    """A figure under way, and the words that appear when a pointer rests on one of its marks."""

    def __init__(self, width: int, height: int, heights: Sequence[float] = (1,)) -> None:
        """A figure of so many pixels, with one or more axes of relative `heights` above one another."""
        self.figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(self.figure)
        grid = self.figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
        self.all_axes: tuple[Axes, ...] = tuple(np.ravel(grid))
        self._tips: dict[str, Sequence[str]] = {}

    @property
    def axes(self) -> Axes:
        """The uppermost axes."""
        return self.all_axes[0]

    def tip(self, artist: Artist, texts: Sequence[str]) -> None:
        """Give the marks of an artist, in their order, the words to appear."""
        name = f"tip-{len(self._tips)}"
        artist.set_gid(name)
        self._tips[name] = texts

    def svg(self, name: str, description: str) -> Markup:
        """The figure as an element for a page; `name` keeps its identifiers apart from those of others."""
        with mpl.rc_context({"svg.hashsalt": name}):
            file = io.BytesIO()
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        root = ET.fromstring(file.getvalue())  # noqa: S314 (matplotlib wrote it just now)
        self._add_tips(root)
        _strip(root)
        for element in root.iter():
            _use_variables(element)
            _rename(element, name)
        root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": description}
        return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 (every text in it is escaped)

    def _add_tips(self, root: ET.Element) -> None:
        for group in root.iter(f"{{{_SVG}}}g"):
            texts = self._tips.get(group.attrib.get("id", ""), ())
            inside_definitions = {part for defs in group.iter(f"{{{_SVG}}}defs") for part in defs}
            marks = [
                part
                for part in group.iter()
                if part.tag in (f"{{{_SVG}}}use", f"{{{_SVG}}}path") and part not in inside_definitions
            ]
            for mark, text in zip(marks, texts, strict=False):
                ET.SubElement(mark, f"{{{_SVG}}}title").text = text


def _strip(root: ET.Element) -> None:
    """Leave out what a page has no use for: metadata, namespaces, identifiers nobody refers to."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] == "metadata":
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            element.attrib.pop("id", None)


def _use_variables(element: ET.Element) -> None:
    for key in ("style", "fill", "stroke"):
        value = element.attrib.get(key, "")
        for name, colour in PALETTE.items():
            value = value.replace(colour, f"var(--{name})")
        if value:
            element.attrib[key] = value


def _rename(element: ET.Element, name: str) -> None:
    """Put the figure's name before identifiers and before references to them."""
    if "id" in element.attrib:
        element.attrib["id"] = f"{name}-{element.attrib['id']}"
    if element.attrib.get("href", "").startswith("#"):
        element.attrib["href"] = f"#{name}-{element.attrib['href'][1:]}"
    for key in ("clip-path", "style"):
        if key in element.attrib:
            element.attrib[key] = element.attrib[key].replace("url(#", f"url(#{name}-")
