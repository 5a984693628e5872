"""The table of the report, column by column, as text; how it is marked up is not known here."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pipeline.evaluate.cost_figures import BATCH_SIZE, Cost, Work
from pipeline.evaluate.fidelity import note_on
from pipeline.evaluate.settings import SplitName
from pipeline.metrics import Metric
from pipeline.report.comparison import Comparison
from pipeline.report.student_metrics import Scores, StudentMetrics

MISSING = "–"

Measures = TypeVar("Measures", Cost, Work)


@dataclass(frozen=True)
class Column:
    """One measure of every model."""

    heading: str

    unit: str
    """Empty for a plain number."""

    meaning: str

    teacher: str
    """The teacher's cell."""

    students: tuple[str, ...]
    """One cell for each student, in the order of the comparison."""


def build_columns(comparison: Comparison) -> tuple[Column, ...]:
    """Return the columns after the models' names; those of quality only where there are labels."""
    return (
        *_quality_columns(comparison),
        *_ratio_columns(comparison),
        *_fidelity_columns(comparison),
        *_cost_columns(comparison),
        *_work_columns(comparison),
    )


def _quality_columns(comparison: Comparison) -> Iterator[Column]:
    first, *others = comparison.metrics
    for split in comparison.labelled_split_names:
        yield _metric_column(comparison, first, split, f"{first.heading}, {split}")
    if not comparison.labelled_split_names:
        return
    split = comparison.compared_on
    for metric in others:
        yield _metric_column(comparison, metric, split, metric.heading)
    both = ("The teacher's", "the student's")
    more, less = both if first.is_larger_better else ("The student's", "the teacher's")
    yield Column(
        first.loss_heading,
        first.unit_of_differences,
        f"{more} {first.heading} minus {less}, {split} {comparison.things}. Below 0 the student "
        "is better.",
        MISSING,
        tuple(first.write_difference(comparison.drop(one)) for one in comparison.students),
    )


def _metric_column(
    comparison: Comparison, metric: Metric, split: SplitName, heading: str
) -> Column:
    def cell(scores: Scores | None) -> str:
        if scores is None or metric.name not in scores:
            return MISSING
        return metric.write(scores[metric.name])

    return Column(
        heading,
        metric.unit.name,
        f"{metric.meaning} Labelled {split} {comparison.things}.",
        cell(comparison.teacher_scores(split)),
        tuple(cell(one.splits[split].student) for one in comparison.students),
    )


def _fidelity_columns(comparison: Comparison) -> Iterator[Column]:
    split = comparison.compared_on
    for measure in comparison.fidelities:
        yield Column(
            measure.heading,
            measure.unit.name,
            f"{measure.meaning} All {split} {comparison.things}."
            + note_on(measure.name, comparison.students[0].task),
            MISSING,
            tuple(
                measure.write(one.splits[split].fidelity[measure.name])
                for one in comparison.students
            ),
        )


def _cost_columns(comparison: Comparison) -> Iterator[Column]:
    students = [one.cost.student for one in comparison.students]
    column = partial(_column_of, comparison.teacher_cost, students)
    yield column(
        "parameters",
        "M",
        "Millions of weights, embeddings included.",
        lambda cost: f"{cost.n_parameters / 1e6:.2f}",
    )
    yield column(
        "size",
        "MB",
        "The weights as a file, in millions of bytes.",
        lambda cost: f"{cost.size_bytes / 1e6:.1f}",
    )
    yield column(
        "latency",
        "ms",
        "Time to answer one example on its own, the median of many. The teacher's is the median "
        "over all students' measurements.",
        lambda cost: f"{cost.latency_ms:.2f}",
    )
    yield column(
        "throughput",
        "examples/s",
        f"Examples answered in a second, in batches of {BATCH_SIZE}, the median of many.",
        lambda cost: f"{cost.throughput_per_second:,.0f}",
    )


def _work_columns(comparison: Comparison) -> Iterator[Column]:
    students = [one.work.student for one in comparison.students]
    column = partial(_column_of, comparison.teacher_work, students)
    yield column(
        "FLOPs",
        "M/example",
        "Millions of floating-point operations to answer one example of median length; an "
        "addition and a multiplication are two. Matrix products, convolutions and attention.",
        lambda work: f"{work.flops / 1e6:,.1f}",
    )
    yield column(
        "memory",
        "MB",
        f"Weights and all tensors at the fullest moment of answering {BATCH_SIZE} examples of the "
        "largest length, in millions of bytes; the process and its libraries come on top.",
        lambda work: f"{work.peak_memory_bytes / 1e6:,.1f}",
    )


def _ratio_columns(comparison: Comparison) -> Iterator[Column]:
    yield Column(
        "times smaller",
        "",
        "The teacher's parameters divided by the student's.",
        MISSING,
        tuple(_ratio(comparison.times_smaller, one) for one in comparison.students),
    )
    yield Column(
        "times faster",
        "",
        "The teacher's latency divided by the student's, both timed in turn in one process. "
        "From one machine to another it changes less than the latencies do.",
        MISSING,
        tuple(_ratio(comparison.times_faster, one) for one in comparison.students),
    )


def _column_of(
    teacher: Measures | None,
    students: Sequence[Measures],
    heading: str,
    unit: str,
    meaning: str,
    show: Callable[[Measures], str],
) -> Column:
    """Return a column of what was measured of each model; of a teacher only where there is one."""
    teacher_cell = MISSING if teacher is None else show(teacher)
    return Column(heading, unit, meaning, teacher_cell, tuple(map(show, students)))


def _ratio(compute: Callable[[StudentMetrics], float | None], student: StudentMetrics) -> str:
    ratio = compute(student)
    return MISSING if ratio is None else f"{ratio:.1f}"
