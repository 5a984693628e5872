"""CKA against a sum over quadruples of rows, and what it must not change with."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.evaluate.layer_similarity import _cka, _hsic, _kernel


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def cka(one: Tensor, other: Tensor) -> float | None:
    return _cka(_kernel(one.double()), _kernel(other.double()))


def hsic_by_hand(one: Tensor, other: Tensor) -> float:
    """Return the U-statistic, the mean over all quadruples of different rows (Song et al. 2012)."""
    left, right = (one @ one.T).numpy(), (other @ other.T).numpy()
    terms = [
        left[i, j] * (right[i, j] + right[q, r] - 2 * right[i, q])
        for i, j, q, r in permutations(range(len(one)), 4)
    ]
    return float(np.mean(terms))


def test_hsic_is_the_mean_over_quadruples(generator: torch.Generator) -> None:
    """Catches a wrong sign or divisor, and the estimator with a bias."""
    one = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    other = one[:, :2] + torch.randn(7, 2, generator=generator, dtype=torch.float64) + 5
    computed = _hsic(_kernel(one), _kernel(other))
    # A few hundred float64 terms in another order.
    assert computed == pytest.approx(hsic_by_hand(one, other), rel=1e-9)


def test_rotation_scale_and_shift_do_not_matter(generator: torch.Generator) -> None:
    """Catches a measure of coordinates instead of geometry."""
    states = torch.randn(50, 8, generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator))
    assert cka(states, 3 * states @ rotation + 10) == pytest.approx(1, abs=1e-6)  # float32 inputs


def test_unrelated_states_are_around_zero_however_wide(generator: torch.Generator) -> None:
    """Catches the plain estimator, which calls wide random states alike: here about 0.8."""
    one, other = (torch.randn(64, 300, generator=generator) for _ in range(2))
    found = cka(one, other)
    assert found is not None
    assert abs(found) < 0.1


def test_other_rows_are_not_alike(generator: torch.Generator) -> None:
    """The control of all above: states of rows shifted by one must not match."""
    states = torch.randn(50, 8, generator=generator)
    shifted = cka(states, states.roll(1, 0))
    assert shifted is not None
    assert shifted < 0.3


def test_equal_states_of_all_rows_have_no_similarity(generator: torch.Generator) -> None:
    """Catches a division by rounding: [CLS] is the same for all rows where only it enters."""
    states = torch.randn(50, 8, generator=generator)
    assert cka(states, torch.randn(1, 8, generator=generator).expand(50, 8)) is None
    assert cka(torch.zeros(50, 8), states) is None
