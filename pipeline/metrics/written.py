"""How well the texts that a model writes match those that are right.

The scores are sacrebleu's (Post 2018, 1804.08771); their signatures say how they are counted.
"""

from sacrebleu.metrics import bleu as of_words
from sacrebleu.metrics import chrf as of_characters

from pipeline.metrics.answers import Answers, WrittenTexts
from pipeline.metrics.measure import PERCENT, Measure
from pipeline.tasks.task import Kind

_KINDS: frozenset[Kind] = frozenset(("sequence_to_sequence",))


def bleu(answers: Answers) -> float:
    """Return BLEU of all texts at once, a fraction.

    Source: Papineni et al. 2002, 10.3115/1073083.1073135.
    """
    return _score(_bleu(), answers)


def chrf(answers: Answers) -> float:
    """Return chrF2 of all texts at once, a fraction.

    Source: Popović 2015, 10.18653/v1/W15-3049.
    """
    return _score(of_characters.CHRF(), answers)


def text_exact_match(answers: Answers) -> float:
    """Return the share of texts that are the right one to the letter, but for outer spaces."""
    texts = _texts(answers)
    pairs = zip(texts.written, texts.right, strict=True)
    return sum(ours.strip() == right.strip() for ours, right in pairs) / len(texts.right)


def _bleu() -> of_words.BLEU:
    return of_words.BLEU(
        force=True
    )  # which only leaves out a warning of texts with spaces between tokens


def _score(metric: of_words.BLEU | of_characters.CHRF, answers: Answers) -> float:
    texts = _texts(answers)
    score = metric.corpus_score(list(texts.written), [list(texts.right)]).score
    return min(1.0, float(score) / 100)  # rounding leaves the BLEU of equal texts a hair above it


def _texts(answers: Answers) -> WrittenTexts:
    assert answers.written is not None, "no text was written"
    return answers.written


def _signature(metric: of_words.BLEU | of_characters.CHRF) -> str:
    metric.corpus_score(["a"], [["a"]])  # it counts the right texts of each row
    return str(metric.get_signature())


BLEU = Measure(
    name="bleu",
    heading="BLEU",
    unit=PERCENT,
    meaning="How many runs of one to four words the written texts share with the right ones "
    f"(sacrebleu, {_signature(_bleu())}).",
    compute=bleu,
    kinds=_KINDS,
    reads_texts=True,
)
CHRF = Measure(
    name="chrf",
    heading="chrF",
    unit=PERCENT,
    meaning="How many runs of one to six characters the written texts share with the right ones "
    f"(sacrebleu, {_signature(of_characters.CHRF())}).",
    compute=chrf,
    kinds=_KINDS,
    reads_texts=True,
)
TEXT_EXACT_MATCH = Measure(
    name="text_exact_match",
    heading="exact texts",
    unit=PERCENT,
    meaning="Share of the texts that are the right one to the letter.",
    compute=text_exact_match,
    kinds=_KINDS,
    reads_texts=True,
)
