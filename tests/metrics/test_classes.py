"""Metrics of classification, against references in float64."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from pipeline.core.errors import DataError, SignalError
from pipeline.metrics.scores import score
from pipeline.tasks.classification import CLASSIFICATION
from tests.metrics.made_answers import Array, made_answers

# Some hundred float64 numbers up to 1, added in another order: 1000 x 2**-53 is 1e-13.
CALIBRATION_TOLERANCE = 1e-12


def quality(logits: Array, labels: Array) -> dict[str, float]:
    return score(CLASSIFICATION.metrics, made_answers(logits, labels))


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def reference_calibration_error(logits: Array, labels: Array) -> float:
    probabilities = softmax(logits.astype(np.float64))
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    error = 0.0
    for index in range(15):
        low, high = index / 15, (index + 1) / 15
        is_last = index == 14
        inside = (confidence >= low) & ((confidence < high) | is_last)
        if inside.any():
            accuracy = float(np.mean(predicted[inside] == labels[inside]))
            error += inside.mean() * abs(accuracy - confidence[inside].mean())
    return float(error)


def reference_macro_f1(predicted: Array, labels: Array) -> float:
    scores = []
    for label in sorted(set(labels.tolist())):
        hits = np.sum((predicted == label) & (labels == label))
        precision = hits / max(np.sum(predicted == label), 1)
        recall = hits / np.sum(labels == label)
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return float(np.mean(scores))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def test_quality_equals_the_reference_and_ignores_unlabelled_rows(
    random: np.random.Generator,
) -> None:
    """Catches scoring a row without a label, whose -1 equals no prediction."""
    logits = random.normal(scale=2.0, size=(600, 4)).astype(np.float32)
    labels = np.where(random.random(600) < 0.6, logits.argmax(axis=1), random.integers(0, 4, 600))
    known = np.arange(600) % 3 != 0
    scores = quality(logits, np.where(known, labels, -1))
    predicted = logits[known].argmax(axis=1)
    accuracy = np.mean(predicted == labels[known])
    assert 0.5 < accuracy < 0.9
    assert scores["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert scores["macro_f1"] == pytest.approx(
        reference_macro_f1(predicted, labels[known]), abs=1e-12
    )
    assert scores["expected_calibration_error"] == pytest.approx(
        reference_calibration_error(logits[known], labels[known]), abs=CALIBRATION_TOLERANCE
    )
    assert set(scores) == {"accuracy", "macro_f1", "expected_calibration_error"}


def test_certainty_falls_into_the_last_of_15_bins() -> None:
    """Catches a 16th bin for a confidence of exactly 1, where errors no longer average out."""
    logits = np.array([[40.0, 0.0], [3.5, 0.0]])
    labels = np.array([1, 0])
    error = quality(logits, labels)["expected_calibration_error"]
    in_one_bin = (1 + 1 / (1 + np.exp(-3.5))) / 2 - 0.5
    assert error == pytest.approx(in_one_bin, abs=CALIBRATION_TOLERANCE)
    assert error == pytest.approx(
        reference_calibration_error(logits, labels), abs=CALIBRATION_TOLERANCE
    )


def test_logits_between_0_and_1_are_not_taken_for_probabilities() -> None:
    """Catches a guess from the range of the numbers what they are."""
    logits = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    labels = np.array([0, 1, 1])
    assert quality(logits, labels)["expected_calibration_error"] == pytest.approx(
        reference_calibration_error(logits, labels), abs=CALIBRATION_TOLERANCE
    )


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_upper_one() -> None:
    """Catches edges in float32: 3/15 is then above a fifth, which is what five equal logits give.

    The errors of two confidences in one bin average out; those of two bins do not.
    """
    equal, surer = np.zeros(5), np.array([np.log(4 * 0.23 / 0.77), 0, 0, 0, 0])
    logits, labels = np.array([equal, surer]), np.array([1, 0])
    in_one_bin = abs((0.2 + 0.23) / 2 - 1 / 2)
    assert quality(logits, labels)["expected_calibration_error"] == pytest.approx(
        in_one_bin, abs=CALIBRATION_TOLERANCE
    )


@pytest.mark.parametrize("n_labels", [2, 5])
def test_scores_are_scikit_learns_to_the_last_bit(
    random: np.random.Generator, n_labels: int
) -> None:
    """Catches a count of its own that is nearly F1, and a label that never occurs or is found."""
    for n_rows in (1, 7, 500):
        logits = random.normal(size=(n_rows, n_labels))
        labels = random.integers(0, max(1, n_labels - 1), n_rows)
        scores, predicted = quality(logits, labels), logits.argmax(axis=1)
        assert scores["accuracy"] == accuracy_score(labels, predicted)
        assert scores["macro_f1"] == f1_score(
            labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0
        )


def test_macro_f1_has_the_same_terms_for_every_model() -> None:
    """Catches averaging over predicted labels too: a stray prediction would halve the score."""
    labels = np.array([0] * 9 + [1] * 10)
    logits = np.eye(3)[[0] * 8 + [2] + [1] * 10]
    f1_of_0 = 2 * 8 / 9 / (1 + 8 / 9)
    assert quality(logits, labels)["macro_f1"] == pytest.approx((f1_of_0 + 1) / 2, abs=1e-12)


def test_a_label_that_is_never_predicted_counts_as_0() -> None:
    """Catches leaving out the labels a model never finds, and a warning for their precision."""
    scores = quality(np.eye(2)[[0, 0, 0, 0]], np.array([0, 0, 1, 1]))
    assert scores["macro_f1"] == pytest.approx(2 / 3 / 2, abs=1e-12)


def test_without_labels_there_is_no_quality() -> None:
    """Catches a mean over nothing."""
    assert quality(np.zeros((5, 3)), np.full(5, -1)) == {}
    assert quality(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)) == {}


def test_memory_mapped_half_precision_is_accepted(random: np.random.Generator) -> None:
    """Catches handing read-only memory to torch, and scoring in float16."""
    logits = random.normal(size=(64, 3)).astype(np.float16)
    labels = random.integers(0, 3, 64).astype(np.int32)
    logits.flags.writeable = labels.flags.writeable = False
    assert quality(logits, labels) == quality(logits.astype(np.float64), labels)


def test_a_label_without_a_column_is_refused() -> None:
    """Catches labels of another task, which would score as plain errors of the model."""
    with pytest.raises(DataError, match=r"labels run from 0 to 3, .* 3 columns \(0\.\.2; -1 "):
        quality(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(DataError, match="labels run from -2 to 1"):
        quality(np.zeros((2, 3)), np.array([-2, 1]))


def test_labels_of_other_rows_are_refused() -> None:
    """Catches numpy broadcasting or cutting where the rows do not pair up."""
    with pytest.raises(DataError, match=r"labels have shape \(3,\), logits \(2, 3\)"):
        quality(np.zeros((2, 3)), np.zeros(3, dtype=np.int64))


def test_a_diverged_model_is_refused() -> None:
    """Catches scoring NaN, whose argmax is a label like any other."""
    logits = np.zeros((4, 2))
    logits[1, 0], logits[2] = np.nan, np.inf
    with pytest.raises(SignalError, match="logits: 3 of 8 values are infinite or not a number"):
        quality(logits, np.zeros(4, dtype=np.int64))
