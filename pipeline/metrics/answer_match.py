"""How well a model's answers to questions match those that are right, as SQuAD scores them."""

from functools import lru_cache

from torchmetrics.functional.text import squad

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PERCENT, Measure
from pipeline.metrics.spans import AnswerTexts


def answer_f1(answers: Answers) -> float:
    """Return the mean over questions of F1 between the words of the two answers, a fraction.

    Of several right answers the nearest counts. Case, punctuation and English articles do
    not; of a question without an answer, only an empty one is right.

    Source: Rajpurkar et al. 2016, 1606.05250, section 6.1.
    """
    return _scores(answers.texts)["f1"]


def answer_exact_match(answers: Answers) -> float:
    """Return the share of questions whose answer is a right one, a fraction.

    Words are compared as by `answer_f1`.
    """
    return _scores(answers.texts)["exact_match"]


@lru_cache(maxsize=1)
def _scores(texts: AnswerTexts | None) -> dict[str, float]:
    """Return both scores, which are counted at once."""
    assert texts is not None, "answers to questions have texts"
    given = [
        {"id": str(number), "prediction_text": text} for number, text in enumerate(texts.given)
    ]
    right: list[dict[str, str | dict[str, list[str] | list[int]]]] = [
        {"id": str(number), "answers": {"answer_start": [0], "text": list(accepted) or [""]}}
        for number, accepted in enumerate(texts.accepted)
    ]
    return {name: float(value) / 100 for name, value in squad(given, right).items()}


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
