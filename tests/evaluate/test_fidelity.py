"""Closeness of a student to its teacher, against references in float64."""

import numpy as np
import pytest

from pipeline.core.errors import DataError, SignalError
from pipeline.evaluate.fidelity import FIDELITIES, fidelities_of
from pipeline.evaluate.fidelity import fidelity as fidelity_of
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from tests.metrics.made_answers import Array, made_answers


def fidelity(student: Array, teacher: Array, kind: Kind = "classification") -> dict[str, float]:
    return fidelity_of(*(made_answers(one, np.zeros(len(one))) for one in (student, teacher)), kind)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def test_kl_is_that_of_the_student_from_the_teacher(random: np.random.Generator) -> None:
    """Catches the reverse direction, a mean over labels, bits for nats, and float32."""
    student, teacher = random.normal(scale=3, size=(2, 200, 5))
    p, q = softmax(teacher), softmax(student)
    expected = float(np.mean(np.sum(p * (np.log(p) - np.log(q)), axis=1)))
    reverse = float(np.mean(np.sum(q * (np.log(q) - np.log(p)), axis=1)))
    assert abs(expected - reverse) > 1e-3
    assert fidelity(student, teacher)["kl"] == pytest.approx(expected, rel=1e-12)


def test_kl_is_0_at_equality_and_never_below(random: np.random.Generator) -> None:
    """Catches a cross-entropy under the name of KL, and -0.0000 in the report."""
    logits = random.normal(scale=3, size=(200, 5))
    assert fidelity(logits, logits)["kl"] == 0.0
    for shift in (0.1, 1.7, 12.3):  # equal up to rounding
        assert 0.0 <= fidelity(logits + shift, logits)["kl"] < 1e-12


def test_kl_of_certain_models_is_finite() -> None:
    """Catches the logarithm of a probability that has become 0."""
    scores = fidelity(np.array([[2000.0, 0.0]]), np.array([[0.0, 2000.0]]))
    assert scores == {"agreement": 0.0, "kl": pytest.approx(2000.0)}


def test_agreement_is_the_share_of_equal_decisions() -> None:
    """Catches comparing logits or ranks below the first."""
    teacher = np.array([[3.0, 1, 0], [0, 2, 1], [5, 4, 0], [0, 0, 1]])
    student = np.array([[9.0, 0, 1], [1, 2, 0], [4, 5, 0], [0, 0, 9]])
    assert fidelity(student, teacher)["agreement"] == 0.75


def test_fidelity_needs_the_same_rows_and_labels() -> None:
    """Catches broadcasting one row over all."""
    with pytest.raises(DataError, match=r"student logits have shape \(1, 3\), .*\(4, 3\)"):
        fidelity(np.zeros((1, 3)), np.zeros((4, 3)))
    assert fidelity(np.zeros((0, 3)), np.zeros((0, 3))) == {}


def test_half_precision_is_accepted_and_a_diverged_model_refused(
    random: np.random.Generator,
) -> None:
    """Catches handing read-only memory to torch, and NaN, whose argmax is a label."""
    logits = random.normal(size=(64, 3)).astype(np.float16)
    logits.flags.writeable = False
    assert fidelity(logits, logits)["kl"] == 0.0
    bad = np.zeros((4, 2))
    bad[1, 0], bad[2] = np.nan, np.inf
    with pytest.raises(SignalError, match="student logits: 3 of 8 values"):
        fidelity(bad, np.zeros((4, 2)))


def test_numbers_are_compared_as_numbers(random: np.random.Generator) -> None:
    """Catches agreement of 100% for all models that have one output, and a correlation that
    a shift of all numbers changes."""
    teacher = random.normal(size=(50, 1))
    student = 2 * teacher + 3 + 0.1 * random.normal(size=(50, 1))
    found = fidelity(student, teacher, "regression")
    assert set(found) == {"correlation", "mean_absolute_difference"}
    expected = np.corrcoef(student[:, 0], teacher[:, 0])[0, 1]
    assert 0.9 < expected < 1
    assert found["correlation"] == pytest.approx(expected, abs=1e-12)
    assert found["mean_absolute_difference"] == pytest.approx(np.abs(student - teacher).mean())
    constant = fidelity(np.ones((50, 1)), teacher, "regression")
    assert constant["correlation"] == 0.0


@pytest.mark.parametrize("kind", TASKS)
def test_every_kind_of_task_is_ranked_by_one_that_grows(kind: str) -> None:
    """Catches a task whose students cannot be compared without labels, or are ranked by KL."""
    first, *_ = fidelities_of(TASKS[kind].kind)
    assert FIDELITIES[first].greater_is_better
