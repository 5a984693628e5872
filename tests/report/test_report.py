"""The report, read back: the numbers, the sentences, the figures, and what must not be in."""

import re
from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pipeline.core.errors import PipelineError
from pipeline.evaluate.shown_parts import Provenance
from pipeline.report.evidence import Predictions, read_evidence
from pipeline.report.provenance import describe_provenance
from pipeline.report.report import Sources, write_report
from tests.report.made_report import (
    PROVENANCE,
    Metrics,
    Page,
    headline_of,
    make_sources,
    section_of,
    table_of,
    write_full_report,
    write_json,
    write_predictions,
)

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


def test_the_report_depends_on_the_metrics_alone(two_students: list[Path], tmp_path: Path) -> None:
    """Catches dates, random identifiers and the order of the files."""
    write_report(two_students, tmp_path / "one")
    write_report(two_students[::-1], tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(NAMES)
    for name in NAMES:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert not re.search(rb"\b20[2-9]\d-\d\d-\d\d", content)


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
    assert {"kd-3", "teacher"} <= set(svg_texts(tmp_path / "none"))

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
    assert {NASTY, "teacher"} <= set(svg_texts(tmp_path))
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<" not in markdown and "](quality_against_latency.svg)" in markdown
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
    assert len(targets) == 2  # to parts of the page
    assert all(target and target.startswith("#") for target in targets)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html


def test_the_figure_follows_the_pages_colours(two_students: list[Path], tmp_path: Path) -> None:
    """Catches black text on a dark page, and a figure wider than a phone."""
    write_report(two_students, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    svg = html[html.index("<svg") : html.index("</svg>")]
    used = re.findall(r'(?:fill|stroke)="([^"]+)"', svg)
    colours = {"#2f74d0", "#c4590c"}
    assert set(used) == {"none", "currentColor", "var(--surface, #ffffff)", *colours}
    assert 'width="' not in svg[: svg.index(">")]
    assert "viewBox" in svg[: svg.index(">")]


def test_nothing_is_written_when_a_file_is_unusable(
    two_students: list[Path], tmp_path: Path
) -> None:
    """Catches a new figure beside an old table."""
    with pytest.raises(PipelineError, match="no such file"):
        write_report([*two_students, tmp_path / "kd-9.json"], tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


SECTIONS = ("learning", "confidence", "confusions", "layers", "attention")


@pytest.fixture
def paths(make_metrics: Make, write_metrics: Write) -> list[Path]:
    """The metrics of a Transformer and of a network."""
    return [write_metrics(make_metrics(name)) for name in ("kd-3", "cnn")]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return make_sources(tmp_path / "made", "kd-3", "cnn")


@pytest.fixture
def nothing(tmp_path: Path) -> Sources:
    """Sources of which nothing is here."""
    return Sources(tmp_path / "made", tmp_path / "made", tmp_path / "made", {})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all there can be of a Transformer and of a network; not to be changed."""
    folder = tmp_path_factory.mktemp("written")
    return write_full_report(folder, "kd-3", "cnn")


def test_every_section_has_a_figure_of_every_student(written: Path) -> None:
    """Catches a student that is silently left out, a figure without its explanation, and a caption
    with the first text of a pair alone."""
    expected = {"learning": 2, "confidence": 2, "confusions": 3, "layers": 2, "attention": 2}
    assert tuple(expected) == SECTIONS
    for anchor, n_figures in expected.items():
        section = section_of(written, anchor)
        assert section.count("<svg") == n_figures, anchor
        assert len(re.findall(r"<figcaption>[^<]{80,}</figcaption>", section)) == 1
    assert "<h3>kd-3</h3>" in section_of(written, "learning")
    assert "<h3>teacher</h3>" in section_of(written, "confusions")
    caption = '<p class="subtitle">one $mall &lt;text&gt; ‖ and its &lt;pair&gt;</p>'
    assert section_of(written, "attention").count(caption) == 2
    assert "Not shown of cnn: a text_cnn has no attention maps." in section_of(written, "attention")


def test_what_is_not_there_is_said_once(
    paths: list[Path], nothing: Sources, tmp_path: Path
) -> None:
    """Catches a traceback, or silence, where a store was captured without attention or [CLS]."""
    for name in ("kd-3", "cnn"):
        for part in ("similarity", "attentions"):
            write_json(
                nothing.evaluations / name / f"{part}.json", {"absent": f"the store has no {part}"}
            )
    write_report(paths, tmp_path / "out", nothing)
    for anchor, reason in (
        ("layers", "the store has no similarity"),
        ("attention", "the store has no attentions"),
        ("learning", "no curves of its training are here"),
    ):
        section = section_of(tmp_path / "out", anchor)
        assert "<svg" not in section
        assert section.count(f"Not shown of kd-3, cnn: {reason}.") == 1
    assert "kd-3/test.arrow is not here." in section_of(tmp_path / "out", "confusions")


def test_equal_files_give_equal_bytes(written: Path, tmp_path: Path) -> None:
    """Catches dates, random identifiers and the order of dictionaries in any figure."""
    again = write_full_report(tmp_path, "kd-3", "cnn")
    for path in written.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_links_lead_to_parts_of_the_page(written: Path) -> None:
    """Catches a link to nothing, and two parts of one name."""
    page = (written / "report.html").read_text(encoding="utf-8")
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) >= 9
    assert len(set(identifiers)) == len(identifiers)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(identifiers)


def test_five_students_fit_into_three_megabytes(tmp_path: Path) -> None:
    """Catches a figure that holds every point, or a map drawn cell by cell."""
    report = write_full_report(tmp_path, *(f"kd-{number}" for number in range(5)))
    assert (report / "report.html").stat().st_size < 3_000_000


def test_the_worst_disagreements_come_first(
    paths: list[Path], nothing: Sources, tmp_path: Path
) -> None:
    """Catches the smallest divergences, swapped models, and texts that become markup."""
    texts = ["alike", "worst <b>|</b>", "bad", "unlabelled"]
    logits = [[4.0, 0.0], [9.0, 0.0], [6.0, 0.0], [0.0, 5.0]]
    write_predictions(
        nothing.evaluations / "kd-3" / "test.arrow",
        texts,
        [0, 1, 0, -1],
        [[4.0, 0.0], [0.0, 9.0], [0.0, 6.0], [5.0, 0.0]],
        logits,
    )
    write_report(paths, tmp_path / "out", nothing)
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    table = markdown[markdown.index("### kd-3") :].splitlines()[4:7]
    # For logits of (x, 0) against (0, x): KL = x (2 sigmoid(x) - 1).
    assert table == [
        r"| worst &lt;b&gt;\|&lt;/b&gt; | b | a 1.000 | b 1.000 | 9.00 |",
        "| bad | a | a 0.998 | b 0.998 | 5.97 |",
        "| unlabelled | – | b 0.993 | a 0.993 | 4.93 |",
    ]
    page = section_of(tmp_path / "out", "disagreements")
    assert "cnn" not in page  # nothing is known of its answers
    assert "worst &lt;b&gt;|&lt;/b&gt;" in page
    assert (
        page.count('<td class="wrong"') == 2
    )  # the teacher on the first row, the student on the next


def test_sources_and_seconds_are_named(written: Path) -> None:
    """Catches numbers that nobody can trace to their data, teacher, store and commands."""
    for text in (
        (written / "report.md").read_text(encoding="utf-8"),
        section_of(written, "provenance"),
    ):
        for digest in "abcdef":
            assert digest * 16 in text
        for part in (
            "4,300 distinct rows",
            "2,800",
            "python 3.11.2",
            "decant distill kd-3",
        ):
            assert part in text
        cells = re.sub(r"(?:<[^>]*>|[|*`\s])+", " ", text)
        assert " capture decant capture 1,234.5 " in cells
        assert " distill@kd-3 decant distill kd-3 61.2 " in cells
        assert " finetune decant finetune – " in cells


def test_students_of_other_stores_are_told_apart() -> None:
    """Catches the first student's sources under everyone's numbers."""
    one = Provenance.model_validate(PROVENANCE)
    other = one.model_copy(update={"store": {**one.store, "identity": "9" * 64}})
    facts = dict(describe_provenance({"kd-3": one, "kd-6": one, "cnn": other}))
    store = f"kd-3, kd-6: identity {'c' * 16}.*; cnn: identity {'9' * 16}"
    assert re.fullmatch(store + ".*", facts["Store"])
    assert facts["Data"].startswith(f"token table {'d' * 16}; rows: train 2,800 (2,000 un")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluations/kd-3/similarity.json", b"{}"),
        ("evaluations/kd-3/attentions.json", b"[1]"),
        ("evaluations/kd-3/provenance.json", b"{"),
        ("evaluations/kd-3/test.arrow", b"no table"),
        ("curves/kd-3/train/loss.tsv", b"step\tloss\n3\tmany\n"),
    ],
)
def test_damaged_files_are_refused_in_one_line(
    paths: list[Path], sources: Sources, tmp_path: Path, name: str, content: bytes
) -> None:
    """Catches a traceback, and a report with half of its figures."""
    (sources.evaluations.parent / name).write_bytes(content)
    with pytest.raises(
        PipelineError, match=r"is not what its stage writes: .*dvc checkout"
    ) as error:
        write_report(paths, tmp_path / "out", sources)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_divergence_is_the_metrics_one(sources: Sources) -> None:
    """Catches a sum over the wrong axis, and infinity where a probability is 0."""
    folders = sources.evaluations / "kd-3", sources.curves / "kd-3"
    found = read_evidence(*folders, "test", "classification").predictions
    assert isinstance(found, Predictions)
    by_hand = [
        sum(p * log(p / q) for p, q in zip(theirs, ours, strict=True))
        for theirs, ours in zip(found.teacher, found.student, strict=True)
    ]
    assert found.kl == pytest.approx(by_hand)
    certain = replace(found, student=found.student.round(), teacher=found.student.round())
    assert certain.kl == pytest.approx(0)
