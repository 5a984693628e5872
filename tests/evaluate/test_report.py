"""The report, read back: the numbers, the sentences, the figure, and what must not be in."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.text import Text

from pipeline.core.errors import PipelineError
from pipeline.report.comparison import compare
from pipeline.report.figures.pareto import LATENCY, SIZE, CostAxis, build_pareto
from pipeline.report.metrics_files import read_all_metrics
from pipeline.report.report import write_report

Metrics = dict[str, Any]
Make = Callable[..., Metrics]
Write = Callable[[Metrics], Path]

NAMES = (
    "quality_against_latency.svg",
    "quality_against_size.svg",
    "report.html",
    "report.md",
)


def without_labels(metrics: Metrics, *splits: str) -> Metrics:
    for split in splits:
        metrics["splits"][split] |= {"n_labelled": 0, "student": {}, "teacher": {}}
    return metrics


def table_of(report_dir: Path) -> dict[str, dict[str, str]]:
    """Return the first Markdown table as {first word of the model: {heading: cell}}."""
    blocks = (report_dir / "report.md").read_text(encoding="utf-8").split("\n\n")
    lines = next(block for block in blocks if block.startswith("|")).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    headings, _, *models = rows
    assert all(len(row) == len(headings) for row in rows)
    return {row[0].split()[0].strip("*"): dict(zip(headings, row, strict=True)) for row in models}


def headline_of(report_dir: Path) -> str:
    return (report_dir / "report.md").read_text(encoding="utf-8").split("\n\n")[1]


class Page(HTMLParser):
    """The cells of the page's table, its tags and its attributes."""

    def __init__(self, report_dir: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self._is_in_cell = False
        self.feed((report_dir / "report.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._is_in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_in_cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] += data


@pytest.fixture
def two_students(make_metrics: Make, write_metrics: Write) -> list[Path]:
    small = make_metrics("cnn", accuracy=0.791)
    small |= {"architecture": "text_cnn", "n_layers": None, "objectives": ["soft_target"]}
    small["splits"]["validation"]["student"]["accuracy"] = 0.802
    small["cost"]["student"] |= {"n_parameters": 800_000, "latency_ms": 0.3}
    small["cost"]["teacher"] |= {"latency_ms": 12.0}
    return [write_metrics(make_metrics("kd-3", accuracy=0.889)), write_metrics(small)]


def test_every_number_stands_in_its_column(two_students: list[Path], tmp_path: Path) -> None:
    """Catches swapped columns, fractions for percents, and one student's cost beside another."""
    write_report(two_students, tmp_path)
    table = table_of(tmp_path)
    expected = {
        "accuracy, validation (%)": ("90.0", "88.9", "80.2"),
        "accuracy, test (%)": ("90.0", "88.9", "79.1"),
        "macro-F1 (%)": ("88.0", "83.0", "83.0"),
        "ECE (points)": ("3.0", "4.7", "4.7"),
        "drop (points)": ("–", "1.1", "10.9"),
        "agreement (%)": ("–", "93.0", "93.0"),
        "KL (nats)": ("–", "0.1234", "0.1234"),
        "parameters (M)": ("20.00", "4.00", "0.80"),
        "size (MB)": ("80.0", "16.0", "16.0"),
        "latency (ms)": ("11.00", "2.50", "0.30"),  # the teacher's median of 10 and 12
        "throughput (examples/s)": ("200", "1,234", "1,234"),
        "FLOPs (M/example)": ("400.0", "50.0", "50.0"),
        "memory (MB)": ("95.0", "30.0", "30.0"),
        "times smaller": ("–", "5.0", "25.0"),
        "times faster": ("–", "4.0", "40.0"),  # each of its own file's teacher
    }
    assert list(table) == ["teacher", "kd-3", "cnn"]
    for heading, cells in expected.items():
        assert tuple(row[heading] for row in table.values()) == cells, heading
    assert len(table["teacher"]) == 1 + len(expected)
    assert table["kd-3"]["model"] == (r"**kd-3** transformer, 3 layers; hard\_label + soft\_target")
    assert table["cnn"]["model"] == r"**cnn** text\_cnn; soft\_target"


def test_page_and_markdown_hold_the_same_table(two_students: list[Path], tmp_path: Path) -> None:
    """Catches a column that is in one of them only."""
    write_report(two_students, tmp_path)
    headings, *models = Page(tmp_path).rows
    table = table_of(tmp_path)
    assert [row[1:] for row in models] == [list(row.values())[1:] for row in table.values()]
    assert len(headings) == len(models[0])
    in_markdown = [re.sub(r" \((.*)\)", r"\1", heading) for heading in list(table["teacher"])]
    assert headings == in_markdown


def test_headline_names_the_best_student(two_students: list[Path], tmp_path: Path) -> None:
    """Catches praising the fastest student, or the first one."""
    write_report(two_students[::-1], tmp_path)
    assert headline_of(tmp_path) == (
        "The teacher's accuracy on test is 90.0%. The best of 2 students, kd-3, reaches 88.9%: "
        "1.1 points less, 5.0 times smaller and 4.0 times faster."
    )


def test_headline_of_a_student_that_is_better_and_slower(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches a drop below 0, and '0.5 times faster'."""
    metrics = make_metrics("kd-3", accuracy=0.904)
    metrics["cost"]["student"] |= {"latency_ms": 20.0, "n_parameters": 20_000_000}
    write_report([write_metrics(metrics)], tmp_path)
    assert headline_of(tmp_path) == (
        "The teacher's accuracy on test is 90.0%. The student, kd-3, reaches 90.4%: "
        "0.4 points more, as large and 2.0 times slower."
    )
    assert table_of(tmp_path)["kd-3"]["drop (points)"] == "-0.4"


def test_a_drop_that_rounds_to_nothing_has_no_sign(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches '-0.0'."""
    write_report([write_metrics(make_metrics("kd-3", accuracy=0.9002))], tmp_path)
    assert table_of(tmp_path)["kd-3"]["drop (points)"] == "0.0"
    assert "reaches 90.0%: no drop, 5.0 times smaller" in headline_of(tmp_path)


def test_equal_students_are_told_apart_by_size(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches recommending the larger of two equally good students."""
    small = make_metrics("small")
    small["cost"]["student"]["n_parameters"] = 1000
    write_report([write_metrics(make_metrics("large")), write_metrics(small)], tmp_path)
    assert "The best of 2 students, small," in headline_of(tmp_path)


def test_the_report_depends_on_the_metrics_alone(two_students: list[Path], tmp_path: Path) -> None:
    """Catches dates, random identifiers, the order of the files, and the user's own settings."""
    write_report(two_students, tmp_path / "one")
    with matplotlib.rc_context({"font.size": 20.0, "axes.labelsize": 30.0}):
        write_report(two_students[::-1], tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(NAMES)
    for name in NAMES:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert not re.search(rb"\b20[2-9]\d-\d\d-\d\d", content)


def test_drawing_leaves_the_callers_settings_alone(
    two_students: list[Path], tmp_path: Path
) -> None:
    """Catches a report that restyles every later figure of the process."""
    with matplotlib.rc_context({"font.size": 20.0}):
        write_report(two_students, tmp_path)
        assert matplotlib.rcParams["font.size"] == 20.0


def test_without_labels_students_are_compared_by_agreement(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches columns without a number, and a report that needs labels."""
    near, far = (without_labels(make_metrics(name), "validation", "test") for name in "nf")
    far["splits"]["test"]["fidelity"]["agreement"] = 0.5
    write_report([write_metrics(far), write_metrics(near)], tmp_path)
    assert headline_of(tmp_path) == (
        "No row has a label, so only closeness to the teacher is known: the closest of 2 students, "
        "n, agrees with it on 93.0% of the test rows, 5.0 times smaller and 4.0 times faster."
    )
    table = table_of(tmp_path)
    assert [row["agreement (%)"] for row in table.values()] == ["–", "50.0", "93.0"]
    assert not [heading for heading in table["n"] if re.search("accuracy|F1|ECE|drop", heading)]
    assert "agreement with the teacher, % (test)" in (tmp_path / NAMES[0]).read_text()


def test_with_labels_on_validation_alone_that_is_what_counts(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches losing all quality because the test split is unlabelled, as in GLUE."""
    metrics = without_labels(make_metrics("kd-3"), "test")
    metrics["splits"]["validation"]["fidelity"]["agreement"] = 0.77
    write_report([write_metrics(metrics)], tmp_path)
    assert headline_of(tmp_path).startswith("The teacher's accuracy on validation is 90.0%.")
    row = table_of(tmp_path)["kd-3"]
    assert (row["accuracy, validation (%)"], row["drop (points)"]) == ("85.0", "5.0")
    assert row["agreement (%)"] == "77.0"
    assert "accuracy, test (%)" not in row


def test_one_split_is_enough(make_metrics: Make, write_metrics: Write, tmp_path: Path) -> None:
    """Catches a report that takes both splits for granted."""
    metrics = make_metrics("kd-3")
    del metrics["splits"]["test"]
    write_report([write_metrics(metrics)], tmp_path)
    row = table_of(tmp_path)["kd-3"]
    assert row["drop (points)"] == "5.0"
    assert not [heading for heading in row if "test" in heading]


def test_without_the_teachers_cost_ratios_are_missing(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches a ratio to another process's teacher, and a store without weights."""
    untimed = make_metrics("kd-3")
    untimed["cost"]["teacher"] = None
    write_report([write_metrics(untimed)], tmp_path / "none")
    table = table_of(tmp_path / "none")
    assert table["teacher"]["latency (ms)"] == table["kd-3"]["times faster"] == "–"
    assert table["kd-3"]["times smaller"] == "–"
    assert headline_of(tmp_path / "none").endswith("kd-3, reaches 85.0%: 5.0 points less.")
    texts = svg_texts(tmp_path / "none")
    assert {"kd-3", "teacher"} <= set(texts)

    write_report([write_metrics(make_metrics("kd-6")), *[write_metrics(untimed)]], tmp_path / "one")
    table = table_of(tmp_path / "one")
    assert table["teacher"]["latency (ms)"] == "10.00"
    assert (table["kd-3"]["times smaller"], table["kd-3"]["times faster"]) == ("5.0", "–")
    markdown = (tmp_path / "one" / "report.md").read_text(encoding="utf-8")
    assert "weights were not at hand to time beside kd-3." in markdown


def test_times_of_different_places_come_with_a_warning(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches latencies of a CPU and a GPU side by side without a word."""
    other = make_metrics("kd-6")
    other["cost"] |= {"device": "cuda", "n_threads": 1}
    paths = [write_metrics(make_metrics("kd-3")), write_metrics(other)]
    write_report(paths[:1], tmp_path)
    assert "Timed on cpu with 2 threads." in (tmp_path / "report.md").read_text(encoding="utf-8")
    write_report(paths, tmp_path)
    assert (
        "Timed in different places, so compare by 'times faster' only: "
        "kd-3 on cpu with 2 threads; kd-6 on cuda with 1 thread."
    ) in (tmp_path / "report.md").read_text(encoding="utf-8")


NASTY = "</svg><script>alert(1)</script>--><b>|`*&amp;$x$ #1f2328\\"


def test_names_are_text_everywhere(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches a name that becomes markup, a column, a formula or a colour."""
    metrics = make_metrics(NASTY) | {"objectives": [NASTY], "labels": [NASTY, "b"]}
    write_report([write_metrics(metrics)], tmp_path)
    page = Page(tmp_path)
    assert {"script", "b"}.isdisjoint(page.tags)
    assert page.tags.count("svg") == 2
    assert page.rows[2][0] == f"{NASTY}transformer, 3 layers; {NASTY}"
    assert NASTY in svg_texts(tmp_path)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<" not in markdown
    row = next(line for line in markdown.splitlines() if "3 layers" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 1 + 16


def svg_texts(report_dir: Path) -> list[str]:
    root = ElementTree.parse(report_dir / "quality_against_latency.svg").getroot()
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_page_needs_no_network(two_students: list[Path], tmp_path: Path) -> None:
    """Catches a page that breaks when it is mailed, or tells a server that it was read."""
    write_report(two_students, tmp_path)
    page = Page(tmp_path)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(page.tags)
    targets = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert len(targets) > 10  # the figures' markers, and the page's own links
    assert all(target and target.startswith("#") for target in targets)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html


def test_the_figure_follows_the_pages_colours(two_students: list[Path], tmp_path: Path) -> None:
    """Catches black text on a dark page, and a figure wider than a phone."""
    write_report(two_students, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    svg = html[html.index("<svg") : html.index("</svg>")]
    used = re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)
    assert set(used) == {"none", "var(--ink)", "var(--surface)", "#2f74d0", "#c4590c"}
    assert 'width="' not in svg[: svg.index(">")]
    assert "viewBox" in svg[: svg.index(">")]


def test_every_model_has_its_name_in_the_figure(two_students: list[Path], tmp_path: Path) -> None:
    """Catches a point that nobody can identify."""
    write_report(two_students, tmp_path)
    assert sorted(set(svg_texts(tmp_path)) & {"kd-3", "cnn", "teacher"}) == [
        "cnn",
        "kd-3",
        "teacher",
    ]
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "](quality_against_latency.svg)" in markdown


@pytest.mark.parametrize("axis", [LATENCY, SIZE], ids=lambda axis: axis.name)
def test_names_of_near_points_do_not_overlap(
    make_metrics: Make, write_metrics: Write, axis: CostAxis
) -> None:
    """Catches names written over each other, the usual end of such a figure."""
    paths = []
    for index in range(7):
        metrics = make_metrics(f"student-{index}", accuracy=0.85 + 0.002 * index)
        metrics["cost"]["student"]["latency_ms"] = 2.5 + 0.02 * index
        metrics["cost"]["student"]["n_parameters"] = 4_000_000 + 30_000 * index
        paths.append(write_metrics(metrics))
    figure = build_pareto(compare(read_all_metrics(paths)), axis)
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts if isinstance(text, Text)]
    assert len(boxes) == 8
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
        assert axes.bbox.y0 <= box.y0 < box.y1 <= axes.bbox.y1


def test_nothing_is_written_when_a_file_is_unusable(
    two_students: list[Path], tmp_path: Path
) -> None:
    """Catches a new figure beside an old table."""
    with pytest.raises(PipelineError, match="no such file"):
        write_report([*two_students, tmp_path / "kd-9.json"], tmp_path / "reports")
    assert not (tmp_path / "reports").exists()
