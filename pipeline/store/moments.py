"""Mean and standard deviation over all rows of a store, from those of its segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def join_moments(
    moments: Float[Tensor, "two segment layer hidden"], n_rows: Int[Tensor, " segment"]
) -> tuple[Float[Tensor, "layer hidden"], Float[Tensor, "layer hidden"]]:
    """Return mean and standard deviation over the rows of all segments.

    `moments` are the segments' means and standard deviations, in float64 (Chan et al. 1979,
    equation 2.1).
    """
    weights = n_rows.double()
    weights = (weights / weights.sum())[:, None, None]
    means, deviations = moments
    mean = (weights * means).sum(0)
    variance = (weights * (deviations**2 + (means - mean) ** 2)).sum(0)
    return mean.float(), variance.sqrt().float()
