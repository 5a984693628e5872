"""The report as a web page: one file that needs no network."""

import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report import disagreements, seed_groups, text_examples
from pipeline.report.figures.style import INK, STUDENT_COLOUR, SURFACE, TEACHER_COLOUR
from pipeline.report.headline import write_headline, write_warnings
from pipeline.report.report_content import Content
from pipeline.report.report_table import build_columns
from pipeline.report.report_text import (
    describe_rows,
    describe_student,
    describe_timing,
    describe_work,
)

TEMPLATE_NAME = "report.html.jinja"


def render_page(content: Content, pareto: Mapping[str, bytes]) -> str:
    """Return the report as a web page; `pareto` has an SVG document by what quality is against."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["inline"] = as_part_of_a_page
    comparison = content.comparison
    kind = comparison.students[0].task
    return environment.get_template(TEMPLATE_NAME).render(
        headline=write_headline(comparison, content.findings),
        warnings=write_warnings(content.findings),
        columns=build_columns(comparison),
        students=[(one.student, describe_student(one)) for one in comparison.students],
        best=[one.student for one in content.findings.best[0].members],
        notes=[
            describe_rows(comparison),
            describe_timing(comparison),
            describe_work(comparison),
        ],
        pareto=pareto,
        content=content,
        seeds_how_to_read=seed_groups.HOW_TO_READ,
        disagreements_how_to_read=disagreements.how_to_read(kind),
        texts_title=text_examples.title_of(kind),
        texts_how_to_read=text_examples.how_to_read(kind),
        divergence=disagreements.divergence_heading(kind),
        better="up" if comparison.measure.is_larger_better else "down",
        can_be_wrong=disagreements.can_be_wrong(kind),
        student_colour=STUDENT_COLOUR,
        teacher_colour=TEACHER_COLOUR,
    )


def as_part_of_a_page(figure: bytes) -> Markup:
    """Return an SVG document without its prologue, in the page's colours.

    It needs no escaping: matplotlib has escaped every text in it. It is as wide as there is
    room, and at most twice as wide as it was drawn.
    """
    svg = figure.decode()
    svg = svg[svg.index("<svg") :]
    width = re.search(r'width="([\d.]+)pt"', svg)
    assert width is not None
    most = f'style="max-width: {1.3 * float(width[1]):.0f}px"'
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*" height="[^"]*"', rf"<svg\1 {most}", svg)
    for colour, name in ((INK, "ink"), (SURFACE, "surface")):
        svg = re.sub(f"(fill|stroke): {colour}", rf"\1: var(--{name})", svg)
    return Markup(svg)
