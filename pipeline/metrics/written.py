"""How well the texts that a model writes match those that are right.

The scores are sacrebleu's (Post 2018, 1804.08771); their signatures say how they are counted.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from pipeline.metrics.answers import Answers, WrittenTexts
from pipeline.metrics.measure import PERCENT, Measure
from pipeline.tasks.task import Kind

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

_KINDS: frozenset[Kind] = frozenset(("sequence_to_sequence",))


def bleu(answers: Answers) -> float:
    """Return BLEU of all texts at once, a fraction.

    Source: Papineni et al. 2002, 10.3115/1073083.1073135.
    """
    from sacrebleu.metrics.bleu import BLEU as SACREBLEU

    # `force` only leaves out a warning of texts with spaces between tokens.
    return _score(SACREBLEU(force=True), answers)


def chrf(answers: Answers) -> float:
    """Return chrF2 of all texts at once, a fraction.

    Source: Popović 2015, 10.18653/v1/W15-3049.
    """
    from sacrebleu.metrics.chrf import CHRF as SACRECHRF

    return _score(SACRECHRF(), answers)


def text_exact_match(answers: Answers) -> float:
    """Return the share of texts that are the right one to the letter, but for outer spaces."""
    texts = _texts(answers)
    pairs = zip(texts.written, texts.right, strict=True)
    return sum(ours.strip() == right.strip() for ours, right in pairs) / len(texts.right)


def _score(metric: "Metric", answers: Answers) -> float:
    texts = _texts(answers)
    score = metric.corpus_score(list(texts.written), [list(texts.right)]).score
    return min(1.0, float(score) / 100)  # rounding leaves the BLEU of equal texts a hair above it


def _texts(answers: Answers) -> WrittenTexts:
    assert answers.written is not None, "no text was written"
    return answers.written


_VERSION = version("sacrebleu")
BLEU_SIGNATURE = f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{_VERSION}"
CHRF_SIGNATURE = f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{_VERSION}"
"""As sacrebleu itself gives them, which takes as long as the rest of a report to import."""

BLEU = Measure(
    name="bleu",
    heading="BLEU",
    unit=PERCENT,
    meaning="How many runs of one to four words the written texts share with the right ones "
    f"(sacrebleu, {BLEU_SIGNATURE}).",
    compute=bleu,
    kinds=_KINDS,
    reads_texts=True,
)
CHRF = Measure(
    name="chrf",
    heading="chrF",
    unit=PERCENT,
    meaning="How many runs of one to six characters the written texts share with the right ones "
    f"(sacrebleu, {CHRF_SIGNATURE}).",
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
