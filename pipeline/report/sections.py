"""The figures of the report in sections: one idea each, with a panel for every student."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.report.comparison import Comparison
from pipeline.report.evidence import Evidence
from pipeline.report.figures import (
    attention_maps,
    confidence,
    confusion,
    layers,
    learning_curves,
    numbers,
)
from pipeline.report.figures.confusion import count_confusions, draw_confusion
from pipeline.report.figures.pareto import TEACHER_NAME
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind

_WITHOUT_CONFUSIONS: dict[Kind, str] = {
    "multi_label": "a text may have several labels, so none is taken for another",
    "regression": "numbers are near or far, and none is taken for another",
    "multiple_choice": "each question has choices of its own, so there are no labels that all "
    "questions share",
    "question_answering": "an answer begins and ends at tokens of its own text, so there are no "
    "labels that all texts share",
    "masked_lm": "a vocabulary has too many word pieces for a table",
    "sequence_to_sequence": "a vocabulary has too many word pieces for a table",
}
"""Kinds of task without a matrix, and why."""


@dataclass(frozen=True)
class Picture:
    """A figure, and a line on what it shows where that is not the whole of its panel."""

    svg: bytes
    subtitle: str = ""


@dataclass(frozen=True)
class Panel:
    """What a section shows of one model."""

    name: str
    pictures: tuple[Picture, ...] = ()
    absent: str = ""
    """Why there is no picture."""


@dataclass(frozen=True)
class Section:
    """Figures that are read in the same way."""

    anchor: str
    """Its place in the page's address."""
    title: str
    how_to_read: str
    panels: tuple[Panel, ...]

    @property
    def drawn(self) -> tuple[Panel, ...]:
        """The panels with pictures."""
        return tuple(panel for panel in self.panels if panel.pictures)

    @property
    def absences(self) -> tuple[tuple[str, str], ...]:
        """Why panels are absent, and which; one line for all that have the same reason."""
        names_by_reason: dict[str, list[str]] = {}
        for panel in self.panels:
            if not panel.pictures:
                names_by_reason.setdefault(panel.absent, []).append(panel.name)
        return tuple((", ".join(names), reason) for reason, names in names_by_reason.items())


def build_sections(comparison: Comparison, evidence: Mapping[str, Evidence]) -> tuple[Section, ...]:
    """Return the sections of all students, each in the order of the comparison."""
    is_labelled = bool(comparison.labelled_split_names)
    is_of_numbers = TASKS[comparison.students[0].task].predicts_numbers

    def section(
        anchor: str,
        title: str,
        how_to_read: str,
        draw: Callable[[str, Evidence], Iterator[Picture] | str],
        first: tuple[Panel, ...] = (),
    ) -> Section:
        panels = [_panel(name, draw(name, evidence[name])) for name in evidence]
        return Section(anchor, title, how_to_read, (*first, *panels))

    return (
        section(
            "learning",
            "Learning curves",
            learning_curves.how_to_read(comparison.metrics[0]),
            _curves_of(comparison),
        ),
        section("numbers", "Numbers beside the teacher's", numbers.HOW_TO_READ, _draw_numbers)
        if is_of_numbers
        else section(
            "confidence",
            "Confidence and agreement",
            confidence.how_to_read(comparison.things),
            _draw_confidence,
        ),
        section(
            "confusions",
            "Confusions",
            confusion.how_to_read(comparison.things, is_labelled=is_labelled),
            _confusions_of(comparison),
            _confusions_of_teacher(comparison, evidence),
        ),
        section("layers", "Layers beside the teacher's", layers.HOW_TO_READ, _draw_layers),
        section("attention", "Attention maps", attention_maps.HOW_TO_READ, _draw_attentions),
    )


def _panel(name: str, drawn: Iterator[Picture] | str) -> Panel:
    if isinstance(drawn, str):
        return Panel(name, absent=drawn)
    return Panel(name, tuple(drawn))


def _curves_of(comparison: Comparison) -> Callable[[str, Evidence], Iterator[Picture] | str]:
    has_validation = "validation" in comparison.split_names
    scores = comparison.teacher_scores("validation") if has_validation else None
    metric = comparison.metrics[0]
    teacher_score = scores[metric.name] if scores else None

    def draw(name: str, one: Evidence) -> Iterator[Picture] | str:
        if not one.curves:
            return "no curves of its training are here"
        drawn = learning_curves.draw_learning_curves(one.curves, metric, teacher_score, name)
        return iter([Picture(drawn)])

    return draw


def _draw_confidence(name: str, one: Evidence) -> Iterator[Picture] | str:
    if isinstance(one.predictions, str):
        return one.predictions
    return iter([Picture(confidence.draw_confidence(one.predictions, name))])


def _draw_numbers(name: str, one: Evidence) -> Iterator[Picture] | str:
    if isinstance(one.predictions, str):
        return one.predictions
    return iter([Picture(numbers.draw_numbers(one.predictions, name))])


def _confusions_of(comparison: Comparison) -> Callable[[str, Evidence], Iterator[Picture] | str]:
    labels = comparison.students[0].labels

    def draw(name: str, one: Evidence) -> Iterator[Picture] | str:
        found = one.predictions
        if isinstance(found, str):
            return found
        if found.kind in _WITHOUT_CONFUSIONS:
            return _WITHOUT_CONFUSIONS[found.kind]
        rows = found.is_labelled
        expected = found.numbers_of_labels if rows.any() else found.teacher.argmax(1)
        kept = rows if rows.any() else ~rows
        counts = count_confusions(expected[kept], found.student.argmax(1)[kept], len(labels))
        return iter([Picture(draw_confusion(counts, labels, name))])

    return draw


def _confusions_of_teacher(
    comparison: Comparison, evidence: Mapping[str, Evidence]
) -> tuple[Panel, ...]:
    """Return the teacher's own panel, where there are labels to compare it with."""
    labels = comparison.students[0].labels
    for one in evidence.values():
        found = one.predictions
        if isinstance(found, str) or found.kind in _WITHOUT_CONFUSIONS:
            continue
        if (rows := found.is_labelled).any():
            answers = found.teacher.argmax(1)[rows]
            counts = count_confusions(found.numbers_of_labels[rows], answers, len(labels))
            # No student's name can hold a space, so this salt is no student's.
            svg = draw_confusion(counts, labels, "the teacher", is_teacher=True)
            return (Panel(TEACHER_NAME, (Picture(svg),)),)
    return ()


def _draw_layers(name: str, one: Evidence) -> Iterator[Picture] | str:
    if isinstance(one.similarity, str):
        return one.similarity
    subtitle = f"{one.similarity.n_rows:,} rows"
    return iter([Picture(layers.draw_layers(one.similarity, name), subtitle)])


def _draw_attentions(name: str, one: Evidence) -> Iterator[Picture] | str:
    if isinstance(one.attentions, str):
        return one.attentions
    return (
        Picture(
            attention_maps.draw_attention_maps(text, pair, name),
            text.text if text.text_pair is None else f"{text.text} ‖ {text.text_pair}",
        )
        for text in one.attentions.texts
        for pair in text.pairs
    )
