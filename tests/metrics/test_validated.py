"""Which of two validations is the better one, and the loss that decides between equal scores."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss

from pipeline.core.errors import SignalError
from pipeline.metrics.scores import Validated, label_loss, validate
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.predictions import InVocabulary, Predictions, predictions_of
from pipeline.text.tokens import Tokens
from tests.metrics.made_answers import made_answers

NAN = math.nan


def found(metric: str, score: float, loss: float) -> Validated:
    return Validated({metric: score}, loss)


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [
        ("accuracy", (0.8, 9.0), (0.7, 0.1)),
        ("accuracy", (0.7, 0.4), (0.7, 0.5)),
        ("perplexity", (2.0, 9.0), (3.0, 0.1)),
        ("perplexity", (2.0, 0.4), (2.0, 0.5)),
        ("accuracy", (0.0, 9.0), (NAN, 0.1)),
        ("perplexity", (9.0, 9.0), (NAN, 0.1)),
        ("accuracy", (NAN, 0.1), (NAN, 0.2)),
        ("accuracy", (0.7, 0.9), (0.7, NAN)),
        ("matthews", (0.0, 0.4), (-0.0, 0.5)),
    ],
)
def test_the_score_decides_and_then_the_loss(
    metric: str, better: tuple[float, float], worse: tuple[float, float]
) -> None:
    """Catches a metric of which less is better taken the wrong way round, and a score or loss
    that is not a number, which every comparison calls not better and which so stays for good."""
    one, other = found(metric, *better), found(metric, *worse)
    assert one.is_better(other, metric) and not other.is_better(one, metric)
    assert not one.is_equal(other, metric)


@pytest.mark.parametrize("values", [(0.7, 0.5), (NAN, 0.5), (0.7, NAN), (NAN, NAN)])
def test_equal_ones(values: tuple[float, float]) -> None:
    """Catches a tie that has a winner."""
    one, other = found("accuracy", *values), found("accuracy", *values)
    assert one.is_equal(other, "accuracy")
    assert not one.is_better(other, "accuracy")


def test_the_loss_of_classes_numbers_and_tokens() -> None:
    """Catches a loss of other rows than the labelled ones, or one that overflows."""
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(50, 3)) * 100, random.integers(-1, 3, 50)
    reference = cross_entropy(torch.tensor(logits), torch.tensor(labels), ignore_index=-1)
    assert label_loss(made_answers(logits, labels)) == pytest.approx(float(reference), rel=1e-12)
    huge = made_answers(np.array([[1e4, 0.0]]), np.array([1]))
    assert label_loss(huge) == 1e4
    numbers = np.where(labels < 0, NAN, labels.astype(float))
    known = labels >= 0
    reference = mse_loss(torch.tensor(logits[known, 0]), torch.tensor(numbers[known]))
    assert label_loss(made_answers(logits[:, :1], numbers)) == pytest.approx(float(reference))
    whole = InVocabulary(np.array([-1.0, -3.0, -5.0]), np.array([4, 5, 6]))
    pieces = Predictions(np.zeros((3, 0)), np.array([4, -1, 6]), np.arange(3), "piece", (), whole)
    assert label_loss(pieces) == 3.0


def test_a_validation_of_a_split(tokens: Tokens) -> None:
    """Catches scores, loss and baseline of different rows, and a form that is not read back."""
    split = tokens.splits["validation"]
    logits = np.zeros((len(split), 2), np.float32)
    logits[:, 0] = np.where(np.arange(len(split)) < 20, 2.0, -2.0)
    result = validate(CLASSIFICATION, predictions_of(logits, split, CLASSIFICATION, tokens.labels))
    right = logits.argmax(1) == split.labels
    assert result.scores["accuracy"] == pytest.approx(right.mean())
    assert result.loss == label_loss(made_answers(logits, split.labels))
    assert result.baseline is not None and result.baseline.score == result.scores["accuracy"]
    form = json.loads(json.dumps({"best_step": 3, **result.to_json()}))
    assert Validated.from_json(form) == result
    assert form["validation"]["loss"] == result.loss


def test_logits_that_are_no_numbers_are_refused(tokens: Tokens) -> None:
    """Catches a model that has diverged and is kept as the best."""
    split = tokens.splits["validation"]
    with pytest.raises(SignalError, match=r"30 of 60 values are infinite or not a number"):
        logits = np.full((30, 2), (NAN, 0.0))
        validate(CLASSIFICATION, predictions_of(logits, split, CLASSIFICATION, tokens.labels))
