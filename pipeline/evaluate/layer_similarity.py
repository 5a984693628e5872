"""How alike the [CLS] states of a student's layers are to those of its teacher's.

By linear CKA, with an estimator of HSIC that has no bias: the plain one is above zero
for unrelated states, the more so the wider they are and the fewer the rows.

Sources: Kornblith et al. 2019, 1905.00414, equations 2 to 4; Song et al. 2012 (JMLR 13),
equation 5, for the estimator; Nguyen et al. 2021, 2010.15327, section 3, for both together.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.core.errors import DataError
from pipeline.models.inputs import ModelRows
from pipeline.models.probe import Probe
from pipeline.signals.cls import CLS
from pipeline.signals.signal import Array
from pipeline.store.reader import TeacherStore
from pipeline.student.network_settings import STUDENTS

MOST_ROWS = 512
FEWEST_ROWS = 4
"""Below this the estimator divides by zero."""

_BATCH_ROWS = 64

# Share of its kernel's square that a self-similarity must reach, else it is rounding alone:
# the states are all the same, as those of [CLS] are where nothing but the token enters them.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class LayerSimilarity:
    """CKA of every layer of a student with every layer of its teacher."""

    n_rows: int
    """Rows whose states were compared."""

    student_layers: tuple[int, ...]
    """Empty for a network of one state, which is the only row of `cka`."""

    teacher_layers: tuple[int, ...]

    cka: tuple[tuple[float | None, ...], ...]
    """Student's layer by teacher's; 1 for equal up to rotation and scale, around 0 for unrelated.
    None where a layer's states are the same for all rows."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `similarity.json` has it."""
        return asdict(self)


def layer_similarity(
    student: PreTrainedModel, rows: ModelRows, store: TeacherStore
) -> LayerSimilarity:
    """Compare up to 512 rows, evenly spread over the split, layer by layer.

    `rows` are a split as the student reads it, `store` has the teacher's [CLS].

    Raises:
        DataError: the split has too few rows.
        StoreIncompleteError: the store lacks rows.
    """
    split = rows.split
    if len(split) < FEWEST_ROWS:
        raise DataError(f"the split has {len(split)} rows, CKA needs {FEWEST_ROWS} at least")
    chosen = np.linspace(0, len(split) - 1, min(MOST_ROWS, len(split))).round().astype(np.int64)
    is_network = student.config.model_type in STUDENTS
    n_layers = 1 if is_network else int(student.config.num_hidden_layers)
    layers = tuple(range(1, n_layers + 1))
    ours = _student_states(student, rows, chosen, layers)
    theirs = store.cls(store.find(split.keys[chosen])).double().unbind(1)[1:]
    our_kernels = [_kernel(states) for states in ours]
    their_kernels = [_kernel(states) for states in theirs]
    return LayerSimilarity(
        n_rows=len(chosen),
        student_layers=() if is_network else layers,
        teacher_layers=tuple(range(1, len(theirs) + 1)),
        cka=tuple(tuple(_cka(one, other) for other in their_kernels) for one in our_kernels),
    )


def _student_states(
    student: PreTrainedModel, rows: ModelRows, chosen: np.ndarray[Any, Any], layers: tuple[int, ...]
) -> list[Float[Tensor, "row hidden"]]:
    """Return the [CLS] states of each layer, on the CPU."""
    student.eval()
    device = next(student.parameters()).device
    arrays = [Array(CLS, layer) for layer in layers]
    probe = Probe(student, arrays, has_layers=student.config.model_type not in STUDENTS)
    parts: dict[Array, list[Tensor]] = {array: [] for array in arrays}
    # By length, so that there is little padding; put back into order at the end.
    order = np.argsort(rows.split.lengths[chosen], kind="stable")
    with torch.inference_mode():
        for places in np.split(order, range(_BATCH_ROWS, len(order), _BATCH_ROWS)):
            forward = probe(rows.batch(chosen[places], device))
            for array, states in probe.take(forward).items():
                parts[array].append(states.double().cpu())
    back = torch.from_numpy(np.argsort(order))
    return [torch.cat(parts[array])[back] for array in arrays]


def _kernel(states: Float[Tensor, "row hidden"]) -> Float[Tensor, "row other"]:
    """Return the products of all pairs of different rows, each less the mean of all."""
    # HSIC does not change with the mean, but its rounding does.
    centred = states - states.mean(0)
    return (centred @ centred.T).fill_diagonal_(0)


def _cka(one: Float[Tensor, "row other"], other: Float[Tensor, "row other"]) -> float | None:
    norms = [_hsic(kernel, kernel) for kernel in (one, other)]
    if any(
        norm <= _ROUNDING * float(kernel.square().mean())
        for norm, kernel in zip(norms, (one, other), strict=True)
    ):
        return None
    return _hsic(one, other) / float(np.sqrt(norms[0] * norms[1]))


def _hsic(one: Float[Tensor, "row other"], other: Float[Tensor, "row other"]) -> float:
    """Return the estimate of HSIC from two kernels with zeros on their diagonals."""
    n = len(one)
    products = (one * other).sum()
    sums = one.sum() * other.sum() / ((n - 1) * (n - 2))
    crossed = 2 * (one.sum(0) @ other.sum(0)) / (n - 2)
    return float(products + sums - crossed) / (n * (n - 3))
