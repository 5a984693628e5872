"""Metrics of texts: those that answer questions, and those that a model writes.

Answers are scored as SQuAD does; written texts by sacrebleu (Post 2018, 1804.08771), whose
signatures say how they are counted.
"""

import re
import string
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from pipeline.metrics.measure import PERCENT, Measure
from pipeline.tasks.predictions import Predictions, WrittenTexts
from pipeline.tasks.task import Task

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)

_VERSION = version("sacrebleu")
BLEU_SIGNATURE = f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{_VERSION}"
CHRF_SIGNATURE = f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{_VERSION}"
"""As sacrebleu itself gives them, which takes as long as the rest of a report to import."""


def answer_f1(predictions: Predictions) -> float:
    """Return the mean over questions of F1 between the words of the two answers, a fraction.

    Of several right answers the nearest counts. Case, punctuation and English articles do
    not; of a question without an answer, only an empty one is right.

    Source: Rajpurkar et al. 2016, 1606.05250, section 6.1.
    """
    return _mean_of_best(_f1, predictions)


def answer_exact_match(predictions: Predictions) -> float:
    """Return the share of questions whose answer is a right one, a fraction.

    Words are compared as by `answer_f1`.
    """
    return _mean_of_best(_is_equal, predictions)


def _mean_of_best(
    score: Callable[[list[str], list[str]], float], predictions: Predictions
) -> float:
    """Return the mean over questions of an answer's best score against those that are right."""
    assert predictions.texts is not None, "answers to questions have texts"
    best = []
    for given, accepted in zip(predictions.texts.given, predictions.texts.accepted, strict=True):
        against = partial(score, _words(given))
        best.append(max(against(_words(text)) for text in accepted or ("",)))
    return float(np.mean(best))


def _words(text: str) -> list[str]:
    """Return the words that are compared: no case, no ASCII punctuation, no English articles."""
    return _ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def _is_equal(given: list[str], right: list[str]) -> float:
    return float(given == right)


def _f1(given: list[str], right: list[str]) -> float:
    """Return F1 of two answers' words, each as often as it stands there."""
    if not given or not right:
        return _is_equal(given, right)
    n_shared = (Counter(given) & Counter(right)).total()
    return 2 * n_shared / (len(given) + len(right))


def bleu(predictions: Predictions) -> float:
    """Return BLEU of all texts at once, a fraction.

    Source: Papineni et al. 2002, 10.3115/1073083.1073135.
    """
    from sacrebleu.metrics.bleu import BLEU as SACREBLEU

    # `force` only leaves out a warning of texts with spaces between tokens.
    return _score(SACREBLEU(force=True), predictions)


def chrf(predictions: Predictions) -> float:
    """Return chrF2 of all texts at once, a fraction.

    Source: Popović 2015, 10.18653/v1/W15-3049.
    """
    from sacrebleu.metrics.chrf import CHRF as SACRECHRF

    return _score(SACRECHRF(), predictions)


def text_exact_match(predictions: Predictions) -> float:
    """Return the share of texts that are the right one to the letter, but for outer spaces."""
    texts = _texts(predictions)
    pairs = zip(texts.written, texts.right, strict=True)
    return sum(ours.strip() == right.strip() for ours, right in pairs) / len(texts.right)


def _score(metric: "Metric", predictions: Predictions) -> float:
    texts = _texts(predictions)
    score = metric.corpus_score(list(texts.written), [list(texts.right)]).score
    return min(1.0, float(score) / 100)  # rounding leaves the BLEU of equal texts a hair above it


def _texts(predictions: Predictions) -> WrittenTexts:
    assert predictions.written is not None, "no text was written"
    return predictions.written


def _answers(task: Task) -> bool:
    return task.predicts == "span"


def _writes(task: Task) -> bool:
    return task.writes


ANSWER_F1 = Measure(
    name="answer_f1",
    heading="answer F1",
    unit=PERCENT,
    meaning="How many words the answers share with the right ones: the mean over questions of F1, "
    "the harmonic mean of precision and recall.",
    compute=answer_f1,
    fits=_answers,
    hub_name="f1",
)
ANSWER_EXACT_MATCH = Measure(
    name="answer_exact_match",
    heading="exact answers",
    unit=PERCENT,
    meaning="Share of the questions whose answer is a right one, but for case, punctuation and "
    "articles.",
    compute=answer_exact_match,
    fits=_answers,
    hub_name="exact_match",
)
BLEU = Measure(
    name="bleu",
    heading="BLEU",
    unit=PERCENT,
    meaning="How many runs of one to four words the written texts share with the right ones "
    f"(sacrebleu, {BLEU_SIGNATURE}).",
    compute=bleu,
    fits=_writes,
    hub_name="sacrebleu",
    reads_texts=True,
)
CHRF = Measure(
    name="chrf",
    heading="chrF",
    unit=PERCENT,
    meaning="How many runs of one to six characters the written texts share with the right ones "
    f"(sacrebleu, {CHRF_SIGNATURE}).",
    compute=chrf,
    fits=_writes,
    hub_name="chrf",
    reads_texts=True,
)
TEXT_EXACT_MATCH = Measure(
    name="text_exact_match",
    heading="exact texts",
    unit=PERCENT,
    meaning="Share of the texts that are the right one to the letter.",
    compute=text_exact_match,
    fits=_writes,
    hub_name="exact_match",
    reads_texts=True,
)
