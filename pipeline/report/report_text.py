"""The sentences of the report, as plain text."""

from pipeline.report.comparison import Comparison
from pipeline.report.student_metrics import SplitMetrics, StudentMetrics
from pipeline.tasks import TASKS

_N_LABELS_SHOWN = 12


def write_headline(comparison: Comparison) -> str:
    """Return the result in a sentence or two: the teacher, and the best student beside it."""
    best = comparison.best
    split = comparison.compared_on
    measure = comparison.measure
    score = measure.write_with_unit(comparison.score(best))
    n_students = len(comparison.students)
    if not comparison.labelled_split_names:
        who = f"the closest of {n_students} students" if n_students > 1 else "the student"
        return (
            "No row has a label, so only closeness to the teacher is known: "
            f"{who}, {best.student}, {_closeness(comparison, score)}{_costs(comparison, best)}."
        )
    who = f"The best of {n_students} students" if n_students > 1 else "The student"
    return (
        f"The teacher's {measure.heading} on {split} is "
        f"{measure.write_with_unit(comparison.teacher_score)}. "
        f"{who}, {best.student}, reaches {score}: {_drop(comparison, best)}"
        f"{_costs(comparison, best)}."
    )


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
    if comparison.things == "rows" or split.n_predictions is None:
        return rows
    return f"{rows} with {split.n_predictions:,} {comparison.things}"


def _closeness(comparison: Comparison, score: str) -> str:
    split, measure = comparison.compared_on, comparison.measure
    if measure.name == "agreement":
        return f"agrees with it on {score} of the {split} {comparison.things}"
    return f"has a {measure.heading} of {score} {measure.unit.name} with it on {split}"


def _drop(comparison: Comparison, student: StudentMetrics) -> str:
    drop, measure = comparison.drop(student), comparison.measure
    written = measure.write_difference(abs(drop))
    if not float(written):
        return f"no {measure.loss_heading}"
    is_less = (drop > 0) == measure.is_larger_better
    unit = measure.unit_of_differences
    return f"{written}{unit and f' {unit}'} {'less' if is_less else 'more'}"


def _costs(comparison: Comparison, student: StudentMetrics) -> str:
    smaller, faster = comparison.times_smaller(student), comparison.times_faster(student)
    phrases = []
    if smaller is not None:
        phrases.append(_times(smaller, "smaller", "larger", "as large"))
    if faster is not None:
        phrases.append(_times(faster, "faster", "slower", "as fast"))
    return f", {' and '.join(phrases)}" if phrases else ""


def _times(ratio: float, more: str, less: str, equal: str) -> str:
    if f"{ratio:.1f}" == "1.0":
        return equal
    return f"{ratio:.1f} times {more}" if ratio > 1 else f"{1 / ratio:.1f} times {less}"
