"""The sentences of the report, as plain text."""

from pipeline.report.comparison import Comparison
from pipeline.report.student_metrics import SplitMetrics, StudentMetrics
from pipeline.tasks import TASKS

_N_LABELS_SHOWN = 12


def describe_student(student: StudentMetrics) -> str:
    """Return what the student is and what it learnt from."""
    layers = ""
    if student.n_layers is not None:
        layers = f", {student.n_layers} layer{'s' if student.n_layers != 1 else ''}"
    return f"{student.architecture}{layers}; {' + '.join(student.objectives)}"


def describe_rows(comparison: Comparison) -> str:
    """Return what the students were tested on."""
    splits = comparison.students[0].splits
    counts = "; ".join(
        f"{name} {_count(comparison, splits[name])}, {splits[name].n_labelled:,} of them labelled"
        for name in comparison.split_names
    )
    labels = comparison.students[0].labels
    if not TASKS[comparison.students[0].task].has_label_names:
        return f"Tested on: {counts}.{_without_texts(comparison)}"
    more = len(labels) - _N_LABELS_SHOWN
    shown = ", ".join(labels[:_N_LABELS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"Tested on: {counts}. {len(labels)} labels: {shown}."


def _without_texts(comparison: Comparison) -> str:
    """Return what the teacher has no score of, because its own texts are not at hand."""
    scores = comparison.teacher_scores(comparison.compared_on) or {}
    missing = [
        metric.heading
        for metric in comparison.metrics
        if metric.reads_texts and metric.name not in scores
    ]
    if not missing or not comparison.labelled_split_names:
        return ""
    return (
        f" The teacher has no {', '.join(missing)} of {comparison.compared_on}: it has written no "
        "texts for these rows. Name the split under generation.splits to have them."
    )


def describe_timing(comparison: Comparison) -> str:
    """Return where the students were timed; it warns where that was not one place."""
    names_by_place: dict[str, list[str]] = {}
    for one in comparison.students:
        threads = f"{one.cost.n_threads} thread{'s' if one.cost.n_threads != 1 else ''}"
        place = f"{one.cost.device} with {threads}"
        names_by_place.setdefault(place, []).append(one.student)
    if len(names_by_place) == 1:
        sentence = f"Timed on {next(iter(names_by_place))}."
    else:
        places = "; ".join(
            f"{', '.join(names)} on {place}" for place, names in names_by_place.items()
        )
        sentence = f"Timed in different places, so compare by 'times faster' only: {places}."
    untimed = [one.student for one in comparison.students if one.cost.teacher is None]
    if untimed:
        sentence += f" The teacher's weights were not at hand to time beside {', '.join(untimed)}."
    return sentence


def describe_work(comparison: Comparison) -> str:
    """Return the lengths that operations and memory were counted at; one for each tokenizer."""
    students_by_lengths: dict[tuple[int, int], list[str]] = {}
    for one in comparison.students:
        work = one.work.student
        lengths = work.n_tokens, work.n_batch_tokens
        students_by_lengths.setdefault(lengths, []).append(one.student)
    phrases = [
        f"operations at {single:,} tokens, memory at {longest:,}"
        + (f" ({', '.join(names)})" if len(students_by_lengths) > 1 else "")
        for (single, longest), names in students_by_lengths.items()
    ]
    return f"Counted: {'; '.join(phrases)}."


def _count(comparison: Comparison, split: SplitMetrics) -> str:
    rows = f"{split.n_rows:,} rows"
    if split.n_questions is not None:
        rows = f"{split.n_questions:,} questions in {rows}"
    if comparison.things == "rows" or split.n_predictions is None:
        return rows
    return f"{rows} with {split.n_predictions:,} {comparison.things}"
