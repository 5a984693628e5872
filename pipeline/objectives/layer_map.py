"""Which teacher layer teaches which student layer.

For N teacher and M student layers (Sun et al. 2019, 1908.09355, section 3.2; the
last layer is left to the logits by `skip` and `last`):

| name | student layer | teacher layer | 12 -> 6 |
|---|---|---|---|
| `skip` | j = 1..M-1 | floor(j N / M) | 2, 4, 6, 8, 10 |
| `last` | j = 1..M-1 | N - M + j | 7, 8, 9, 10, 11 |
| `uniform` | j = 1..M | floor(j N / M) | 2, 4, 6, 8, 10, 12 |
| pairs | as given | as given | |
"""

from typing import Literal

from pipeline.errors import SettingsError
from pipeline.objectives.objective import Depths

LayerPair = tuple[int, int]
"""Student layer, teacher layer."""

NamedMap = Literal["skip", "last", "uniform"]
Pairs = tuple[LayerPair, ...]

LayerMap = NamedMap | Pairs
"""A name from the table above, or explicit pairs `[[student, teacher], ...]`."""


def resolve(layer_map: LayerMap, depths: Depths, *, lowest: int) -> list[LayerPair]:
    """Return the pairs that a layer map stands for in two models of these depths.

    `lowest` is 0 where the embedding output may be paired, 1 where only layers may.

    Raises:
        SettingsError: a layer does not exist, or there is no pair at all.
    """
    pairs = _named(layer_map, depths) if isinstance(layer_map, str) else list(layer_map)
    if not pairs:
        raise SettingsError(
            [
                f"layer map '{layer_map}' has no pair for a student of {depths.student} layers "
                f"and a teacher of {depths.teacher}; give pairs [[student, teacher], ...]"
            ]
        )
    for student, teacher in pairs:
        for model, layer, depth in (
            ("student", student, depths.student),
            ("teacher", teacher, depths.teacher),
        ):
            if not lowest <= layer <= depth:
                kind = "hidden states" if lowest == 0 else "attention maps"
                note = " (0 is the embedding output)" if lowest == 0 else ""
                raise SettingsError(
                    [
                        f"layer map pairs student layer {student} with teacher layer {teacher}, "
                        f"but the {model} has {kind} {lowest}..{depth}{note}"
                    ]
                )
    return pairs


def _named(name: NamedMap, depths: Depths) -> list[LayerPair]:
    n_teacher, n_student = depths.teacher, depths.student
    if n_student > n_teacher:
        return []
    if name == "last":
        return [(layer, n_teacher - n_student + layer) for layer in range(1, n_student)]
    stop = n_student if name == "skip" else n_student + 1
    return [(layer, layer * n_teacher // n_student) for layer in range(1, stop)]
