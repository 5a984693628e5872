"""F1 of whole entities, as the CoNLL shared tasks score them."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PERCENT, Measure
from pipeline.tasks.tag_scheme import as_iobes, tag_fault


def entity_f1(answers: Answers) -> float:
    """Return the harmonic mean of precision and recall of entities, over all types at once.

    An entity is right where its type, its first and its last word are. An `I-` that follows
    no entity of its type begins one, as in conlleval. 0 where there is none at all.

    Raises:
        DataError: the labels are not the tags of one scheme (`tasks.tag_scheme`).

    Source: Tjong Kim Sang and De Meulder 2003, cs/0306050.
    """
    from seqeval.metrics import f1_score

    if fault := tag_fault(answers.names):
        raise DataError(f"labels: {fault}.")
    expected = _sentences(answers, answers.labels.astype(np.int64))
    return float(f1_score(expected, _sentences(answers, answers.predicted), zero_division=0))


def _sentences(answers: Answers, labels: NDArray[np.int64]) -> list[list[str]]:
    """Return the labels' names, a list for each row."""
    names = np.array([as_iobes(name) for name in answers.names], dtype=object)[labels]
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
