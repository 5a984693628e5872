"""The report: every student beside the teacher, as Markdown, as a web page and as figures.

What it says is put together once, in `Content`; two templates mark it up. The web page is one
file that needs no network. Equal metrics give equal bytes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.core.atomic import write_file
from pipeline.evaluate.shown_parts import Provenance
from pipeline.report.comparison import Comparison, compare, group_by_seed
from pipeline.report.evidence import Evidence, read_evidence
from pipeline.report.examples import (
    explain_disagreements,
    explain_texts,
    table_disagreements,
    table_texts,
)
from pipeline.report.figures.plots import LATENCY, SIZE, draw_pareto
from pipeline.report.figures.svg import STUDENT_COLOUR, TEACHER_COLOUR, Figure
from pipeline.report.headline import find, write_headline, write_warnings
from pipeline.report.metrics_files import read_all_metrics
from pipeline.report.provenance import describe_provenance, read_stage_seconds
from pipeline.report.sections import Section, build_sections
from pipeline.report.tables import (
    Column,
    Table,
    build_columns,
    build_seed_table,
    build_stage_table,
    build_table,
    write_notes,
)
from pipeline.tasks import TASKS

MARKDOWN_NAME = "report.md"
PAGE_NAME = "report.html"

_SEEDS = (
    "Students whose settings differ only in training.seed: mean ± standard deviation over them "
    "(of a sample, so divided by one less than their number). A difference between two objectives "
    "that is not clearly above these deviations is chance."
)


@dataclass(frozen=True)
class Sources:
    """Where the report finds what it shows beside the metrics."""

    evaluations: Path
    """Holds a folder for each student, as `evaluate` writes it."""
    curves: Path
    """Holds a folder for each student, with its curves as TSV files."""
    seconds: Path
    """Holds what stages noted of their times."""
    settings: Mapping[str, Any]
    """Section `students` of params.yaml, to find those that differ in their seed alone."""


@dataclass(frozen=True)
class Chapter:
    """Tables that are read in the same way."""

    anchor: str
    """Its place in the page's address."""
    title: str
    heading: str
    """The title in full."""
    how_to_read: str
    tables: tuple[tuple[str, Table | None], ...]
    """By student, or one without a name. None where the two models never differ."""
    wrong: str = ""
    """What is meant by the colour of what is wrong."""


@dataclass(frozen=True)
class Content:
    """All that the report says, before it is marked up."""

    headline: str
    warnings: tuple[str, ...]
    table: Table
    notes: str
    columns: tuple[Column, ...]
    """What the table's columns mean."""
    pareto: Mapping[str, Figure]
    """Quality against latency and size, by the name of the cost."""
    better: str
    """Where in these figures the better models are: `up` or `down`."""
    sections: tuple[Section, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    """Pairs of a name and a text."""
    stages: Table | None = None


def write_report(
    metrics_paths: Sequence[Path], report_dir: Path, sources: Sources | None = None
) -> None:
    """Write `report.md`, `report.html` and the two figures `quality_against_*.svg`.

    `metrics_paths` are the students' metrics files, in any order; the report has them
    sorted by path. Without `sources` it holds what the metrics alone say. Nothing is
    written when one of the files cannot be used.

    Raises:
        PipelineError: there is no metrics file; one is missing or malformed; two are about
            the same student; the students were not tested on the same rows against the
            same teacher; or another file is not what its stage writes.
    """
    settings = {} if sources is None else sources.settings
    comparison = compare(read_all_metrics(metrics_paths), settings)
    content = build_content(comparison, sources)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["escape_markdown"] = escape_markdown
    context = {
        "content": content,
        "student_colour": STUDENT_COLOUR,
        "teacher_colour": TEACHER_COLOUR,
    }
    documents = {
        f"quality_against_{name}.svg": figure.document() for name, figure in content.pareto.items()
    }
    for name in (MARKDOWN_NAME, PAGE_NAME):
        text = environment.get_template(f"{name}.jinja").render(context)
        documents[name] = text.encode()
    for name, document in documents.items():
        write_file(report_dir / name, document)


def build_content(comparison: Comparison, sources: Sources | None) -> Content:
    """Return all that is known of the compared students.

    Raises:
        PipelineError: a file of `sources` is there and is not what its stage writes.
    """
    findings = find(comparison)
    columns = build_columns(comparison)
    best = [one.student for one in findings.best[0].members]
    names = [one.student for one in comparison.students]
    evidence = {} if sources is None else _read_evidence(comparison, sources)
    provenance = {
        name: one.provenance
        for name, one in evidence.items()
        if isinstance(one.provenance, Provenance)
    }
    return Content(
        headline=write_headline(comparison, findings),
        warnings=write_warnings(findings),
        table=build_table(comparison, columns, best),
        notes=write_notes(comparison),
        columns=columns,
        pareto={axis.name: draw_pareto(comparison, axis) for axis in (LATENCY, SIZE)},
        better="up" if comparison.measure.greater_is_better else "down",
        sections=build_sections(comparison, evidence) if evidence else (),
        chapters=_chapters(comparison, columns, evidence),
        provenance=describe_provenance(provenance) if provenance else (),
        stages=None
        if sources is None
        else build_stage_table(read_stage_seconds(sources.seconds, names)),
    )


def _read_evidence(comparison: Comparison, sources: Sources) -> dict[str, Evidence]:
    return {
        one.student: read_evidence(
            sources.evaluations / one.student,
            sources.curves / one.student,
            comparison.compared_on,
            one.task,
        )
        for one in comparison.students
    }


def _chapters(
    comparison: Comparison,
    columns: Sequence[Column],
    evidence: Mapping[str, Evidence],
) -> tuple[Chapter, ...]:
    """Return the chapters that have a table."""
    first, wording = comparison.students[0], comparison.wording
    seeds = build_seed_table(comparison, columns, group_by_seed(comparison))
    disagreements = tuple(
        (name, table_disagreements(one.predictions, first.labels, name))
        for name, one in evidence.items()
        if not isinstance(one.predictions, str)
    )
    texts = tuple(
        (name, table_texts(one.texts, name))
        for name, one in evidence.items()
        if wording.texts_title and not isinstance(one.texts, str)
    )
    chapters = (
        Chapter("seeds", "Seeds", "Seeds", _SEEDS, (("", seeds),) if seeds else ()),
        Chapter(
            "disagreements",
            "Disagreements",
            "Where student and teacher disagree most",
            explain_disagreements(first.task),
            disagreements,
            wrong="" if TASKS[first.task].predicts_numbers else "wrong",
        ),
        Chapter(
            "texts",
            wording.texts_title,
            wording.texts_title,
            explain_texts(wording),
            texts,
            wrong="not a right one to the letter",
        ),
    )
    return tuple(chapter for chapter in chapters if chapter.tables)


def escape_markdown(text: str) -> str:
    """Return plain text as Markdown that shows it, on one line."""
    text = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
