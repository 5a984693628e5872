"""The report: every student beside the teacher, as Markdown, as a web page and as figures.

The web page is one file that needs no network. Equal metrics give equal bytes.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.core.atomic import write_file
from pipeline.report.comparison import compare
from pipeline.report.figures.pareto import LATENCY, SIZE, draw_pareto
from pipeline.report.findings import find
from pipeline.report.metrics_files import read_all_metrics
from pipeline.report.report_content import Content, Sources, read_content
from pipeline.report.report_markdown import render_markdown
from pipeline.report.report_page import render_page

MARKDOWN_NAME = "report.md"
PAGE_NAME = "report.html"


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
    comparison = compare(read_all_metrics(metrics_paths))
    if sources is None:
        content = Content(comparison, find(comparison, {}))
    else:
        content = read_content(comparison, sources)
    pareto = {axis.name: draw_pareto(comparison, axis) for axis in (LATENCY, SIZE)}
    figures = {f"quality_against_{name}.svg": figure for name, figure in pareto.items()}
    documents = {
        **figures,
        MARKDOWN_NAME: render_markdown(content, list(figures)).encode(),
        PAGE_NAME: render_page(content, pareto).encode(),
    }
    for name, document in documents.items():
        write_file(report_dir / name, document)
