"""What models are judged by, by the names that metrics have in params.yaml."""

from collections.abc import Callable

from pipeline.metrics.classes import (
    ACCURACY,
    ENTITY_F1,
    EXACT_MATCH,
    EXPECTED_CALIBRATION_ERROR,
    F1,
    MACRO_F1,
    MATTHEWS,
    MICRO_F1,
    PERPLEXITY,
)
from pipeline.metrics.measure import Measure
from pipeline.metrics.numbers import MEAN_SQUARED_ERROR, PEARSON, SPEARMAN
from pipeline.metrics.texts import ANSWER_EXACT_MATCH, ANSWER_F1, BLEU, CHRF, TEXT_EXACT_MATCH
from pipeline.tasks.predictions import Predictions

Metric = Measure[Callable[[Predictions], float]]

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        ACCURACY,
        MACRO_F1,
        F1,
        MATTHEWS,
        EXPECTED_CALIBRATION_ERROR,
        MICRO_F1,
        EXACT_MATCH,
        PEARSON,
        SPEARMAN,
        MEAN_SQUARED_ERROR,
        ENTITY_F1,
        ANSWER_F1,
        ANSWER_EXACT_MATCH,
        PERPLEXITY,
        BLEU,
        CHRF,
        TEXT_EXACT_MATCH,
    )
}
