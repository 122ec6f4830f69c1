"""Plots: what they draw, that they are the same every time, and that they can stand beside one another."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams

from longtail.report import plots, study_plots
from longtail.report.drawing import PALETTE, PALETTE_IN_THE_DARK, Drawing, drawing_rules
from longtail.report.records import RunRecord, StudyRecord
from written_runs import write_run, write_study


def tips(svg: str) -> list[str]:
    """Words that appear over marks, in their order."""
    return [title.text or "" for title in ET.fromstring(svg).iter("title")]  # noqa: S314 (made here)


def all_plots(run: RunRecord) -> list[str]:
    assert run.metrics
    assert run.calibration
    return [
        plots.class_counts(run),
        plots.class_accuracy(run),
        plots.training_curves(run),
        plots.reliability(run.calibration),
        plots.confusion(run, run.metrics["confusion"]),
    ]


def test_marks_say_the_numbers_of_the_run(tmp_path: Path) -> None:
    run = RunRecord.read(write_run(tmp_path / "run", counts=(60, 500, 5, 90)))
    assert tips(plots.class_counts(run)) == [
        "dog: 500 training images",
        "lynx: 90 training images",
        "cat: 60 training images",
        "fox: 5 training images",
    ]
    assert run.metrics
    expected = {
        f"{row['class']}: {100 * row['accuracy']:.1f} %, {row['train_images']} training images"
        for row in run.metrics["per_class"]
    }
    assert set(tips(plots.class_accuracy(run))) == expected


def test_points_stand_where_the_numbers_are(tmp_path: Path) -> None:
    run = RunRecord.read(write_run(tmp_path / "run"))
    root = ET.fromstring(plots.class_accuracy(run))  # noqa: S314 (made here)
    at = {use[0].text: (float(use.attrib["x"]), float(use.attrib["y"])) for use in root.iter("use") if len(use)}
    assert len(at) == 4
    x = np.array([place[0] for _, place in sorted(at.items())])
    y = np.array([place[1] for _, place in sorted(at.items())])
    log_counts, shares = np.log(run.counts.per_class), run.class_accuracy  # the names are in sorted order
    assert abs(np.corrcoef(x, log_counts)[0, 1]) == pytest.approx(1, abs=1e-6)
    assert np.corrcoef(y, shares)[0, 1] == pytest.approx(-1, abs=1e-6)  # upwards is less


def test_lines_lead_from_the_baseline_to_the_recipe(tmp_path: Path) -> None:
    study = StudyRecord.read(write_study(tmp_path / "study", seeds=(0, 1)))
    before, after = 100 * study.class_accuracy("ce"), 100 * study.class_accuracy("gcl")
    svg = study_plots.class_changes(study, "gcl")
    assert tips(svg) == [
        f"{name}: {before[index]:.1f} → {after[index]:.1f} %, {run_count} training images"
        for index, (name, run_count) in enumerate(
            zip(study.runs[0].classes, study.runs[0].counts.per_class, strict=True)
        )
    ]
    assert svg.count("var(--better)") == int((after >= before).sum())
    assert svg.count("var(--worse)") == int((after < before).sum())


def test_all_recipes_stand_over_each_other(tmp_path: Path) -> None:
    study = StudyRecord.read(write_study(tmp_path / "study", recipes=("ce", "ldam", "gcl"), seeds=(0, 1)))
    shown = tips(study_plots.headline_numbers(study))
    recipes, metrics = ("ce", "ldam", "gcl"), ("All", "Many", "Medium", "Few", "Worst class", "ECE")
    assert {tip.split(":")[0] for tip in shown} == {f"{recipe}, {metric}" for recipe in recipes for metric in metrics}


def test_the_same_run_gives_the_same_plots(tmp_path: Path) -> None:
    run = RunRecord.read(write_run(tmp_path / "run"))
    first, second = all_plots(run), all_plots(run)
    assert first == second
    assert not any("<metadata" in svg or "date" in svg for svg in first)


def test_identifiers_do_not_collide_and_references_are_met(tmp_path: Path) -> None:
    run = RunRecord.read(write_run(tmp_path / "run"))
    page = "".join(all_plots(run))
    identifiers = re.findall(r' id="([^"]*)"', page)
    assert len(identifiers) == len(set(identifiers))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]*)', page))
    assert references
    assert references <= set(identifiers)


def test_colours_are_the_page_s(tmp_path: Path) -> None:
    run = RunRecord.read(write_run(tmp_path / "run"))
    for svg in all_plots(run):
        assert "var(--" in svg
        assert not set(re.findall(r"#[0-9a-f]{6}", svg)) & set(PALETTE.values())
    assert set(PALETTE) == set(PALETTE_IN_THE_DARK)


@pytest.mark.parametrize("classes", [2, 13, 31, 100, 1000])
def test_any_number_of_classes_can_be_drawn(classes: int, tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(classes)]
    counts = [max(1, round(800 * 0.98**number)) for number in range(classes)]
    study = StudyRecord.read(write_study(tmp_path / "study", names=names, counts=counts))
    run = study.runs[0]
    assert len(tips(plots.class_accuracy(run))) == classes
    assert len(tips(study_plots.class_changes(study, "gcl"))) == classes
    assert "<path" in plots.class_counts(run)


def test_equal_counts_stand_side_by_side(tmp_path: Path) -> None:
    run = RunRecord.read(write_run(tmp_path / "run", counts=(500, 20, 20, 20)))
    x = plots.side_by_side(run.counts)
    assert len(set(x)) == 4
    np.testing.assert_allclose(x, [500, 20, 20, 20], rtol=0.07)


def test_names_are_text_and_nothing_else() -> None:
    with drawing_rules():
        drawing = Drawing(200, 100)
        drawing.axes.text(0.5, 0.5, 'a $x$ <b>&"#1d2330 id="y" 红')
        svg = drawing.svg("test", 'said "so" <i>')
    root = ET.fromstring(svg)  # noqa: S314 (made here)
    assert 'a $x$ <b>&"#1d2330 id="y" 红' in [text.text for text in root.iter("text")]
    assert root.attrib["aria-label"] == 'said "so" <i>'


def test_the_user_s_matplotlib_stays_as_it_was(tmp_path: Path) -> None:
    before = dict(rcParams)
    all_plots(RunRecord.read(write_run(tmp_path / "run")))
    assert dict(rcParams) == before
