"""The figures of the report in sections: one idea each, with a panel for every student."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.shown_parts import AttendedText, MapPair
from pipeline.report.comparison import Comparison
from pipeline.report.evidence import Evidence
from pipeline.report.figures.heat import (
    AttentionMap,
    count_confusions,
    draw_attention_maps,
    draw_confusion,
    draw_layers,
    draw_numbers,
)
from pipeline.report.figures.plots import TEACHER_NAME, draw_confidence, draw_learning_curves
from pipeline.report.figures.svg import STUDENT_COLOUR, TEACHER_COLOUR, Figure
from pipeline.tasks import TASKS

_LAYERS = (
    "Linear CKA between the [CLS] states of each student layer and each teacher layer, over the "
    "same rows: 1 where they are equal up to rotation and scale, around 0 where they have nothing "
    "to do with each other. A student that is no Transformer has one state, which its head reads. "
    "The fullest cell of a row is the teacher layer that this layer of the student is most like. A "
    "dash stands where all rows have the same state."
)
_ATTENTION = (
    "Each line of a map is one token, and shows which tokens (columns) it attends to, averaged "
    "over the heads; a line sums to 1, and colours are stretched, as most probabilities are "
    "small. Left the teacher, right the student, with tokens of its own if its tokenizer is "
    "another; the layers stand at about the same share of their model's depth."
)
_NUMBERS = (
    "Rows by the teacher's number (across) and the student's (up): the fuller the colour, the more "
    "rows, on a logarithmic scale. On the line the two are equal."
)


@dataclass(frozen=True)
class Picture:
    """A figure, and a line on what it shows where that is not the whole of its panel."""

    figure: Figure
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


Draw = Callable[[Comparison, Evidence], Sequence[Picture] | str]
"""Return the pictures of one student, or why there are none."""


def build_sections(comparison: Comparison, evidence: Mapping[str, Evidence]) -> tuple[Section, ...]:
    """Return the sections of all students, each in the order of the comparison."""

    def section(
        anchor: str, title: str, how_to_read: str, draw: Draw, first: tuple[Panel, ...] = ()
    ) -> Section:
        panels = [_panel(name, draw(comparison, one)) for name, one in evidence.items()]
        return Section(anchor, title, how_to_read, (*first, *panels))

    return (
        section(
            "learning",
            "Learning curves",
            "Above, each term of the loss on the training rows, before its weight, and their "
            "weighted sum (thin line); lower is better, and terms have scales of their own. Below, "
            f"the student's {comparison.metrics[0].heading} on validation; the dashed line is the "
            "teacher's.",
            _draw_curves,
        ),
        section("numbers", "Numbers beside the teacher's", _NUMBERS, _draw_numbers)
        if TASKS[comparison.students[0].task].predicts_numbers
        else section(
            "confidence",
            "Confidence and agreement",
            f"Left, {comparison.things} by a model's confidence, the probability of what it puts "
            f"first: the further right, the surer it is. Right, {comparison.things} by the "
            "distance of the two models' probabilities (half the sum of differences: 0 equal, 1 "
            "nothing in common); filled where both put the same first, a line where they do not. "
            "Counts are on a logarithmic scale.",
            _draw_confidence,
        ),
        section(
            "confusions",
            "Confusions",
            _explain_confusions(comparison),
            _draw_confusions,
            _confusions_of_teacher(comparison, evidence),
        ),
        section("layers", "Layers beside the teacher's", _LAYERS, _draw_layers),
        section("attention", "Attention maps", _ATTENTION, _draw_attentions),
    )


def _panel(name: str, drawn: Sequence[Picture] | str) -> Panel:
    return Panel(name, absent=drawn) if isinstance(drawn, str) else Panel(name, tuple(drawn))


def _draw_curves(comparison: Comparison, one: Evidence) -> Sequence[Picture] | str:
    if not one.curves:
        return "no curves of its training are here"
    metric = comparison.metrics[0]
    has_validation = "validation" in comparison.split_names
    scores = comparison.teacher_scores("validation") if has_validation else None
    figure = draw_learning_curves(one.curves, metric, scores[metric.name] if scores else None)
    return [Picture(figure)]


def _draw_confidence(comparison: Comparison, one: Evidence) -> Sequence[Picture] | str:
    if isinstance(one.predictions, str):
        return one.predictions
    wording = comparison.wording
    return [Picture(draw_confidence(one.predictions, wording.things, wording.same))]


def _draw_numbers(comparison: Comparison, one: Evidence) -> Sequence[Picture] | str:
    if isinstance(one.predictions, str):
        return one.predictions
    return [Picture(draw_numbers(one.predictions))]


def _explain_confusions(comparison: Comparison) -> str:
    shown = (
        "One row for each true label, one column for each label that the model puts first: the "
        "diagonal is right, everything off it a mistake of the row's label for the column's."
        if comparison.labelled_split_names
        else "Nothing has a label, so what the teacher puts first stands for it: one row for each "
        "of the teacher's labels, one column for each of the student's."
    )
    return (
        f"{shown} Numbers are {comparison.things} of the data; the fuller the colour, the larger "
        "the share of its row."
    )


def _draw_confusions(comparison: Comparison, one: Evidence) -> Sequence[Picture] | str:
    found = one.predictions
    if isinstance(found, str):
        return found
    if comparison.wording.no_confusions:
        return comparison.wording.no_confusions
    labels = comparison.students[0].labels
    rows = found.is_labelled
    expected = found.numbers_of_labels if rows.any() else found.teacher.argmax(1)
    kept = rows if rows.any() else ~rows
    counts = count_confusions(expected[kept], found.student.argmax(1)[kept], len(labels))
    return [Picture(draw_confusion(counts, labels, STUDENT_COLOUR))]


def _confusions_of_teacher(
    comparison: Comparison, evidence: Mapping[str, Evidence]
) -> tuple[Panel, ...]:
    """Return the teacher's own panel, where there are labels to compare it with."""
    labels = comparison.students[0].labels
    for one in evidence.values():
        found = one.predictions
        if isinstance(found, str) or comparison.wording.no_confusions:
            continue
        if (rows := found.is_labelled).any():
            answers = found.teacher.argmax(1)[rows]
            counts = count_confusions(found.numbers_of_labels[rows], answers, len(labels))
            return (
                Panel(TEACHER_NAME, (Picture(draw_confusion(counts, labels, TEACHER_COLOUR)),)),
            )
    return ()


def _draw_layers(comparison: Comparison, one: Evidence) -> Sequence[Picture] | str:
    if isinstance(one.similarity, str):
        return one.similarity
    return [Picture(draw_layers(one.similarity), f"{one.similarity.n_rows:,} rows")]


def _draw_attentions(comparison: Comparison, one: Evidence) -> Sequence[Picture] | str:
    if isinstance(one.attentions, str):
        return one.attentions
    return [
        Picture(
            draw_attention_maps(_both_maps(text, pair)),
            text.text if text.text_pair is None else f"{text.text} ‖ {text.text_pair}",
        )
        for text in one.attentions.texts
        for pair in text.pairs
    ]


def _both_maps(text: AttendedText, pair: MapPair) -> tuple[AttentionMap, AttentionMap]:
    teacher, student = (
        f"teacher, layer {pair.teacher_layer}",
        f"student, layer {pair.student_layer}",
    )
    return (
        AttentionMap(teacher, np.array(pair.teacher), text.teacher_tokens, TEACHER_COLOUR),
        AttentionMap(student, np.array(pair.student), text.student_tokens, STUDENT_COLOUR),
    )
