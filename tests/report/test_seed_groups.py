"""Students of several seeds, shown as one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from pipeline.report.comparison import compare, group_by_seed
from pipeline.report.metrics_files import read_all_metrics
from pipeline.report.report import Sources, write_report
from pipeline.report.tables import build_columns, build_seed_table

Metrics = dict[str, Any]
Make = Callable[..., Metrics]
Write = Callable[[Metrics], Path]

KD = {"model": {"n_layers": 3}, "objectives": {"soft_target": {"temperature": 4.0}}}
HOT = {"model": {"n_layers": 3}, "objectives": {"soft_target": {"temperature": 8.0}}}
SETTINGS: dict[str, Any] = {
    "kd-3": KD,
    "kd-3-seed1": {**KD, "training": {"seed": 1}},
    "kd-3-seed2": {**KD, "training": {"seed": 2}},
    "hot-3": HOT,
    "long-3": {**KD, "training": {"seed": 1, "epochs": 9}},
}


@pytest.fixture
def paths(make_metrics: Make, write_metrics: Write) -> list[Path]:
    accuracies = {"kd-3": 0.80, "kd-3-seed1": 0.84, "kd-3-seed2": 0.85}
    return [write_metrics(make_metrics(name, accuracies.get(name, 0.5))) for name in SETTINGS]


def test_only_the_seed_may_differ(paths: list[Path]) -> None:
    """Catches a mean over other temperatures or lengths of training."""
    comparison = compare(read_all_metrics(paths), SETTINGS)
    group, *others = group_by_seed(comparison)
    assert [len(one.members) for one in others] == [1, 1]
    assert group.name == "kd-3"
    assert [one.student for one in group.members] == ["kd-3", "kd-3-seed1", "kd-3-seed2"]
    assert SETTINGS["kd-3-seed1"]["training"] == {"seed": 1}  # not changed by looking at it


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (("kd-3-seed0", "kd-3-seed1"), "kd-3"),
        (("kd-s1", "kd-s10"), "kd"),
        (("kd-3", "kd-3_b"), "kd-3"),
        (("hot", "cold"), "hot, cold"),
    ],
)
def test_a_group_has_the_name_its_members_share(
    make_metrics: Make, write_metrics: Write, names: tuple[str, str], shared: str
) -> None:
    """Catches a name cut in the middle of a word or of a number."""
    students = read_all_metrics([write_metrics(make_metrics(name)) for name in names])
    (group,) = group_by_seed(compare(students, dict.fromkeys(names, KD)))
    assert group.name == shared


def test_mean_and_deviation_are_those_of_the_members(paths: list[Path]) -> None:
    """Catches a deviation over all students, or of a population instead of a sample."""
    comparison = compare(read_all_metrics(paths), SETTINGS)
    groups = group_by_seed(comparison)
    table = build_seed_table(comparison, build_columns(comparison), groups)
    assert table is not None
    (row,) = table.rows
    headings = [heading.text for heading in table.headings]
    cells = {name: cell.text for name, cell in zip(headings, row.cells, strict=True)}
    deviation = stdev([80, 84, 85])
    assert cells["students"] == "3"
    assert cells["accuracy, test"] == f"83.0 ± {deviation:.1f}"
    assert cells["drop"] == f"7.0 ± {deviation:.1f}"
    assert cells["latency"] == "2.50 ± 0.00"


def test_the_report_shows_groups_beside_their_members(paths: list[Path], tmp_path: Path) -> None:
    """Catches seeds that vanish into their mean, and a heading without a group."""
    nothing = tmp_path / "nothing"
    sources = Sources(nothing, nothing, nothing, SETTINGS)
    write_report(paths, tmp_path / "out", sources)
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| **kd-3** kd-3, kd-3-seed1, kd-3-seed2 | 3 | 83.0 ± 2.6 |" in markdown
    assert "| **kd-3-seed1** " in markdown
    assert "kd-3, kd-3-seed1, kd-3-seed2" in (tmp_path / "out" / "report.html").read_text("utf-8")
    write_report(paths, tmp_path / "none", replace(sources, settings={}))
    assert "Seeds" not in (tmp_path / "none" / "report.html").read_text(encoding="utf-8")
