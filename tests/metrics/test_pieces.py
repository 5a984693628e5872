"""Metrics of word pieces, and of the texts that a model writes."""

import dataclasses

import numpy as np
import pytest
import sacrebleu
import torch

from pipeline.core.errors import DataError, SignalError
from pipeline.metrics import METRICS
from pipeline.metrics.scores import score
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import InVocabulary, Predictions, WrittenTexts

WRITTEN = (
    "the cat sat on the mat .",
    "a dog, it seems, has been seen on my street",
    "",
    "birds fly south",
)
RIGHT = (
    "the cat sat on a mat .",
    "a dog was seen on my street , it seems",
    "nobody came",
    "birds fly south",
)


def made_pieces(
    log_probabilities: list[float], predicted: list[int], right: list[int]
) -> Predictions:
    return Predictions(
        logits=np.zeros((len(predicted), 0)),
        labels=np.array(right, np.int64),
        rows=np.arange(len(right)),
        predicts="piece",
        names=(),
        in_vocabulary=InVocabulary(np.array(log_probabilities, np.float32), np.array(predicted)),
    )


@pytest.fixture
def texts() -> Predictions:
    """What a model wrote, of four rows with a target each."""
    return dataclasses.replace(
        made_pieces([-1.0] * 4, [7] * 4, [7] * 4), written=WrittenTexts(WRITTEN, RIGHT)
    )


def test_perplexity_and_accuracy_are_those_of_torch() -> None:
    """Catches a mean over rows, bits in place of nats, and a share of wrong pieces."""
    random = torch.Generator().manual_seed(5)
    logits = torch.randn(50, 30, generator=random)
    right = torch.randint(30, (50,), generator=random)
    right[::3] = logits.argmax(1)[::3]
    own = logits.log_softmax(1).gather(1, right[:, None])[:, 0]
    answers = made_pieces(own.tolist(), logits.argmax(1).tolist(), right.tolist())
    found = score(TASKS["masked_lm"].metrics, answers)
    expected = torch.nn.functional.cross_entropy(logits.double(), right).exp().item()
    # Fifty float32 numbers of this size are within 1e-6 of those in float64.
    assert found["perplexity"] == pytest.approx(expected, rel=1e-6)
    assert found["accuracy"] == (logits.argmax(1) == right).double().mean().item()
    assert 0 < found["accuracy"] < 1


def test_perplexity_of_known_models() -> None:
    """Catches a perplexity that is not the number of pieces a model hesitates among."""

    def perplexity(*own: float) -> float:
        answers = made_pieces([*own], [0] * len(own), [0] * len(own))
        return score(("perplexity",), answers)["perplexity"]

    # A float32 logarithm has 24 bits.
    assert perplexity(*[-np.log(30_000)] * 3) == pytest.approx(30_000, rel=1e-5)
    assert perplexity(0.0, 0.0) == perplexity(1e-7) == 1.0
    assert np.isfinite(perplexity(-1e30)), "a model in its first steps has a number"
    assert METRICS["perplexity"].fault(0.99)


def test_fewer_hesitations_are_better() -> None:
    """Catches the worst of all checkpoints that is kept as the best."""
    assert METRICS["perplexity"].is_better(3.0, 4.0)
    assert not METRICS["perplexity"].is_better(3.0, 3.0)
    assert METRICS["accuracy"].is_better(0.4, 0.3)


def test_pieces_that_are_no_number_or_not_of_these_targets_are_refused() -> None:
    """Catches a perplexity of nothing, and predictions of other rows."""
    with pytest.raises(SignalError, match=r"log-probabilities: 1 of 2 values"):
        score(("perplexity",), made_pieces([-1.0, float("nan")], [1, 2], [1, 2]))
    with pytest.raises(DataError, match="labels have shape"):
        score(("perplexity",), made_pieces([-1.0], [1], [1, 2]))
    assert score(("perplexity",), made_pieces([], [], [])) == {}


def test_texts_are_scored_by_sacrebleu(texts: Predictions) -> None:
    """Catches a mean of sentences' scores, texts that change places, and other settings."""
    found = score(TASKS["sequence_to_sequence"].metrics, texts)
    assert found["bleu"] == sacrebleu.corpus_bleu(WRITTEN, [RIGHT]).score / 100
    assert found["chrf"] == sacrebleu.corpus_chrf(WRITTEN, [RIGHT]).score / 100
    assert found["text_exact_match"] == 0.25
    assert found["bleu"] != sacrebleu.corpus_bleu(RIGHT, [WRITTEN]).score / 100
    assert 0 < found["bleu"] < found["chrf"] < 1


def test_texts_that_are_right_score_one_and_empty_ones_nothing(texts: Predictions) -> None:
    """Catches a score above its bound, which no metrics file may hold."""
    for written, expected in ((RIGHT, 1.0), (("",) * 4, 0.0)):
        answers = dataclasses.replace(texts, written=WrittenTexts(written, RIGHT))
        found = score(("bleu", "chrf", "text_exact_match"), answers)
        assert found == {"bleu": expected, "chrf": expected, "text_exact_match": expected}


def test_without_written_texts_only_the_other_metrics_are_there(texts: Predictions) -> None:
    """Catches a validation that writes thousands of texts, or fails for want of them."""
    without = dataclasses.replace(texts, written=None)
    assert set(score(TASKS["sequence_to_sequence"].metrics, without)) == {"perplexity"}


def test_the_signatures_are_those_of_what_is_computed() -> None:
    """Catches settings that are named and not used, which nobody could repeat."""
    for name, own in (("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF())):
        own.corpus_score([*WRITTEN], [[*RIGHT]])
        assert str(own.get_signature()) in METRICS[name].meaning
