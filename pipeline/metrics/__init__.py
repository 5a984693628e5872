"""What models are judged by, by the names that metrics have in params.yaml."""

from collections.abc import Callable

from pipeline.metrics.accuracy import ACCURACY
from pipeline.metrics.answer_match import ANSWER_EXACT_MATCH, ANSWER_F1
from pipeline.metrics.answers import Answers
from pipeline.metrics.calibration import EXPECTED_CALIBRATION_ERROR
from pipeline.metrics.correlation import PEARSON, SPEARMAN
from pipeline.metrics.entity_f1 import ENTITY_F1
from pipeline.metrics.exact_match import EXACT_MATCH
from pipeline.metrics.f1 import F1, MACRO_F1, MICRO_F1
from pipeline.metrics.matthews import MATTHEWS
from pipeline.metrics.measure import Measure
from pipeline.metrics.perplexity import PERPLEXITY
from pipeline.metrics.squared_error import MEAN_SQUARED_ERROR
from pipeline.metrics.written import BLEU, CHRF, TEXT_EXACT_MATCH

Metric = Measure[Callable[[Answers], float]]

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
