"""F1 of whole entities, as the CoNLL shared tasks score them."""

import re

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PERCENT, Measure

_TAG = re.compile(r"O|[BIES]-.+")


def entity_f1(answers: Answers) -> float:
    """Return the harmonic mean of precision and recall of entities, over all types at once.

    An entity is right where its type, its first and its last word are. An `I-` that follows
    no entity of its type begins one, as in conlleval. 0 where there is none at all.

    Raises:
        DataError: the labels are no tags such as B-PER, I-PER and O.

    Source: Tjong Kim Sang and De Meulder 2003, cs/0306050.
    """
    from seqeval.metrics import f1_score

    others = [name for name in answers.names if not _TAG.fullmatch(name)]
    if others:
        raise DataError(
            "the metric entity_f1 needs labels such as B-PER, I-PER and O, but one is "
            f"'{others[0]}'. Set task.metrics to [accuracy, macro_f1]."
        )
    expected = _sentences(answers, answers.labels.astype(np.int64))
    return float(f1_score(expected, _sentences(answers, answers.predicted), zero_division=0))


def _sentences(answers: Answers, labels: NDArray[np.int64]) -> list[list[str]]:
    """Return the labels' names, a list for each row."""
    names = np.array(answers.names, dtype=object)[labels]
    starts = np.flatnonzero(np.diff(answers.rows)) + 1
    return [part.tolist() for part in np.split(names, starts)]


ENTITY_F1 = Measure(
    name="entity_f1",
    heading="entity F1",
    unit=PERCENT,
    meaning="Harmonic mean of precision and recall of entities; one is found where its type, its "
    "first and its last word are right.",
    compute=entity_f1,
    kinds=frozenset(("token_classification",)),
)
