"""Which teacher layer teaches which student layer.

For N teacher and M student layers (Sun et al. 2019, 1908.09355, section 3.2; the
last layer is left to the logits by `skip` and `last`):

| name | student layer | teacher layer | 12 -> 6 |
|---|---|---|---|
| `skip` | j = 1..M-1 | floor(j N / M) | 2, 4, 6, 8, 10 |
| `last` | j = 1..M-1 | N - M + j | 7, 8, 9, 10, 11 |
| `uniform` | j = 1..M | floor(j N / M) | 2, 4, 6, 8, 10, 12 |
| `learned` | j = 1..M | every layer that was captured, weighed | |
| pairs | as given | as given | |

`learned` pairs every student layer with every teacher layer k that was captured, and
the loss of a student layer is the sum over k of softmax(a_j)[k] x loss(j, k) with
learned numbers a, all equal at first. The weights follow what is easiest to match; the
optimizer's weight decay pulls them back to equal ones.
"""

from collections.abc import Sequence
from typing import Literal

from pipeline.core.errors import SettingsError
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.models import Models
from pipeline.signals.signal import Signal

LayerPair = tuple[int, int]
"""Student layer, teacher layer."""

FixedName = Literal["skip", "last", "uniform"]
NamedMap = Literal[FixedName, "learned"]
Pairs = tuple[LayerPair, ...]

LayerMap = NamedMap | Pairs
"""A name from the table above, or explicit pairs `[[student, teacher], ...]`."""
FixedLayerMap = FixedName | Pairs
"""The same, where nothing is to be learned."""


def resolve(layer_map: LayerMap, models: Models, signal: Signal) -> list[LayerPair]:
    """Return the pairs that a layer map stands for in two models, of which `signal` is compared.

    `learned` pairs every student layer with every layer that the store has the signal of.

    Raises:
        SettingsError: a layer does not exist, or there is no pair at all.
    """
    depths = {
        "student": models.student.depth(signal),
        "teacher": max(0, signal.last_layer(models.teacher)),
    }
    if isinstance(layer_map, str):
        pairs = _named(layer_map, depths["student"], depths["teacher"], _captured(models, signal))
    else:
        pairs = list(layer_map)
    if not pairs and layer_map == "learned":
        raise SettingsError(
            "layer map 'learned' takes every teacher layer that was captured, and none was; "
            "list layers under capture.signals"
        )
    if not pairs:
        raise SettingsError(
            f"layer map '{layer_map}' has no pair for a student of {depths['student']} layers "
            f"and a teacher of {depths['teacher']}; give pairs [[student, teacher], ...]"
        )
    # The one layer of a student without Transformer layers has nothing below it.
    lowest_of = {
        "student": signal.first_layer if HIDDEN_STATES in models.student.gives else 1,
        "teacher": signal.first_layer,
    }
    for student, teacher in pairs:
        for model, layer in (("student", student), ("teacher", teacher)):
            if not lowest_of[model] <= layer <= depths[model]:
                kind = "hidden states" if signal.first_layer == 0 else "attention maps"
                kind = f"decoder {kind}" if signal.stack == "decoder" else kind
                note = " (0 is the embedding output)" if lowest_of[model] == 0 else ""
                raise SettingsError(
                    f"layer map pairs student layer {student} with teacher layer {teacher}, "
                    f"but the {model} has {kind} {lowest_of[model]}..{depths[model]}{note}"
                )
    return pairs


def _captured(models: Models, signal: Signal) -> list[int]:
    """Return the teacher's layers that the store has a signal of; [CLS] has them all but 0."""
    if not signal.has_layers:
        return list(range(1, models.teacher.n_layers + 1))
    return sorted({array.layer for array in models.captured if array.signal == signal})


def _named(
    name: NamedMap, n_student: int, n_teacher: int, captured: Sequence[int]
) -> list[LayerPair]:
    if name == "learned":
        return [(ours, theirs) for ours in range(1, n_student + 1) for theirs in captured]
    if n_student > n_teacher:
        return []
    if name == "last":
        return [(layer, n_teacher - n_student + layer) for layer in range(1, n_student)]
    stop = n_student if name == "skip" else n_student + 1
    return [(layer, layer * n_teacher // n_student) for layer in range(1, stop)]
