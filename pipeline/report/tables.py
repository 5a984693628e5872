"""The report's tables of numbers, as text that no format marks up yet, and the notes below them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from pipeline.evaluate.cost_figures import BATCH_SIZE, Cost, Work
from pipeline.evaluate.fidelity import note_on
from pipeline.metrics import Metric
from pipeline.metrics.measure import Measure
from pipeline.report.comparison import Comparison, SeedGroup
from pipeline.report.metrics_files import Scores, SplitMetrics, StudentMetrics
from pipeline.report.provenance import StageRun
from pipeline.tasks import TASKS

MISSING = "–"
_N_LABELS_SHOWN = 12


@dataclass(frozen=True)
class Heading:
    """The head of a column."""

    text: str
    unit: str = ""
    """Empty for a plain number."""

    @property
    def name(self) -> str:
        """Both in a line."""
        return f"{self.text} ({self.unit})" if self.unit else self.text


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table."""

    text: str
    note: str = ""
    """A smaller text beside or below."""
    style: str = ""
    """Classes of the page's cell: `name` heads its row, `code` is a command, `text` is long,
    `said` is what a model wrote, `wrong` is wrong."""


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    cells: tuple[Cell, ...]
    style: str = ""
    """The page's class of the row."""


@dataclass(frozen=True)
class Table:
    """A table with a head."""

    title: str
    """Read aloud where nothing can be seen."""
    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    style: str = ""
    """The page's class of the table."""
    n_left: int = 1
    """Columns of text, before those of numbers."""


@dataclass(frozen=True)
class Column:
    """One measure of every model."""

    heading: Heading
    meaning: str
    form: str
    """How its numbers are written, as `format` takes it."""
    students: tuple[float | None, ...]
    """In the order of the comparison; None where it is not known."""
    teacher: float | None = None
    has_seeds: bool = False
    """Whether it is worth a mean over students that differ in their seed alone."""

    def write(self, value: float | None) -> str:
        """Return a number as it stands in the table."""
        return MISSING if value is None else format(value, self.form)


def build_table(comparison: Comparison, columns: Sequence[Column], best: Sequence[str]) -> Table:
    """Return the first table of the report: teacher and students, of whom `best` are the best."""
    teacher = Row(
        (Cell("teacher", style="name"), *(Cell(one.write(one.teacher)) for one in columns)),
        "teacher",
    )
    students = [
        Row(
            (
                Cell(one.student, _describe(one), "name"),
                *(Cell(column.write(column.students[number])) for column in columns),
            ),
            "best" if one.student in best else "",
        )
        for number, one in enumerate(comparison.students)
    ]
    headings = (Heading("model"), *(column.heading for column in columns))
    return Table("Students beside their teacher", headings, (teacher, *students))


def build_seed_table(
    comparison: Comparison, columns: Sequence[Column], groups: Sequence[SeedGroup]
) -> Table | None:
    """Return means and deviations of students that differ in their seed, where there are such."""
    columns = [column for column in columns if column.has_seeds]
    numbers = {one.student: number for number, one in enumerate(comparison.students)}
    rows = []
    for group in groups:
        names = [one.student for one in group.members]
        if len(names) > 1:
            cells = [_spread(column, [numbers[name] for name in names]) for column in columns]
            first = Cell(group.name, ", ".join(names), "name"), Cell(str(len(names)))
            rows.append(Row((*first, *cells)))
    headings = Heading("group"), Heading("students"), *(column.heading for column in columns)
    return Table("Seeds", headings, tuple(rows)) if rows else None


def build_stage_table(runs: Sequence[StageRun]) -> Table:
    """Return the seconds of the stages."""
    rows = [
        (
            Cell(run.stage, style="name"),
            Cell(run.command, style="code"),
            Cell(MISSING if run.seconds is None else f"{run.seconds:,.1f}"),
        )
        for run in runs
    ]
    headings = tuple(map(Heading, ("stage", "command", "seconds")))
    return Table("Stages", headings, tuple(map(Row, rows)), "stages", n_left=2)


def build_columns(comparison: Comparison) -> tuple[Column, ...]:
    """Return the columns after the models' names; those of quality only where there are labels."""
    return (
        *_quality(comparison),
        *_ratios(comparison),
        *_fidelities(comparison),
        *_costs(comparison),
        *_works(comparison),
    )


def _quality(comparison: Comparison) -> Iterator[Column]:
    first, *others = comparison.metrics
    split, things = comparison.compared_on, comparison.things
    labelled = comparison.labelled_split_names
    wanted = [(first, name, f"{first.heading}, {name}") for name in labelled]
    wanted += [(metric, split, metric.heading) for metric in others if labelled]
    for metric, name, heading in wanted:
        scores = [one.splits[name].student for one in comparison.students]
        yield Column(
            Heading(heading, metric.unit.name),
            f"{metric.meaning} Labelled {name} {things}.",
            _form(metric),
            tuple(_score(metric, one) for one in scores),
            _score(metric, comparison.teacher_scores(name)),
            has_seeds=metric is first,
        )
    if labelled:
        both = ("The teacher's", "the student's")
        more, less = both if first.greater_is_better else ("The student's", "the teacher's")
        yield Column(
            Heading(first.loss_heading, first.unit_of_differences),
            f"{more} {first.heading} minus {less}, {split} {things}. Below 0 the student is "
            "better.",
            _form(first),
            tuple(first.unit.factor * comparison.drop(one) for one in comparison.students),
            has_seeds=True,
        )


def _score(metric: Metric, scores: Scores | None) -> float | None:
    score = (scores or {}).get(metric.name)
    return None if score is None else metric.unit.factor * score


def _ratios(comparison: Comparison) -> Iterator[Column]:
    yield Column(
        Heading("times smaller"),
        "The teacher's parameters divided by the student's.",
        ".1f",
        tuple(map(comparison.times_smaller, comparison.students)),
    )
    yield Column(
        Heading("times faster"),
        "The teacher's latency divided by the student's, both timed in turn in one process. "
        "From one machine to another it changes less than the latencies do.",
        ".1f",
        tuple(map(comparison.times_faster, comparison.students)),
    )


def _fidelities(comparison: Comparison) -> Iterator[Column]:
    split, kind = comparison.compared_on, comparison.students[0].task
    for measure in comparison.fidelities:
        scores = [one.splits[split].fidelity[measure.name] for one in comparison.students]
        yield Column(
            Heading(measure.heading, measure.unit.name),
            f"{measure.meaning} All {split} {comparison.things}.{note_on(measure.name, kind)}",
            _form(measure),
            tuple(measure.unit.factor * score for score in scores),
            has_seeds=True,
        )


def _costs(comparison: Comparison) -> Iterator[Column]:
    def column(
        name: str, unit: str, form: str, meaning: str, of: Callable[[Cost], float]
    ) -> Column:
        students = tuple(of(one.cost.student) for one in comparison.students)
        teacher = None if comparison.teacher_cost is None else of(comparison.teacher_cost)
        return Column(Heading(name, unit), meaning, form, students, teacher, name == "latency")

    yield column(
        "parameters",
        "M",
        ".2f",
        "Millions of weights, embeddings included.",
        lambda cost: cost.n_parameters / 1e6,
    )
    yield column(
        "size",
        "MB",
        ".1f",
        "The weights as a file, in millions of bytes.",
        lambda cost: cost.size_bytes / 1e6,
    )
    yield column(
        "latency",
        "ms",
        ".2f",
        "Time to answer one example on its own, the median of many. The teacher's is the median "
        "over all students' measurements.",
        lambda cost: cost.latency_ms,
    )
    yield column(
        "throughput",
        "examples/s",
        ",.0f",
        f"Examples answered in a second, in batches of {BATCH_SIZE}, the median of many.",
        lambda cost: cost.throughput_per_second,
    )


def _works(comparison: Comparison) -> Iterator[Column]:
    def column(name: str, unit: str, meaning: str, of: Callable[[Work], float]) -> Column:
        students = tuple(of(one.work.student) / 1e6 for one in comparison.students)
        teacher = None if comparison.teacher_work is None else of(comparison.teacher_work) / 1e6
        return Column(Heading(name, unit), meaning, ",.1f", students, teacher)

    yield column(
        "FLOPs",
        "M/example",
        "Millions of floating-point operations to answer one example of median length; an "
        "addition and a multiplication are two. Matrix products, convolutions and attention.",
        lambda work: work.flops,
    )
    yield column(
        "memory",
        "MB",
        f"Weights and all tensors at the fullest moment of answering {BATCH_SIZE} examples of the "
        "largest length, in millions of bytes; the process and its libraries come on top.",
        lambda work: work.peak_memory_bytes,
    )


def _form(measure: Measure[Any]) -> str:
    return f"z.{measure.unit.digits}f"


def _spread(column: Column, numbers: Sequence[int]) -> Cell:
    """Return mean and standard deviation of a sample over some students."""
    values = [value for number in numbers if (value := column.students[number]) is not None]
    if len(values) < 2:
        return Cell(MISSING)
    return Cell(f"{column.write(mean(values))} ± {column.write(stdev(values))}")


def write_notes(comparison: Comparison) -> str:
    """Return what the students were tested on, and where they were timed and counted."""
    return " ".join(
        (_describe_rows(comparison), _describe_timing(comparison), _describe_work(comparison))
    )


def _describe(student: StudentMetrics) -> str:
    """Return what the student is and what it learnt from."""
    layers = ""
    if student.n_layers is not None:
        layers = f", {student.n_layers} layer{'s' if student.n_layers != 1 else ''}"
    return f"{student.architecture}{layers}; {' + '.join(student.objectives)}"


def _describe_rows(comparison: Comparison) -> str:
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


def _count(comparison: Comparison, split: SplitMetrics) -> str:
    rows = f"{split.n_rows:,} rows"
    if split.n_questions is not None:
        rows = f"{split.n_questions:,} questions in {rows}"
    if comparison.things == "rows":
        return rows
    return f"{rows} with {split.n_predictions:,} {comparison.things}"


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


def _describe_timing(comparison: Comparison) -> str:
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


def _describe_work(comparison: Comparison) -> str:
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
