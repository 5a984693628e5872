"""What is to be predicted of some examples, and a model's logits arranged by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.tasks.predictions import ABSENT, arrange, is_there, targets_of
from pipeline.tasks.task import Unit
from pipeline.text.tokens import IGNORED, UNLABELLED, TokenSplit
from tests.tasks.made_splits import (
    CHOICES,
    LENGTHS,
    N_LABELS,
    QUESTIONS,
    SEVERAL,
    UNITS,
    flat_logits,
    of_rows,
)

ORDERS = ([0, 1, 2, 3, 4, 5, 6], [5, 2, 0], [2], [1], [4, 4, 3], [6, 0, 1], [])


def by_loops(
    unit: Unit, split: TokenSplit, examples: list[int]
) -> tuple[list[float], list[list[float]]]:
    """Return the labels and the logits of every prediction, from the definition."""
    whole = flat_logits(unit, split).tolist()
    labels, logits = [], []
    most = max((CHOICES[example] for example in examples), default=1) if unit == "choice" else 0
    for example in examples:
        rows = range(split.first_rows[example], split.first_rows[example + 1])
        if unit == "choice":
            said = [int(split.labels[row]) for row in rows]
            labels.append(-1 if -1 in said else said.index(1))
            absent = [ABSENT] * (most - len(said))
            logits.append([whole[row][0] for row in rows] + absent)
            continue
        (row,) = rows
        own = split.labels[split.label_offsets[row] : split.label_offsets[row + 1]].tolist()
        if unit == "row":
            labels += own
            logits.append(whole[row])
        elif unit == "span":
            labels += own
            tokens = whole[split.offsets[row] : split.offsets[row + 1]]
            absent = [ABSENT] * (max(LENGTHS[example] for example in examples) - len(tokens))
            logits += [[token[side] for token in tokens] + absent for side in (0, 1)]
        elif unit == "label":
            labels += own
            logits += [[0.0, logit] for logit in whole[row]]
        else:
            for place, label in enumerate(own):
                if label != IGNORED:
                    labels.append(label)
                    logits.append(whole[split.offsets[row] + place])
    return labels, logits


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", UNITS)
def test_targets_and_logits_are_those_of_a_plain_loop(name: str, order: list[int]) -> None:
    """Catches a label beside the logits of another row, word or choice, and unlabelled ones that
    become class 0; also of examples in another order, twice, or none."""
    unit, split = UNITS[name]
    order = [example % split.n_examples for example in order]
    examples = np.array(order, dtype=np.int64)
    targets = targets_of(split, examples, unit)
    labels, logits = by_loops(unit, split, order)
    assert len(labels) > 3 or order != list(range(split.n_examples)) or unit == "choice"
    np.testing.assert_array_equal(targets.labels, np.array(labels, targets.labels.dtype))
    rows = split.rows_of(examples).tolist()
    assert targets.n_rows == len(rows)
    places = None if targets.places is None else torch.from_numpy(targets.places)
    arranged = arrange(of_rows(unit, split, rows), unit, places)
    assert arranged.tolist() == logits


def test_an_unlabelled_question_has_no_right_choice() -> None:
    """Catches a question of which nobody knows the answer, learned as if the first were right."""
    labels = QUESTIONS.labels.copy()
    labels[:2] = UNLABELLED
    targets = targets_of(replace(QUESTIONS, labels=labels), np.array([1, 0, 2]), "choice")
    assert targets.labels.tolist() == [0, UNLABELLED, 2]
    assert targets.places is not None
    assert targets.places.tolist() == [[0, -1, -1, -1], [1, 2, -1, -1], [3, 4, 5, 6]]


def test_a_label_is_there_with_the_probability_of_the_sigmoid() -> None:
    """Catches several labels that compete with each other for one probability."""
    logits = flat_logits("label", SEVERAL).double() * 5
    arranged = arrange(logits, "label", None)
    found = arranged.softmax(-1)[:, 1].view(-1, N_LABELS)
    torch.testing.assert_close(found, logits.sigmoid(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_absent_choice_has_no_probability(temperature: float, dtype: torch.dtype) -> None:
    """Catches a choice that is not there and takes from those that are."""
    targets = targets_of(QUESTIONS, np.array([0, 1, 2]), "choice")
    assert targets.places is not None
    places = torch.from_numpy(targets.places)
    logits = 30 * flat_logits("choice", QUESTIONS)
    arranged = arrange(logits.to(dtype), "choice", places).float()
    odds = (arranged / temperature).softmax(-1)
    is_real = places >= 0
    assert (odds[~is_real] == 0).all() and (~is_real).sum() == 5
    assert (odds[1] == torch.tensor([1.0, 0, 0, 0])).all()
    alone = (arranged[0, :2] / temperature).softmax(-1)
    assert torch.equal(odds[0, :2], alone)
    if dtype == torch.float32:
        assert torch.equal(is_there(arranged), is_real)
