"""Answers to questions: the best span of all windows, and SQuAD's scores of their texts."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import SignalError
from pipeline.metrics.scores import score
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import predictions_of
from pipeline.tasks.spans import MOST_TOKENS, answer_texts, best_spans
from pipeline.text.tokens import TokenSplit
from tests.metrics.made_windows import MakeSplit
from tests.squad_scores import exact_match, f1

TASK = TASKS["question_answering"]
LABELS = ("start", "end")
CONTEXT = "the film was a bit warm and the plot was dull"
"""In rows of twelve tokens, two windows."""


def logits_for(split: TokenSplit, spans: dict[int, tuple[int, int]], height: float = 5.0) -> Any:
    """Return flat logits that are 0 but at these first and last tokens, by row."""
    logits = np.zeros((len(split.input_ids), 2), dtype=np.float32)
    for row, ends in spans.items():
        for side, token in enumerate(ends):
            logits[split.offsets[row] + token, side] = height
    return logits


def best_by_loop(logits: Any, split: TokenSplit, *, may_be_empty: bool) -> list[tuple[int, int]]:
    """Return each question's answer, found pair by pair."""
    windows = split.table["window"].to_pylist()
    starts, ends = (split.table[name].to_pylist() for name in ("char_starts", "char_ends"))
    firsts = [row for row, window in enumerate(windows) if window == 0]
    found = []
    for first, stop in pairwise([*firsts, len(windows)]):
        best, span = -np.inf, (0, 0)
        empty = np.inf
        for row in range(first, stop):
            own = logits[split.offsets[row] : split.offsets[row + 1]].astype(np.float64)
            empty = min(empty, own[0].sum())
            for a in range(len(own)):
                for b in range(a, min(len(own), a + MOST_TOKENS)):
                    if min(starts[row][a], starts[row][b]) < 0:
                        continue
                    if own[a, 0] + own[b, 1] > best:
                        best = own[a, 0] + own[b, 1]
                        span = (starts[row][a], ends[row][b])
        found.append((0, 0) if may_be_empty and best <= empty else span)
    return found


@pytest.fixture(scope="module")
def several(make_split: MakeSplit) -> TokenSplit:
    """Several windows, one, more tokens than an answer may have, and none of the text."""
    long = " ".join(["film"] * 50)
    return make_split([CONTEXT, "a plot", long, "\x07"], [["plot"], ["a"], [], None], max_length=44)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_best_span_is_that_of_a_double_loop(several: TokenSplit, data: st.DataObject) -> None:
    """Catches a span over two rows, out of the text, of the wrong window, or too long a one."""
    split = several
    seed = data.draw(st.integers(0, 2**32 - 1))
    is_coarse = data.draw(st.booleans())  # so that sums are equal
    may_be_empty = data.draw(st.booleans())
    logits = np.random.default_rng(seed).normal(size=(len(split.input_ids), 2)) * 2
    logits = (logits.round() if is_coarse else logits).astype(np.float32)
    first_rows = np.flatnonzero(np.asarray(split.table["window"]) == 0)
    begins, ends = best_spans(logits, split, first_rows, may_be_empty=may_be_empty)
    expected = best_by_loop(logits, split, may_be_empty=may_be_empty)
    assert list(zip(begins.tolist(), ends.tolist(), strict=True)) == expected
    assert expected[3] == (0, 0)
    assert any(span != (0, 0) for span in expected) or may_be_empty


def test_an_answer_has_at_most_thirty_tokens(make_split: MakeSplit) -> None:
    """Catches half a page as an answer, where the two ends are each the likeliest."""
    split = make_split([" ".join(["film"] * 40)], [["film"]], max_length=64)
    texts = answer_texts(logits_for(split, {0: (4, 4 + MOST_TOKENS)}), split)
    assert texts is not None
    assert len(texts.given[0].split()) == 1
    texts = answer_texts(logits_for(split, {0: (4, 3 + MOST_TOKENS)}), split)
    assert texts is not None
    assert len(texts.given[0].split()) == MOST_TOKENS


def test_scores_are_squads(make_split: MakeSplit) -> None:
    """Catches scores in hundredths, over windows, of one right answer alone, or of unlabelled."""
    contexts = [CONTEXT, CONTEXT, "a plot", "the film was dull", "the film", "the film"]
    answers = [["bit warm", "warm"], ["dull"], ["plot"], [], [], None]
    split = make_split(contexts, answers)
    assert split.table["window"].to_pylist() == [0, 1, 0, 1, 0, 0, 0, 0]
    # the first: warm; the second: plot was dull; a plot; nothing; film; film
    spans = {0: (9, 9), 3: (7, 9), 4: (4, 5), 5: (0, 0), 6: (5, 5), 7: (5, 5)}
    logits = logits_for(split, spans)
    logits[split.offsets[1] :][:1] = 9  # the other window has no answer, which says nothing
    texts = answer_texts(logits, split)
    assert texts is not None
    assert texts.given == ("warm", "plot was dull", "a plot", "", "film")
    right = [texts for texts in answers if texts is not None]
    pairs = list(zip(texts.given, right, strict=True))
    found = score(TASK.metrics, predictions_of(logits, split, TASK, LABELS))
    assert set(found) == {"answer_f1", "answer_exact_match"}
    assert found["answer_f1"] == pytest.approx(np.mean([f1(*pair) for pair in pairs]), abs=1e-12)
    assert found["answer_exact_match"] == np.mean([exact_match(*pair) for pair in pairs])
    # warm, plot (without its article) and nothing are right; of three words, one is.
    assert found["answer_exact_match"] == pytest.approx(3 / 5)
    assert found["answer_f1"] == pytest.approx((3 + 0.5) / 5)


def test_there_is_always_an_answer_where_all_questions_have_one(make_split: MakeSplit) -> None:
    """Catches empty answers to SQuAD's first version, whose windows say "not here" as well."""
    split = make_split(["a plot", "the film"], [["plot"], ["film"]])
    logits = logits_for(split, {0: (0, 0), 1: (0, 0)})
    logits[split.offsets[0] + 5] = logits[split.offsets[1] + 5] = 1
    texts = answer_texts(logits, split)
    assert texts is not None
    assert texts.given == ("plot", "film")


def test_without_a_labelled_question_there_is_no_score(make_split: MakeSplit) -> None:
    """Catches a traceback over a test split that nobody labelled."""
    split = make_split([CONTEXT], [None])
    assert score(TASK.metrics, predictions_of(logits_for(split, {}), split, TASK, LABELS)) == {}


def test_logits_that_are_no_numbers_have_no_score(make_split: MakeSplit) -> None:
    """Catches a traceback, or a score, of a training that diverged."""
    split = make_split(["a plot"], [["plot"]])
    logits = np.full((len(split.input_ids), 2), np.nan, dtype=np.float32)
    with pytest.raises(SignalError, match="infinite or not a number"):
        score(TASK.metrics, predictions_of(logits, split, TASK, LABELS))
