"""Metrics files that cannot be used, alone or together, are refused in one clear line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import PipelineError
from pipeline.report.metrics_files import read_all_metrics, read_metrics

Metrics = dict[str, Any]
Make = Callable[..., Metrics]
Write = Callable[[Metrics], Path]


def one_line(error: pytest.ExceptionInfo[PipelineError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_files_are_read_in_the_order_of_their_paths(
    make_metrics: Make, write_metrics: Write
) -> None:
    """Catches a report that depends on the order in which a folder is listed."""
    paths = [write_metrics(make_metrics(name)) for name in ("b", "a", "c")]
    for order in (paths, paths[::-1]):
        assert [one.student for one in read_all_metrics(order)] == ["b", "a", "c"]


def test_no_file_at_all_is_refused() -> None:
    """Catches an empty report."""
    with pytest.raises(PipelineError, match=r"no student .*params\.yaml .* 'dvc repro'"):
        read_all_metrics([])


def test_a_missing_file_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    """Catches a traceback, or a report that silently leaves a student out."""
    with pytest.raises(PipelineError, match=r"kd-3\.json: no such file.*evaluate@kd-3'") as error:
        read_all_metrics([tmp_path / "kd-3.json"])
    one_line(error)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "Invalid JSON: EOF"),
        ('{"student": "kd', "Invalid JSON: EOF"),
        ('{"validation": {"accuracy": 0.9}, "n_rows": 3}', "student: Field required"),
        ("[1]", "Input should be an object"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str, text: str) -> None:
    """Catches reading half a file, or the teacher's metrics of fine-tuning."""
    path = tmp_path / "kd-3.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PipelineError, match=text) as error:
        read_metrics(path)
    assert "dvc repro --force --single-item evaluate@kd-3" in one_line(error)


def _set(metrics: Metrics, place: str, value: Any) -> Metrics:
    *parents, last = place.split(".")
    owner = metrics
    for parent in parents:
        owner = owner[parent]
    owner[last] = value
    return metrics


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        ("splits.test.student.accuracy", 85.0, r"splits\.test\.student\.accuracy: .* equal to 1"),
        ("splits.test.student", {"accuracy": 0.8}, r"test\.student\.macro_f1: .*first of 2"),
        ("splits.test.student", {}, "800 predictions are labelled; student and teacher must have"),
        ("splits.test.n_labelled", 0, "0 predictions are labelled; student and teacher must have"),
        ("splits.test.fidelity.kl", float("nan"), "finite number"),
        ("splits.test.fidelity.kl", -0.5, "greater than or equal to 0"),
        ("splits", {}, "splits: .*at least 1"),
        ("cost.student.latency_ms", 0, r"cost: latency_ms is 0\.0; a cost is above zero"),
        ("cost.teacher.n_parameters", "many", r"cost\.teacher\.n_parameters: .*integer"),
        ("n_layers", 2.5, "n_layers: "),
        ("metrics", [], "metrics: there is no metric named"),
        ("metrics", ["accuracy", "charm"], "metrics: there is no metric .*charm"),
        ("task", "poetry", "task: "),
        ("task", "regression", r"test\.fidelity\.correlation: missing \(the first of 4 faults"),
    ],
)
def test_impossible_metrics_are_refused(
    make_metrics: Make, write_metrics: Write, place: str, value: Any, text: str
) -> None:
    """Catches percents for fractions, scores without labels, and division by a cost of 0."""
    path = write_metrics(_set(make_metrics("kd-3"), place, value))
    with pytest.raises(PipelineError, match=text) as error:
        read_metrics(path)
    one_line(error)


def test_keys_of_later_versions_are_ignored(make_metrics: Make, write_metrics: Write) -> None:
    """Catches a report that breaks when evaluate adds a number."""
    metrics = _set(make_metrics("kd-3"), "cost.student.energy_joules", 3)
    assert read_metrics(write_metrics(metrics | {"seed": 1})).student == "kd-3"


def test_two_files_about_one_student_are_refused(make_metrics: Make, write_metrics: Write) -> None:
    """Catches a copied file, which would show a student twice."""
    paths = [write_metrics(make_metrics("kd-3")) for _ in range(2)]
    with pytest.raises(PipelineError, match=r"00\.json and .*01\.json are both about .*'kd-3'"):
        read_all_metrics(paths)


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        ("labels", ["a", "c"], "labels a, b and a, c"),
        ("metrics", ["macro_f1"], "metrics accuracy, macro_f1, .* and macro_f1"),
        ("task", "token_classification", "tasks classification and token_classification"),
        ("splits.test.n_rows", 999, r"test\.n_rows is 1,000 and 999"),
        ("splits.test.n_labelled", 700, r"test\.n_labelled is 800 and 700"),
        (
            "splits.validation.teacher.macro_f1",
            0.8795,
            r"on validation, their teachers differ: macro_f1 0\.8800 and 0\.8795",
        ),
    ],
)
def test_students_of_different_teachers_or_rows_are_refused(
    make_metrics: Make, write_metrics: Write, place: str, value: Any, text: str
) -> None:
    """Catches drops against one teacher under the scores of another."""
    first = write_metrics(make_metrics("kd-3"))
    second = write_metrics(_set(make_metrics("kd-6"), place, value))
    with pytest.raises(PipelineError, match=text) as error:
        read_all_metrics([first, second])
    assert f"{first} and {second} cannot stand in one report" in one_line(error)
    assert "Run 'dvc repro'" in str(error.value)


def test_students_of_different_splits_are_refused(make_metrics: Make, write_metrics: Write) -> None:
    """Catches a column that holds test accuracy of one student and validation of another."""
    other = make_metrics("kd-6")
    del other["splits"]["test"]
    with pytest.raises(PipelineError, match="splits validation, test and validation"):
        read_all_metrics([write_metrics(make_metrics("kd-3")), write_metrics(other)])


def test_rounding_between_machines_is_no_difference(
    make_metrics: Make, write_metrics: Write
) -> None:
    """Catches comparing the teachers' scores bit by bit."""
    other = _set(make_metrics("kd-6"), "splits.test.teacher.macro_f1", 0.88 + 1e-9)
    paths = [write_metrics(make_metrics("kd-3")), write_metrics(other)]
    assert len(read_all_metrics(paths)) == 2
