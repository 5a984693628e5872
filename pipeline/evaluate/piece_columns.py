"""Predicted word pieces as texts, and what stands around them, for the file of predictions."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from pipeline.evaluate.piece_names import name_pieces
from pipeline.metrics.answers import Answers
from pipeline.text.tokens import TokenSplit

N_AROUND = 12
"""Word pieces that are shown before a place, and behind it."""


def piece_columns(
    split: TokenSplit, student: Answers, teacher: Answers, tokenizer: PreTrainedTokenizerFast
) -> dict[str, pa.Array]:
    """Return the columns of predicted word pieces.

    `label_token`, `student_token` and `teacher_token` are pieces as the tokenizer names them,
    `student_confidence` and `teacher_confidence` the probabilities of the two that are put
    first, and `context` has the place itself between angle quotes.
    """
    columns = {
        f"{who}_token": _names(pieces, tokenizer)
        for who, pieces in (
            ("label", teacher.labels.astype(np.int64)),
            ("student", student.predicted),
            ("teacher", teacher.predicted),
        )
    }
    for who, answers in (("student", student), ("teacher", teacher)):
        assert answers.pieces is not None, "word pieces are predicted"
        assert answers.pieces.of_predicted is not None, "with what they were given"
        odds = np.exp(np.minimum(answers.pieces.of_predicted, 0.0))  # rounding may leave it above
        columns[f"{who}_confidence"] = pa.array(odds.astype(np.float32))
    columns["context"] = pa.array(_contexts(split, tokenizer), pa.string())
    return columns


def _names(pieces: NDArray[np.int64], tokenizer: PreTrainedTokenizerFast) -> pa.Array:
    known, places = np.unique(pieces, return_inverse=True)
    return pa.array(name_pieces(known.tolist(), tokenizer), pa.string()).take(pa.array(places))


def _contexts(split: TokenSplit, tokenizer: PreTrainedTokenizerFast) -> Iterator[str]:
    for number in range(len(split)):
        row = split.row(number)
        assert row.asked is not None, "rows ask for word pieces"
        if row.asked.decoder_ids is not None:
            for place in range(len(row.asked.pieces)):
                given = row.asked.decoder_ids[max(1, place + 1 - N_AROUND) : place + 1]
                yield f"{tokenizer.decode(given.tolist())} »?«".strip()
            continue
        for place in row.asked.places.tolist():
            parts = (
                row.ids[max(0, place - N_AROUND) : place],
                row.ids[place : place + 1],
                row.ids[place + 1 : place + 1 + N_AROUND],
            )
            before, hidden, after = (str(tokenizer.decode(part.tolist())) for part in parts)
            yield f"{before} »{hidden.strip()}« {after}".strip()
