"""Signals are stored as what they are, or what they are not is found out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.signals.signal import Encoding
from pipeline.store.encoding import as_numpy, as_tensor, decode, encode, fits

FLOATS: tuple[Encoding, ...] = ("float32", "float16", "bfloat16")


def make_maps(n_tokens: int, n_rows: int, seed: int = 0) -> Tensor:
    """Return peaked attention rows, (row, key), as trained heads have them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(4 * torch.randn(n_rows, n_tokens, generator=generator), -1)


@pytest.mark.parametrize("encoding", FLOATS)
def test_values_that_fit_are_kept(encoding: Encoding) -> None:
    """Catches an encoding that refuses the largest value, or changes what it can represent."""
    limits = torch.finfo(getattr(torch, encoding))
    values = torch.tensor([limits.max, limits.min, 0.0, limits.tiny, 0.5])
    encoded = encode(values, encoding)
    assert bool(fits(values, encoding))
    stored = as_tensor(as_numpy(encoded).copy(), encoding)
    assert decode(stored, encoding).equal(values)


@pytest.mark.parametrize("encoding", FLOATS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_noticed(encoding: Encoding, bad: float) -> None:
    """Catches a diverged teacher whose NaN are kept, also where infinities cancel out."""
    values = torch.tensor([1.0, bad, -bad, 2.0])
    assert not bool(fits(values, encoding))


def test_overflow_is_noticed() -> None:
    """Catches infinities in a store."""
    values = torch.tensor([1.0, -70_912.4, 65_504.0])
    assert not bool(fits(values, "float16"))
    assert bool(fits(values, "bfloat16"))
    largest = torch.full((1000,), 65_504.0)  # their sum is no float16, and each is
    assert bool(fits(largest, "float16"))


def test_many_large_values_of_32_bits_are_no_overflow() -> None:
    """Catches a check by a sum that itself overflows."""
    for encoding in ("float32", "bfloat16"):
        values = torch.full((1000,), 3e38)
        assert bool(fits(values, encoding))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_probability_is_noticed(bad: float) -> None:
    """Catches a code of 0 or 255 that stands for a number that is none."""
    values = make_maps(8, 4)
    assert bool(fits(values, "uint8_cbrt"))
    values[2, 3] = bad
    assert not bool(fits(values, "uint8_cbrt"))


@given(st.floats(0, 1, width=32))
@settings(deadline=None)  # the machine may be busy
def test_the_error_of_companding_is_bounded(probability: float) -> None:
    """Catches a code that is truncated instead of rounded, or another curve than documented."""
    code = encode(torch.tensor([probability]), "uint8_cbrt")
    found = (float(code) / 255) ** 3
    half_step, root = 1 / 510, math.cbrt(probability)
    bound = 3 * half_step * root**2 + 3 * half_step**2 * root + half_step**3
    assert abs(found - probability) <= bound + 1e-6  # the root is computed in 24 bits
    assert bound < 0.0059


@pytest.mark.parametrize("n_tokens", [1, 2, 25, 128])
def test_companded_maps_sum_to_one_and_stay_close(n_tokens: int) -> None:
    """Catches rows that are divided by another row's sum, and a linear code, whose KL is 0.01."""
    maps = make_maps(n_tokens, 48)
    lengths = torch.full((48,), n_tokens)
    found = decode(encode(maps, "uint8_cbrt").flatten(), "uint8_cbrt", lengths).view(48, n_tokens)
    torch.testing.assert_close(found.sum(1), torch.ones(48))
    # Where a code is 0 the truth is below (1/510)^3 and counts for nothing.
    divergence = (maps * (maps.log() - found.clamp(min=1e-9).log())).sum(1)
    assert float(divergence.mean()) < 1e-4
    assert float((found - maps).abs().max()) < 2 * 0.0059


def test_rows_of_other_lengths_are_divided_each_by_its_own_sum() -> None:
    """Catches lengths that are taken for those of examples instead of those of map rows."""
    parts = [make_maps(3, 6, seed=1), make_maps(5, 10, seed=2)]
    flat = torch.cat([encode(part, "uint8_cbrt").flatten() for part in parts])
    lengths = torch.tensor([3] * 6 + [5] * 10)
    found = decode(flat, "uint8_cbrt", lengths)
    sums = [part.sum() for part in found.split(lengths.tolist())]
    torch.testing.assert_close(torch.stack(sums), torch.ones(16))
