"""Matthews' correlation between labels and predictions."""

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import POINTS, Measure


def matthews(answers: Answers) -> float:
    """Return the correlation, from -1 to 1; 0 for a model that always says the same.

    Source: Matthews 1975; for more than two labels Gorodkin 2004.
    """
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(answers.labels, answers.predicted))


MATTHEWS = Measure(
    name="matthews",
    heading="Matthews correlation",
    unit=POINTS,
    meaning="Correlation between labels and predictions, in hundredths: 100 where all are right, 0 "
    "where it is chance, or always the same label.",
    compute=matthews,
    kinds=frozenset(("classification",)),
    lowest=-1.0,
)
