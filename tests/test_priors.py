"""Known and estimated class frequencies, against Bayes' rule on classes whose densities are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from longtail.counts import ClassCounts
from longtail.errors import LongtailError
from longtail.priors import estimate_prior, logit_shift, read_prior, shares

CLASSES = ("cat", "dog", "lynx")
CENTRES = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.5]])  # of Gaussians of variance 1


def points(prior: NDArray[np.float64], number: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    draw = np.random.default_rng(seed)
    labels = draw.choice(len(prior), number, p=prior)
    return np.asarray(CENTRES[labels] + draw.normal(size=(number, 2))), labels


def posteriors(x: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bayes' rule, the densities written out."""
    densities = np.exp(-((x[:, None] - CENTRES) ** 2).sum(axis=2) / 2)
    joint = densities * prior
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(logits)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


TRAINED = np.array([0.9, 0.08, 0.02])
UNIFORM = np.full(3, 1 / 3)
EXPECTED = np.array([0.1, 0.3, 0.6])


@pytest.mark.parametrize("stands_for", [TRAINED, UNIFORM])
@pytest.mark.parametrize("expected", [TRAINED, UNIFORM, EXPECTED])
def test_shifted_logits_are_bayes_rule_for_the_other_prior(
    stands_for: NDArray[np.float64], expected: NDArray[np.float64]
) -> None:
    x, _ = points(EXPECTED, 200, seed=0)
    logits = np.log(posteriors(x, stands_for)) + 5
    shifted = logits + logit_shift(stands_for, target=expected)
    np.testing.assert_allclose(softmax(shifted), posteriors(x, expected), atol=1e-12)


def test_the_right_prior_is_worth_accuracy() -> None:
    x, labels = points(EXPECTED, 20_000, seed=1)
    logits = np.log(posteriors(x, TRAINED))
    accuracy = {
        name: float((np.argmax(logits + shift, axis=1) == labels).mean())
        for name, shift in {
            "as trained": np.zeros(3),
            "uniform": logit_shift(TRAINED),
            "expected": logit_shift(TRAINED, target=EXPECTED),
            "estimated": logit_shift(TRAINED, target=estimate_prior(posteriors(x, TRAINED), TRAINED)),
        }.items()
    }
    assert accuracy["as trained"] + 0.2 < accuracy["uniform"] < accuracy["expected"]
    assert accuracy["estimated"] == pytest.approx(accuracy["expected"], abs=0.003)


def test_counts_and_shares_are_one_prior() -> None:
    np.testing.assert_allclose(logit_shift(ClassCounts((90, 8, 2))), logit_shift(TRAINED))
    np.testing.assert_allclose(logit_shift([90, 8, 2], 0.5, EXPECTED), logit_shift(TRAINED, 0.5, EXPECTED))
    np.testing.assert_array_equal(logit_shift(UNIFORM, target=UNIFORM), np.zeros(3))


@pytest.mark.parametrize("stands_for", [TRAINED, UNIFORM])
@pytest.mark.parametrize("expected", [EXPECTED, np.array([0.02, 0.9, 0.08]), TRAINED])
def test_the_estimate_is_right_within_sampling_error(
    stands_for: NDArray[np.float64], expected: NDArray[np.float64]
) -> None:
    """The error, in units of the smallest covariance that any estimate can have (the inverse Fisher information)."""
    errors = []
    for seed in range(20):
        x, _ = points(expected, 5000, seed)
        estimate = estimate_prior(posteriors(x, stands_for), stands_for, pseudo_images=0)
        assert estimate.sum() == pytest.approx(1)
        ratios = posteriors(x, expected) / expected
        scores = ratios[:, :2] - ratios[:, 2:]
        off = (estimate - expected)[:2]
        errors.append(off @ (scores.T @ scores) @ off)
    assert 1 < np.mean(errors) < 3.6  # chi-squared with 2 degrees of freedom: mean 2, deviation of a mean of 20: 0.45


def test_every_step_raises_the_likelihood() -> None:
    x, _ = points(EXPECTED, 500, seed=3)
    rows = posteriors(x, TRAINED)
    for a in (0.0, 5.0):
        steps = [estimate_prior(rows, TRAINED, pseudo_images=a, tolerance=0, iterations=k) for k in range(30)]
        np.testing.assert_array_equal(steps[0], TRAINED)
        likelihood = [np.log(rows @ (p / TRAINED)).sum() + a * (TRAINED * np.log(p)).sum() for p in steps]
        assert (np.diff(likelihood) > -1e-9).all()
        assert likelihood[-1] > likelihood[0] + 100


def test_one_step_written_out() -> None:
    rows = posteriors(points(EXPECTED, 7, seed=4)[0], TRAINED)
    first = estimate_prior(rows, TRAINED, pseudo_images=0, iterations=1)
    np.testing.assert_allclose(first, rows.mean(axis=0))
    joint = rows * first / TRAINED
    second = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(estimate_prior(rows, TRAINED, pseudo_images=0, iterations=2), second)


def test_few_images_say_little_and_no_class_gets_nothing() -> None:
    certain = np.array([[1.0, 0.0, 0.0]])
    one = estimate_prior(certain, UNIFORM)
    np.testing.assert_allclose(one, [4 / 6, 1 / 6, 1 / 6])
    many = estimate_prior(np.repeat(certain, 10_000, axis=0), UNIFORM)
    assert (many > 0).all()
    assert many[0] > 0.9999
    assert np.isfinite(logit_shift(UNIFORM, target=many)).all()


@pytest.mark.parametrize(
    "wrong", [np.zeros((0, 3)), np.full((4, 2), 0.5), np.full((4, 3), 0.5), np.array([[2.0, -1.0, 0.0]]), np.ones(3)]
)
def test_what_is_no_probability_is_refused(wrong: NDArray[np.float64]) -> None:
    with pytest.raises(LongtailError, match="A prior is estimated from probabilities"):
        estimate_prior(wrong, UNIFORM)


@pytest.mark.parametrize("wrong", [[0.5, 0.5, 0], [1, 2, -1], [1, 2, float("nan")], [[1, 2]], [1, float("inf")]])
def test_shares_need_numbers_above_zero(wrong: list[float]) -> None:
    with pytest.raises(LongtailError, match="a frequency above 0 for every class"):
        shares(wrong)


def test_a_prior_in_words() -> None:
    counts = ClassCounts((6, 3, 1))
    np.testing.assert_allclose(read_prior("uniform", counts, CLASSES), UNIFORM)
    np.testing.assert_allclose(read_prior("train", counts, CLASSES), [0.6, 0.3, 0.1])
    with pytest.raises(LongtailError, match="training images per class are not known"):
        read_prior("train", None, CLASSES)
    with pytest.raises(LongtailError, match="no file 'unifrom'"):
        read_prior("unifrom", counts, CLASSES)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("prior.csv", "class,share\nlynx,0.6\ncat,0.1\ndog,0.3\n"),
        ("prior.csv", "\ufeffcount,class,note\n60,lynx,\n10,cat,seen\n30,dog,\n"),
        ("prior.json", '{"dog": 3, "lynx": 6, "cat": 1}'),
    ],
)
def test_a_prior_in_a_file_is_ordered_by_name(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    np.testing.assert_allclose(read_prior(tmp_path / name, None, CLASSES), [0.1, 0.3, 0.6])
    np.testing.assert_allclose(read_prior(str(tmp_path / name), None, CLASSES), [0.1, 0.3, 0.6])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("p.csv", "class,share\ncat,1\n", "lacks classes: dog, lynx"),
        ("p.csv", "class,share\ncat,1\ndog,1\nlynx,1\nemu,1\nfox,1\n", "does not know: emu, fox"),
        ("p.csv", "class,share\ncat,1\ndog,0\nlynx,-1\n", r"above 0 \(a small one will do\) to: dog, lynx"),
        ("p.csv", "class,share\ncat,1\ndog,nan\nlynx,inf\n", r"to: dog, lynx"),
        ("p.csv", "class,share\ncat,1\ncat,1\n", "'cat' more than once"),
        ("p.csv", "class,share\ncat,often\n", "'cat' no number, but 'often'"),
        ("p.csv", "class,share\ncat\n", "'cat' no number, but None"),
        ("p.csv", "cat,1\ndog,2\n", "first line class,share or class,count"),
        ("p.csv", "class,share,count\ncat,1,2\n", "first line class,share or class,count"),
        ("p.csv", "", "first line class,share or class,count"),
        ("p.csv", b"class,share\n\xff,1\n", "Cannot read the prior"),
        ("p.json", "[1, 2]", "is not of the form"),
        ("p.json", '{"cat": 1', "Cannot read the prior"),
        ("p.json", '{"cat": 1, "cat": 2}', "'cat' more than once"),
        ("p.json", '{"cat": [1]}', "'cat' no number"),
    ],
)
def test_a_file_that_is_no_prior_is_one_sentence(name: str, text: str | bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LongtailError, match=sentence) as caught:
        read_prior(path, None, CLASSES)
    assert str(path) in str(caught.value)
