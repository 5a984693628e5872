"""The report: every student beside the teacher, as Markdown, as a web page and as a figure.

The web page is one file that needs no network. Equal metrics give equal bytes.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.atomic import write_file
from pipeline.evaluate.comparison import Comparison, compare
from pipeline.evaluate.figure import (
    INK,
    STUDENT_COLOUR,
    SURFACE,
    TEACHER_COLOUR,
    draw_quality_against_latency,
)
from pipeline.evaluate.metrics_files import read_all_metrics
from pipeline.evaluate.report_table import build_columns
from pipeline.evaluate.report_text import (
    describe_rows,
    describe_student,
    describe_timing,
    write_headline,
)

MARKDOWN_NAME = "report.md"
PAGE_NAME = "report.html"
FIGURE_NAME = "quality_against_latency.svg"
TEMPLATE_NAME = "report.html.jinja"


def write_report(metrics_paths: Sequence[Path], report_dir: Path) -> None:
    """Write `report.md`, `report.html` and `quality_against_latency.svg` to `report_dir`.

    `metrics_paths` are the students' metrics files, in any order; the report has them
    sorted by path. Nothing is written when one of them cannot be used.

    Raises:
        PipelineError: there is no file; one is missing or malformed; two are about the
            same student; or the students were not tested on the same rows against the
            same teacher.
    """
    comparison = compare(read_all_metrics(metrics_paths))
    figure = draw_quality_against_latency(comparison)
    documents = {
        FIGURE_NAME: figure,
        MARKDOWN_NAME: render_markdown(comparison).encode(),
        PAGE_NAME: render_page(comparison, figure).encode(),
    }
    for name, content in documents.items():
        write_file(report_dir / name, content)


def render_markdown(comparison: Comparison) -> str:
    """Return the report as Markdown with a table; it links to the figure beside it."""
    columns = build_columns(comparison)
    headings = [f"{column.heading}{column.unit and f' ({column.unit})'}" for column in columns]
    students = [
        [f"**{_escape(one.student)}** {_escape(describe_student(one))}"]
        for one in comparison.students
    ]
    rows = [
        ["model", *map(_escape, headings)],
        ["---", *["---:"] * len(columns)],
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
    blocks = [
        "# Students beside their teacher",
        _escape(write_headline(comparison)),
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        f"{_escape(describe_rows(comparison))} {_escape(describe_timing(comparison))}",
        f"![Quality against latency, one point a model]({FIGURE_NAME})",
        "## How to read this",
        "\n".join(meanings),
    ]
    return "\n\n".join(blocks) + "\n"


def render_page(comparison: Comparison, figure: bytes) -> str:
    """Return the report as a web page with the SVG document `figure` in it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE_NAME).render(
        headline=write_headline(comparison),
        columns=build_columns(comparison),
        students=[(one.student, describe_student(one)) for one in comparison.students],
        best=comparison.best.student,
        rows=describe_rows(comparison),
        timing=describe_timing(comparison),
        figure=_as_part_of_a_page(figure),
        student_colour=STUDENT_COLOUR,
        teacher_colour=TEACHER_COLOUR,
    )


def _as_part_of_a_page(figure: bytes) -> Markup:
    """Return the SVG without its prologue, in the page's colours and as wide as the page.

    It needs no escaping: matplotlib has escaped every text in it.
    """
    svg = figure.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*" height="[^"]*"', r"<svg\1", svg)
    for colour, name in ((INK, "ink"), (SURFACE, "surface")):
        svg = re.sub(f"(fill|stroke): {colour}", rf"\1: var(--{name})", svg)
    return Markup(svg)


def _escape(text: str) -> str:
    """Return plain text as Markdown that shows it, on one line."""
    text = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
