"""The report that the stages leave: complete, and with the time that each of them took."""

import json
from pathlib import Path
from time import perf_counter

import pytest

from pipeline.evaluate.usefulness import usefulness_warnings
from stages.paths import SECONDS
from stages.seconds import record_seconds
from tests.project_template import STAGE_ONE
from tests.small_project import PARAMS
from tests.stages.conftest import invoke


def section_of(page: str, anchor: str) -> str:
    begin = page.index(f'<section id="{anchor}">')
    return page[begin : page.index("</section>", begin)]


def test_the_default_run_leaves_every_figure(finished_project: Path) -> None:
    """Catches a stage that does not write, or a report that does not find, what is to be shown."""
    page = (finished_project / "reports" / "report.html").read_text(encoding="utf-8")
    figures = {"cost": 2, "learning": 2, "confidence": 2, "confusions": 3, "layers": 2}
    for anchor, count in figures.items():
        assert section_of(page, anchor).count("<svg") == count, anchor
    # Two students, two texts each, two layers.
    assert section_of(page, "attention").count("<svg") == 8
    assert "Not shown" not in page
    for student in ("hard-2", "kd-2"):
        assert f"<h3>{student}</h3>" in section_of(page, "disagreements")


def test_every_stage_has_its_time(finished_project: Path) -> None:
    """Catches a stage without a time, and times in an output, which would never be the same."""
    page = (finished_project / "reports" / "report.html").read_text(encoding="utf-8")
    assert "–" not in section_of(page, "provenance")
    expected = {*STAGE_ONE}
    expected |= {
        f"{stage}@{name}" for stage in ("distill", "evaluate") for name in ("hard-2", "kd-2")
    }
    notes = {
        path.stem: json.loads(path.read_text()) for path in (finished_project / SECONDS).iterdir()
    }
    assert set(notes) == expected
    assert all(note["seconds"] > 0 for note in notes.values())


def test_what_is_useless_is_said_by_the_log_and_first_in_the_report(project: Path) -> None:
    """Catches a verdict that is measured, and that nobody is told."""
    n_warnings = 0
    for name in ("hard-2", "kd-2"):
        result = invoke("evaluate", name)
        assert result.exit_code == 0, result.output
        path = project / "reports" / "metrics" / f"{name}.json"
        metrics = json.loads(path.read_text(encoding="utf-8"))
        warnings = [*usefulness_warnings(metrics, PARAMS["students"][name])]
        assert result.stderr.splitlines() == [
            f"evaluate: {name}: warning: {warning}." for warning in warnings
        ]
        n_warnings += len(warnings)
        for split in metrics["splits"].values():
            baseline = split["constant_baseline"]["teacher"]
            baseline |= {"given_share": 1.0, "right_share": 0.5, "most_given": "the label 'x'"}
        path.write_text(json.dumps(metrics), encoding="utf-8")
    assert n_warnings > 0, "these tiny models learn next to nothing"
    assert invoke("report").exit_code == 0
    markdown = (project / "reports" / "report.md").read_text(encoding="utf-8")
    assert markdown.split("\n\n")[1].startswith("The teacher is useless: it gives the label 'x' to")


def test_a_run_that_makes_nothing_new_keeps_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches the seconds of a run that found everything done, in place of the hours before."""
    monkeypatch.chdir(tmp_path)
    path = SECONDS / "distill@kd-3.json"
    record_seconds("distill@kd-3", perf_counter() - 3600, "one")
    first = json.loads(path.read_text(encoding="utf-8"))
    assert 3600 <= first["seconds"] < 3660
    record_seconds("distill@kd-3", perf_counter(), "one")
    assert json.loads(path.read_text(encoding="utf-8")) == first
    record_seconds("distill@kd-3", perf_counter() - 60, "another")
    assert json.loads(path.read_text(encoding="utf-8"))["seconds"] < 120
    path.write_text("{", encoding="utf-8")
    record_seconds("distill@kd-3", perf_counter(), "another")
    assert json.loads(path.read_text(encoding="utf-8"))["made"] == "another"
