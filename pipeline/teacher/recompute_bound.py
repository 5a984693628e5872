"""How far a stored value may be from the teacher's, and how far it is.

A stored value may differ from the true one x, the teacher's in float64, by no more than

    e + q(|x| + e)        e = 8 max |x_p - x| over the row's array; over the array of all rows
                          computed where a row has so few values that all may be right by chance

where x_p is this machine's forward in the store's own precision, so that e is what that
arithmetic is off by, with a factor for other kernels and batches (the error of a sum depends
on its order, its size hardly does), and q bounds the encoding: u |x| + s with unit roundoff
u and half the smallest subnormal s of float32, float16 or bfloat16; for `uint8_cbrt` the
bound b(p) of `store.encoding`, and after the division of a row of n by its sum

    (b(p) + p E) / (1 - E)        E = sum of b over the row + n e

Which pieces of a vocabulary are the likeliest has no encoding; see `recompute_pieces`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from pipeline.store.spec import Encoding

ARITHMETIC_FACTOR = 8
"""How much more the capture's forward may have been off than this one."""
_FEW = 64
"""Below so many values, the largest error of a row says little about the size of errors."""
_ROUNDOFF: dict[Encoding, float] = {"float32": 2**-24, "float16": 2**-11, "bfloat16": 2**-8}
_HALF_SUBNORMAL: dict[Encoding, float] = {
    "float32": 2**-150,
    "float16": 2**-25,
    "bfloat16": 2**-134,
}
_HALF_STEP = 1 / 510


class Verdict(NamedTuple):
    """What was found of one array of one row."""

    share: float
    """The largest share of its bound that a difference takes; above 1 is a fault."""
    row: int
    difference: float
    """The largest."""


@dataclass(frozen=True)
class Compared:
    """One array of one row, before it is judged."""

    row: int
    x: Float64[Tensor, " element"]
    """The true values."""
    difference: Float64[Tensor, " element"]
    """How far the stored ones are from them."""
    error: float
    """max |x_p - x|"""
    n_errors: int
    """Over how many values that is the largest."""
    n_keys: int
    """Of an attention map's rows."""

    @property
    def has_few(self) -> bool:
        """Whether its error may be small by chance, so that other rows' are to be looked at."""
        return self.n_errors < _FEW


def judge(compared: Compared, error: float, encoding: Encoding) -> Verdict:
    """Compare the differences with their bound, where a forward is off by `error`."""
    if encoding == "int32":  # numbers of pieces; the differences are of their logits
        allowed: Tensor | float = max(
            2 * ARITHMETIC_FACTOR * error, torch.finfo(torch.float64).tiny
        )
    else:
        allowed = bound(compared.x, ARITHMETIC_FACTOR * error, encoding, compared.n_keys)
    share = float((compared.difference / allowed).nan_to_num(nan=math.inf).max())
    return Verdict(share, compared.row, float(compared.difference.max()))


def bound(
    x: Float64[Tensor, " element"], error: float, encoding: Encoding, n_keys: int
) -> Float64[Tensor, " element"]:
    """Return how far a stored value may be from the true one; `error` is the arithmetic's.

    Attention maps come row after row of `n_keys` keys.
    """
    if encoding != "uint8_cbrt":
        return error + _ROUNDOFF[encoding] * (x.abs() + error) + _HALF_SUBNORMAL[encoding]
    p = (x + error).view(-1, n_keys)
    before = 3 * _HALF_STEP * p ** (2 / 3) + 3 * _HALF_STEP**2 * p ** (1 / 3) + _HALF_STEP**3
    total = before.sum(1, keepdim=True) + n_keys * error
    after = (before + p * total) / (1 - total).clamp(min=2**-10)
    return (error + after).flatten()
