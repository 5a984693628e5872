"""The report as Markdown: its tables, with links to the figures beside it."""

import re
from collections.abc import Iterator, Sequence

from pipeline.report import disagreements, seed_groups, text_examples
from pipeline.report.disagreements import Answer, Disagreement
from pipeline.report.headline import write_headline, write_warnings
from pipeline.report.report_content import Content
from pipeline.report.report_table import MISSING, build_columns
from pipeline.report.report_text import (
    describe_rows,
    describe_student,
    describe_timing,
    describe_work,
)


def render_markdown(content: Content, figure_names: Sequence[str]) -> str:
    """Return the report as Markdown; it links to the figures beside it."""
    comparison = content.comparison
    columns = build_columns(comparison)
    headings = [f"{column.heading}{column.unit and f' ({column.unit})'}" for column in columns]
    students = [
        [f"**{_escape(one.student)}** {_escape(describe_student(one))}"]
        for one in comparison.students
    ]
    rows = [
        ["**teacher**", *(column.teacher for column in columns)],
        *(
            [*name, *(column.students[index] for column in columns)]
            for index, name in enumerate(students)
        ),
    ]
    meanings = [
        f"- **{_escape(heading)}**: {_escape(column.meaning)}"
        for heading, column in zip(headings, columns, strict=True)
    ]
    notes = (describe_rows(comparison), describe_timing(comparison), describe_work(comparison))
    blocks = [
        "# Students beside their teacher",
        _escape(write_headline(comparison, content.findings)),
        *_warnings(content),
        _table(["model", *headings], rows),
        _escape(" ".join(notes)),
        *(f"![Quality against cost, one point a model]({name})" for name in figure_names),
        "## How to read this",
        "\n".join(meanings),
        *_seeds(content),
        *_disagreements(content),
        *_texts(content),
        *_provenance(content),
    ]
    return "\n\n".join(blocks) + "\n"


def _warnings(content: Content) -> Iterator[str]:
    if sentences := write_warnings(content.findings):
        yield "\n".join(f"- {_escape(sentence)}" for sentence in sentences)


def _seeds(content: Content) -> Iterator[str]:
    if not content.groups:
        return
    columns = content.group_columns
    yield "## Seeds"
    yield _escape(seed_groups.HOW_TO_READ)
    yield _table(
        [
            "students",
            *(f"{column.heading}{column.unit and f' ({column.unit})'}" for column in columns),
        ],
        [
            [f"**{_escape(group.name)}**", *(column.cells[index] for column in columns)]
            for index, group in enumerate(content.groups)
        ],
    )


def _disagreements(content: Content) -> Iterator[str]:
    if not content.disagreements:
        return
    yield "## Where student and teacher disagree most"
    kind = content.comparison.students[0].task
    yield _escape(disagreements.how_to_read(kind))
    divergence, _ = disagreements.divergence_heading(kind)
    for name, examples in content.disagreements:
        yield f"### {_escape(name)}"
        yield (
            _table(
                ["text", "label", "teacher", "student", divergence],
                [_example_cells(example) for example in examples],
            )
            if examples
            else "The two never differ."
        )


def _texts(content: Content) -> Iterator[str]:
    kind = content.comparison.students[0].task
    title = text_examples.title_of(kind)
    if not content.texts or title is None:
        return
    yield f"## {title}"
    yield _escape(text_examples.how_to_read(kind))
    for name, examples in content.texts:
        yield f"### {_escape(name)}"
        yield (
            _table(
                ["text", "right", "teacher", "student"],
                [
                    [
                        MISSING if cell is None else _escape(cell)
                        for cell in (one.text, one.references, one.teacher, one.student)
                    ]
                    for one in examples
                ],
                n_texts=4,
            )
            if examples
            else "The two never differ."
        )


def _example_cells(example: Disagreement) -> list[str]:
    return [
        _escape(example.text),
        MISSING if example.label is None else _escape(example.label),
        _answer(example.teacher),
        _answer(example.student),
        f"{example.divergence:.2f}",
    ]


def _answer(answer: Answer) -> str:
    if answer.probability is None:
        return _escape(answer.label)
    return f"{_escape(answer.label)} {answer.probability:.3f}"


def _provenance(content: Content) -> Iterator[str]:
    if content.provenance:
        yield "## Where this comes from"
        yield "\n".join(f"- **{name}**: {_escape(text)}" for name, text in content.provenance)
    if content.stages:
        yield _table(
            ["stage", "command", "seconds"],
            [
                [
                    _escape(run.stage),
                    f"`{run.command}`",
                    MISSING if run.seconds is None else f"{run.seconds:,.1f}",
                ]
                for run in content.stages
            ],
            n_texts=2,
        )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], n_texts: int = 1) -> str:
    """Return a table of finished cells, the first `n_texts` columns to the left."""
    marks = ["---" if number < n_texts else "---:" for number in range(len(headings))]
    lines = [list(map(_escape, headings)), marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Return plain text as Markdown that shows it, on one line."""
    text = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
