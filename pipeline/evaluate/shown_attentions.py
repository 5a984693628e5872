"""Attention maps of student and teacher for a few short texts, averaged over their heads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.core.errors import CheckpointError, DataError
from pipeline.models.attention import remove_tap
from pipeline.models.inputs import ModelRows
from pipeline.models.probe import Probe
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.signal import Array
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import parse_array_name
from pipeline.student.network_settings import STUDENTS

N_TEXTS = 2
N_PAIRS = 3
BEST_LENGTH = 12
"""Tokens of a text whose map can be read on a phone."""
MOST_TOKENS = 48

_DIGITS = 4


def shown_attentions(
    student: PreTrainedModel,
    ours: ModelRows,
    store: TeacherStore,
    theirs: ModelRows,
    teacher_first: Int[np.ndarray, " row"],
) -> list[dict[str, Any]]:
    """Return what `attentions.json` has of each chosen text: tokens, and maps by layer pair.

    `store` has the teacher's attention maps; `teacher_first` is the label it puts first. The
    model has plain attention again afterwards.

    Raises:
        CheckpointError: the student gives no attention maps.
        DataError: no text is short enough to be shown.
        StoreIncompleteError: the store lacks rows.
    """
    if student.config.model_type in STUDENTS:
        raise CheckpointError(f"a {student.config.model_type} has no attention maps")
    arrays = _captured(store)
    pairs = _pair_layers(
        int(student.config.num_hidden_layers), store.manifest.teacher.n_layers, sorted(arrays)
    )
    chosen = choose_texts(np.maximum(ours.split.lengths, theirs.split.lengths), teacher_first)
    numbers = store.find(theirs.split.keys[chosen])
    shown = []
    for row, number in zip(chosen, numbers.tolist(), strict=True):
        our_maps = _student_maps(student, ours, row, [layer for layer, _ in pairs])
        shown.append(
            {
                "text": theirs.split.table["text"][row].as_py(),
                "text_pair": theirs.split.table["text_pair"][row].as_py(),
                "student_tokens": ours.tokens(row),
                "teacher_tokens": theirs.tokens(row),
                "pairs": [
                    {
                        "student_layer": our_layer,
                        "teacher_layer": their_layer,
                        "student": _rounded(our_maps[our_layer]),
                        "teacher": _rounded(_stored_map(store, arrays[their_layer], number)),
                    }
                    for our_layer, their_layer in pairs
                ],
            }
        )
    return shown


def choose_texts(
    lengths: np.ndarray[Any, np.dtype[np.int64]], predicted: Int[np.ndarray, " row"]
) -> list[int]:
    """Return rows of easily read length, one for each of the labels the teacher gives most.

    Raises:
        DataError: every row is too long.
    """
    by_frequency = np.argsort(-np.bincount(predicted), kind="stable")
    chosen: list[int] = []
    for label in by_frequency:
        (rows,) = np.nonzero((predicted == label) & (lengths <= MOST_TOKENS))
        if len(rows) and len(chosen) < N_TEXTS:
            chosen.append(int(rows[np.argmin(np.abs(lengths[rows] - BEST_LENGTH))]))
    if not chosen:
        raise DataError(f"every text has more than {MOST_TOKENS} tokens, too many to be shown")
    return chosen


def _captured(store: TeacherStore) -> dict[int, Array]:
    """Return the array of each captured layer; maps of all heads win over their mean."""
    arrays = [parse_array_name(name) for name in store.manifest.array_names()]
    return {array.layer: array for array in sorted(arrays, reverse=True)}


def _pair_layers(n_ours: int, n_theirs: int, captured: Sequence[int]) -> list[tuple[int, int]]:
    """Return up to three (student's, teacher's) layers of like depth, spread over the student."""
    layers = np.unique(np.linspace(1, n_ours, min(N_PAIRS, n_ours)).round().astype(int)).tolist()
    return [
        (layer, min(captured, key=lambda theirs: abs(theirs - layer * n_theirs / n_ours)))
        for layer in layers
    ]


def _student_maps(
    student: PreTrainedModel, side: ModelRows, row: int, layers: Sequence[int]
) -> dict[int, Float[Tensor, "query key"]]:
    student.eval()
    probe = Probe(student, [Array(ATTENTIONS, layer) for layer in layers])
    try:
        with torch.inference_mode():
            taken = probe.take(probe(side.batch([row], next(student.parameters()).device)))
        return {array.layer: maps[0].float().mean(0).cpu() for array, maps in taken.items()}
    finally:
        remove_tap(student)


def _stored_map(store: TeacherStore, array: Array, number: int) -> Float[Tensor, "query key"]:
    n_tokens = int(store.lengths[number])
    flat = store.read(array, [number]).decode()
    return flat.view(-1, n_tokens, n_tokens).mean(0)


def _rounded(values: Float[Tensor, "query key"]) -> list[list[float]]:
    return [[round(value, _DIGITS) for value in row] for row in values.tolist()]
