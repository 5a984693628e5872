"""Among how many word pieces a model hesitates."""

import numpy as np

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import Measure, Unit

_LARGEST = float(np.log(np.finfo(np.float64).max))
"""The largest number whose exponential is still one."""


def perplexity(answers: Answers) -> float:
    """Return exp of the mean of -log p(right piece), from 1 up; 1 is best.

    Of a vocabulary of n word pieces it is n where all are as likely. The largest float64
    stands for what is above it.

    Source: Jelinek et al. 1977, 10.1121/1.2016299.
    """
    assert answers.pieces is not None, "word pieces have probabilities"
    mean = -float(np.mean(answers.pieces.log_probabilities))
    # A teacher's are differences of stored logits: rounding can leave one a hair above 0.
    return float(np.exp(np.clip(mean, 0.0, _LARGEST)))


PERPLEXITY = Measure(
    name="perplexity",
    heading="perplexity",
    unit=Unit("", 1, 2),
    meaning="Among how many equally likely word pieces the model would hesitate as much as it does "
    "at the right one: the exponential of the mean of -log p. 1 is best.",
    compute=perplexity,
    kinds=frozenset(("masked_lm", "sequence_to_sequence")),
    lowest=1.0,
    highest=None,
    is_larger_better=False,
)
