"""Similarity of a batch's rows, against plain formulas, and what it does not depend on."""

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import median_low
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.core.errors import SettingsError
from pipeline.core.settings import parse_section
from pipeline.objectives.chosen import ObjectivesSettings
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import Objective
from pipeline.objectives.settings import SimilaritySettings
from pipeline.signals.cls import CLS, CLS_STATES
from pipeline.signals.signal import Array
from pipeline.train.settings import TrainingSettings, check_batches
from tests.compared import make_models
from tests.objectives.cases import (
    HIDDEN,
    MODELS,
    NARROW_HIDDEN,
    NARROW_MODELS,
    Case,
    MakeCase,
    check_ignores_padding,
    gradients,
    value_of,
)

PAIRS = ((1, 2), (2, 4))
SAME_LAYERS = ((0, 0), (1, 1), (2, 2))
KERNELS, COMPARISONS = ["linear", "cosine", "rbf"], ["cka", "rows", "mse"]

# A kernel is a sum of 6 products, a comparison a sum over 36 elements; each is rounded to 24 bits,
# and numbers are of size 1.
ROUNDING = 6 * 36 * 2**-24

each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_comparison = pytest.mark.parametrize("comparison", COMPARISONS)


def similarity(
    kernel: str, comparison: str, pairs: tuple[tuple[int, int], ...] = PAIRS
) -> Objective:
    settings = {"layer_map": pairs, "kernel": kernel, "comparison": comparison}
    return SimilaritySettings.model_validate(settings).build(MODELS)


def product(x: list[float], y: list[float]) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True))


def gram(rows: list[list[float]], kernel: str) -> Tensor:
    """Return the kernel of all pairs of rows, one after the other, in float64."""
    n = range(len(rows))
    squares = [[sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]
    median = median_low([squares[i][j] for i in n for j in n if i != j])
    kernels: dict[str, Callable[[int, int], float]] = {
        "linear": lambda i, j: product(rows[i], rows[j]) / len(rows[i]),
        "cosine": lambda i, j: (
            product(rows[i], rows[j])
            / math.sqrt(product(rows[i], rows[i]) * product(rows[j], rows[j]))
        ),
        "rbf": lambda i, j: math.exp(-squares[i][j] / (2 * median)),
    }
    return torch.tensor([[kernels[kernel](i, j) for j in n] for i in n], dtype=torch.float64)


def distance(ours: Tensor, theirs: Tensor, comparison: str) -> float:
    """Return the distance of two Gram matrices, with the centring matrix H = I - 1/n."""
    n = len(ours)
    if comparison == "cka":
        centring = torch.eye(n, dtype=torch.float64) - torch.full((n, n), 1 / n).double()

        def hsic(k: Tensor, other: Tensor) -> float:
            return float(torch.trace(k @ centring @ other @ centring))

        return 1 - hsic(ours, theirs) / math.sqrt(hsic(ours, ours) * hsic(theirs, theirs))
    total = 0.0
    for x, y in zip(ours.tolist(), theirs.tolist(), strict=True):
        norms = [math.sqrt(product(x, x)), math.sqrt(product(y, y))]
        scales = norms if comparison == "rows" else [1.0, 1.0]
        total += sum((a / scales[0] - b / scales[1]) ** 2 for a, b in zip(x, y, strict=True))
    return total / n**2


def reference(case: Case, kernel: str, comparison: str) -> float:
    """Average over pairs of layers."""
    student, teacher = case.student.cls, case.teacher.cls
    losses = [
        distance(
            gram(student[ours].tolist(), kernel), gram(teacher[theirs].tolist(), kernel), comparison
        )
        for ours, theirs in PAIRS
    ]
    return sum(losses) / len(losses)


def changed(case: Case, change: Callable[[Tensor], Tensor]) -> Case:
    """Return the case with all states of the teacher changed."""
    states = {layer: change(part) for layer, part in case.teacher.cls.items()}
    return replace(case, teacher=replace(case.teacher, cls=states))


@each_kernel
@each_comparison
@pytest.mark.parametrize("student_hidden", [HIDDEN, NARROW_HIDDEN])
def test_equals_the_formula(
    make_case: MakeCase, kernel: str, comparison: str, student_hidden: int
) -> None:
    """Catches another centring, a kernel by the other model's width, or unequal widths refused."""
    case = make_case(student_hidden=student_hidden)
    expected = reference(case, kernel, comparison)
    assert value_of(similarity(kernel, comparison), case) == pytest.approx(expected, abs=ROUNDING)
    assert expected > 100 * ROUNDING


@each_kernel
@each_comparison
def test_is_zero_at_equality(make_case: MakeCase, kernel: str, comparison: str) -> None:
    """Catches layers or rows that are paired with others."""
    objective = similarity(kernel, comparison, SAME_LAYERS)
    case = make_case(is_equal=True)
    assert abs(value_of(objective, case)) <= ROUNDING
    largest = max(float(part.abs().max()) for part in gradients(objective, case))
    assert largest <= ROUNDING
    assert value_of(objective, changed(case, lambda states: states.roll(1, 0))) > 100 * ROUNDING
    assert any((part.abs() > 10 * ROUNDING).any() for part in gradients(objective, make_case()))


ORTHOGONAL = torch.linalg.qr(torch.arange(36.0).reshape(6, 6).sin()).Q


@pytest.mark.parametrize(
    ("kernel", "comparison", "name", "is_invariant"),
    [
        ("linear", "cka", "turned", True),
        ("linear", "cka", "scaled", True),
        ("linear", "cka", "shifted", True),
        ("linear", "cka", "stretched", False),
        ("linear", "rows", "scaled", True),
        ("linear", "rows", "shifted", False),
        ("linear", "mse", "turned", True),
        ("linear", "mse", "scaled", False),
        ("cosine", "mse", "turned", True),
        ("cosine", "mse", "scaled", True),
        ("cosine", "mse", "shifted", False),
        ("rbf", "mse", "turned", True),
        ("rbf", "mse", "scaled", True),
        ("rbf", "mse", "shifted", True),
        ("rbf", "mse", "stretched", False),
    ],
)
def test_what_does_not_count(
    make_case: MakeCase, kernel: str, comparison: str, name: str, is_invariant: bool
) -> None:
    """Catches a kernel with a unit, or a centring left out: each formula promises these."""
    change: dict[str, Callable[[Tensor], Tensor]] = {
        "turned": lambda states: states @ ORTHOGONAL,
        "scaled": lambda states: 3 * states,
        "shifted": lambda states: states + 1,
        "stretched": lambda states: states * torch.tensor([4.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    }
    case = make_case(is_equal=True)
    found = value_of(similarity(kernel, comparison, SAME_LAYERS), changed(case, change[name]))
    # States grow up to 3 times, so products grow 9 times.
    assert found <= 9 * ROUNDING if is_invariant else found > 100 * ROUNDING


@each_kernel
@each_comparison
def test_one_row_gives_zero(make_case: MakeCase, kernel: str, comparison: str) -> None:
    """Catches 0 / 0 in the last batch of an epoch, which turns every weight into NaN."""
    case = make_case([4])
    objective = similarity(kernel, comparison)
    assert value_of(objective, case) == 0
    assert all(torch.equal(part, torch.zeros_like(part)) for part in gradients(objective, case))


@each_kernel
@each_comparison
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_equal_rows_have_a_small_gradient(
    make_case: MakeCase, kernel: str, comparison: str, scale: float
) -> None:
    """Catches rounding that is divided by itself, in a gradient up to 10^11 times too large.

    [CLS] of the embedding output is the same in all rows.
    """
    case = make_case()
    usual = max(float(part.abs().max()) for part in gradients(similarity(kernel, "mse"), case))
    with torch.no_grad():
        for states in case.student.cls.values():
            states[:] = scale * states[0]
    for one in (case, changed(case, lambda states: states[:1].expand(6, -1))):
        objective = similarity(kernel, comparison)
        assert math.isfinite(value_of(objective, one))
        largest = max(float(part.abs().max()) for part in gradients(objective, one))
        # `mse` of products is the one that grows with the states, by scale^3.
        assert largest < 10 * max(scale**3, 1) * usual
        if comparison == "cka":
            assert value_of(objective, one) == 1 and largest == 0


def test_ignores_padding(make_case: MakeCase) -> None:
    """Catches a state taken from a padded position."""
    check_ignores_padding(similarity("rbf", "cka"), make_case())


def test_learned_weighs_all_layers_of_the_teacher(make_case: MakeCase) -> None:
    """Catches weights that are not trained, or a mean over other pairs."""
    objective = SimilaritySettings(layer_map="learned").build(MODELS)
    case = make_case()
    pairs = [(ours, theirs) for ours in (1, 2) for theirs in (1, 2, 3, 4)]
    alone = [value_of(similarity("linear", "cka", (pair,)), case) for pair in pairs]
    assert value_of(objective, case) == pytest.approx(sum(alone) / 8, abs=ROUNDING)
    assert gradients(objective, case)[-1].all()


def test_reads_cls_of_the_mapped_layers() -> None:
    """Catches a student whose states are missing at the first step; widths are not compared."""
    needs = Needs(
        teacher=frozenset({CLS_STATES}),
        student=frozenset({Array(CLS, 1), Array(CLS, 2)}),
    )
    assert SimilaritySettings().needs(NARROW_MODELS) == needs
    text_cnn = make_models(1, 4, gives=frozenset({CLS}), architecture="text_cnn")
    assert SimilaritySettings().needs(text_cnn).student == {Array(CLS, 1)}
    with pytest.raises(SettingsError, match=r"^compares \[CLS\] states, which a mute student"):
        SimilaritySettings().needs(make_models(gives=frozenset(), architecture="mute"))


def objectives(**chosen: Any) -> Any:
    return parse_section(ObjectivesSettings, chosen, "students.a.objectives")


def test_a_batch_is_not_cut() -> None:
    """Catches micro-batches or processes that each compare their own rows only."""
    compared, single = objectives(similarity={}, cls={}), objectives(cls={}, logit_match={})
    assert compared.whole_batches() == ["similarity"] and single.whole_batches() == []
    whole = TrainingSettings(batch_size=32)
    cut = TrainingSettings(batch_size=32, micro_batch_size=8)
    check_batches(compared, whole, n_processes=1)
    check_batches(compared, TrainingSettings(batch_size=32, micro_batch_size=32), n_processes=1)
    check_batches(single, cut, n_processes=2)
    for training, n_processes, size in ((cut, 1, 8), (whole, 2, 32)):
        with pytest.raises(SettingsError) as raised:
            check_batches(compared, training, n_processes=n_processes)
        assert str(raised.value) == (
            "objectives.similarity compares all rows of a batch with each other, so a batch of 32 "
            f"cannot be computed in parts of {size} by {n_processes} processes. Set "
            "training.micro_batch_size to null and runtime.processes to 1"
        )


@each_kernel
@pytest.mark.parametrize(("scale", "spread"), [(1e4, 1.0), (1e-4, 1.0), (1.0, 1e-3)])
def test_cka_of_equal_models_is_zero_at_any_scale(
    make_case: MakeCase, kernel: str, scale: float, spread: float
) -> None:
    """Catches products that overflow or drown in float32: all rows of a low layer are alike."""
    case = make_case(is_equal=True)
    states = {
        layer: scale * (1 + spread * part.detach()) for layer, part in case.teacher.cls.items()
    }
    equal = replace(
        case, student=replace(case.student, cls=states), teacher=replace(case.teacher, cls=states)
    )
    # Sums of products in float64, of which the means were taken off: 1e-16 / spread^2.
    assert abs(value_of(similarity(kernel, "cka", ((1, 1), (2, 2))), equal)) < 1e-8
