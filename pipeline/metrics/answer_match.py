"""How well a model's answers to questions match those that are right, as SQuAD scores them."""

import re
import string
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PERCENT, Measure

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_f1(answers: Answers) -> float:
    """Return the mean over questions of F1 between the words of the two answers, a fraction.

    Of several right answers the nearest counts. Case, punctuation and English articles do
    not; of a question without an answer, only an empty one is right.

    Source: Rajpurkar et al. 2016, 1606.05250, section 6.1.
    """
    return _mean_of_best(_f1, answers)


def answer_exact_match(answers: Answers) -> float:
    """Return the share of questions whose answer is a right one, a fraction.

    Words are compared as by `answer_f1`.
    """
    return _mean_of_best(_is_equal, answers)


def _mean_of_best(score: Callable[[list[str], list[str]], float], answers: Answers) -> float:
    """Return the mean over questions of an answer's best score against those that are right."""
    assert answers.texts is not None, "answers to questions have texts"
    best = []
    for given, accepted in zip(answers.texts.given, answers.texts.accepted, strict=True):
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


ANSWER_F1 = Measure(
    name="answer_f1",
    heading="answer F1",
    unit=PERCENT,
    meaning="How many words the answers share with the right ones: the mean over questions of F1, "
    "the harmonic mean of precision and recall.",
    compute=answer_f1,
    kinds=frozenset(("question_answering",)),
)
ANSWER_EXACT_MATCH = Measure(
    name="answer_exact_match",
    heading="exact answers",
    unit=PERCENT,
    meaning="Share of the questions whose answer is a right one, but for case, punctuation and "
    "articles.",
    compute=answer_exact_match,
    kinds=frozenset(("question_answering",)),
)
