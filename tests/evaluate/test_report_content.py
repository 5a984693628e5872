"""What the report shows beside the metrics: every figure or why not, examples, sources."""

import re
from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import PipelineError
from pipeline.evaluate.shown_parts import Provenance
from pipeline.report.evidence import Predictions, read_evidence
from pipeline.report.provenance_text import describe_provenance
from pipeline.report.report import write_report
from pipeline.report.report_content import Sources
from tests.evaluate.shown_files import (
    PROVENANCE,
    make_sources,
    write_full_report,
    write_json,
    write_predictions,
)

Metrics = dict[str, Any]
Make = Callable[..., Metrics]
Write = Callable[[Metrics], Path]

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


def section_of(folder: Path, anchor: str) -> str:
    """Return a section of the page as it is written."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    begin = page.index(f'<section id="{anchor}">')
    return page[begin : page.index("</section>", begin)]


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


def test_identifiers_are_each_one_figures_own(written: Path) -> None:
    """Catches a figure that is drawn with the markers, or cut by the frame, of another."""
    page = (written / "report.html").read_text(encoding="utf-8")
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) > 20
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
        assert re.search(r"capture\W.*1,234\.5", text)
        assert re.search(r"distill@kd-3\W.*61\.2", text)
        assert re.search(r"finetune\W.*–", text)


def test_students_of_other_stores_are_told_apart() -> None:
    """Catches the first student's sources under everyone's numbers."""
    one = Provenance.model_validate(PROVENANCE)
    other = one.model_copy(update={"store": {**one.store, "identity": "9" * 64}})
    facts = dict(describe_provenance({"kd-3": one, "kd-6": one, "cnn": other}))
    store = f"kd-3, kd-6: identity {'c' * 16}.*; cnn: identity {'9' * 16}"
    assert re.fullmatch(store + ".*", facts["Store"])
    assert facts["Data"].startswith(f"token table {'d' * 16}; rows: train 2,800,")


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
