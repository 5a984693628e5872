"""The first sentence of the report: who is useless, and what distillation gains."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import PipelineError
from pipeline.evaluate.usefulness import usefulness_warnings
from pipeline.metrics.constant_baseline import ConstantBaseline
from pipeline.report.report import Sources, write_report
from tests.report.made_report import headline_of, table_of

Metrics = dict[str, Any]
Make = Callable[..., Metrics]
Write = Callable[[Metrics], Path]

CNN = {"architecture": "text_cnn", "n_filters": 64}
HARD: dict[str, Any] = {"hard_label": {"weight": 1.0}}
SOFT: dict[str, Any] = {"soft_target": {"temperature": 2.0}}

USEFUL = ConstantBaseline(
    metric="accuracy",
    score=0.9,
    constant="the label 'a'",
    constant_score=0.6,
    n_predictions=800,
    unit="rows",
    most_given="the label 'a'",
    given_share=0.55,
    right_share=0.6,
)
CONSTANT = replace(USEFUL, score=0.6, given_share=0.995)
NO_BETTER = replace(USEFUL, score=0.6)


def baselines(teacher: ConstantBaseline, student: ConstantBaseline) -> dict[str, Any]:
    return {"teacher": asdict(teacher), "student": asdict(student)}


class Students:
    """Students whose report is to be written."""

    def __init__(self, make: Make, write: Write, folder: Path) -> None:
        self.settings: dict[str, Any] = {}
        self._make, self._write, self._folder = make, write, folder
        self._paths: list[Path] = []

    def add(
        self,
        name: str,
        accuracy: float,
        objectives: dict[str, Any],
        *,
        model: dict[str, Any] | None = None,
        teacher: ConstantBaseline = USEFUL,
        student: ConstantBaseline = USEFUL,
        latency_ms: float = 2.5,
        n_parameters: int = 4_000_000,
        **settings: Any,
    ) -> Metrics:
        metrics = self._make(name, accuracy=accuracy) | {"objectives": [*objectives]}
        costs = {"latency_ms": latency_ms, "n_parameters": n_parameters}
        metrics["cost"]["student"] |= costs
        for split in metrics["splits"].values():
            split["constant_baseline"] = baselines(teacher, student)
        self._paths.append(self._write(metrics))
        own = {"model": model or CNN, "objectives": objectives, **settings}
        self.settings[name] = own
        return metrics

    def report(self) -> Path:
        nothing = self._folder / "nothing"
        sources = Sources(nothing, nothing, nothing, self.settings)
        write_report(self._paths, self._folder / "out", sources)
        return self._folder / "out"

    def headline(self) -> str:
        """Return the headline, which page and Markdown must share."""
        report = self.report()
        headline = headline_of(report).replace("\\", "")
        page = (report / "report.html").read_text(encoding="utf-8")
        assert headline in page.replace("&#39;", "'")
        return headline

    def first(self) -> str:
        return self.headline().split(". ")[0]


@pytest.fixture
def students(make_metrics: Make, write_metrics: Write, tmp_path: Path) -> Students:
    return Students(make_metrics, write_metrics, tmp_path)


@pytest.mark.parametrize(
    ("accuracy", "costs", "expected", "drop"),
    [
        (0.889, {}, "88.9%: 1.1 points less, 5.0 times smaller and 4.0 times faster.", "1.1"),
        (
            0.904,
            {"latency_ms": 20.0, "n_parameters": 20_000_000},
            "90.4%: 0.4 points more, as large and 2.0 times slower.",
            "-0.4",
        ),
        (0.9002, {}, "90.0%: no drop, 5.0 times smaller and 4.0 times faster.", "0.0"),
    ],
    ids=["the best of two", "better and slower", "no sign of nothing"],
)
def test_the_best_student_is_named(
    students: Students, accuracy: float, costs: dict[str, Any], expected: str, drop: str
) -> None:
    """Catches praise of the fastest or the first student, '0.5 times faster' and '-0.0'."""
    students.add("fast", 0.5, {"logit_match": {}}, latency_ms=0.1)
    students.add("best", accuracy, SOFT, **costs)
    assert students.headline() == (
        f"The teacher's accuracy on test is 90.0%. The best of 2 students, best, reaches {expected}"
    )
    assert table_of(students.report())["best"]["drop (points)"] == drop


def test_equal_students_are_told_apart_by_size(students: Students) -> None:
    """Catches recommending the larger of two equally good students."""
    students.add("large", 0.8, {"logit_match": {}})
    students.add("small", 0.8, SOFT, n_parameters=1000)
    assert "The best of 2 students, small, reaches 80.0% (as does large)" in students.headline()


def test_what_distillation_gains_comes_first(students: Students) -> None:
    """Catches a report that buries why one distils, and a difference to another model."""
    students.add("cnn-hard", 0.581, HARD, training={"epochs": 30})
    students.add("cnn-kd", 0.652, SOFT, model={**CNN, "dropout": None})
    students.add("hard-3", 0.68, HARD, model={"n_layers": 3})
    students.add(
        "kd-3", 0.7, {**HARD, **SOFT}, model={"architecture": "transformer", "n_layers": 3}
    )
    assert students.headline() == (
        "Distillation raises accuracy on test by 7.1 points: cnn-kd reaches 65.2% beside the "
        "teacher's 90.0%, 5.0 times smaller and 4.0 times faster, where the same model trained on "
        "the labels alone, cnn-hard, reaches 58.1%; kd-3 gains 2.0 points over hard-3. "
        "The teacher's accuracy on test is 90.0%. The best of 4 students, kd-3, reaches 70.0%: "
        "20.0 points less, 5.0 times smaller and 4.0 times faster."
    )


@pytest.mark.parametrize(
    ("hard", "kd"),
    [
        ({"model": CNN}, {"model": {**CNN, "n_filters": 128}}),
        ({"model": {"n_layers": 3}}, {"model": {"n_layers": 3, "warm_start": "every"}}),
        ({"model": CNN, "targets": "teacher"}, {"model": CNN}),
    ],
    ids=["other size", "other start", "texts of the teacher"],
)
def test_without_a_twin_nothing_is_claimed(
    students: Students, hard: dict[str, Any], kd: dict[str, Any]
) -> None:
    """Catches a gain that is that of a larger model, a better start, or of distillation twice."""
    students.add("hard", 0.5, HARD, **hard)
    students.add("kd", 0.6, SOFT, **kd)
    headline = students.headline()
    assert headline.startswith(
        "The teacher's accuracy on test is 90.0%. The best of 2 students, kd"
    )
    assert "istillation" not in headline


def test_a_loss_is_not_called_a_gain(students: Students) -> None:
    """Catches a success story of the best student, where labels alone do better."""
    students.add("hard", 0.652, HARD)
    students.add("kd", 0.652, SOFT)
    students.add("kd-worse", 0.3, {"logit_match": {}})
    first = students.first()
    assert first.startswith("Distillation does not raise accuracy on test: kd reaches 65.2% beside")
    assert "where the same model trained on the labels alone, hard, reaches 65.2%" in first


def test_the_best_twin_is_the_one_to_beat(students: Students) -> None:
    """Catches a gain over the worse of two students that learnt from the labels alone."""
    students.add("hard", 0.5, HARD)
    students.add("hard-long", 0.64, HARD, training={"epochs": 9})
    students.add("kd", 0.65, SOFT)
    assert "by 1.0 points: kd reaches 65.0%" in students.first()
    assert "hard-long, reaches 64.0%" in students.first()


def test_ties_are_named(students: Students) -> None:
    """Catches one of two equal students as the only best one."""
    students.add("hard", 0.5, HARD)
    students.add("kd", 0.65, SOFT)
    students.add("kd-too", 0.6503, {**SOFT, "logit_match": {}})
    assert "by 15.0 points: kd-too and kd reach 65.0%" in students.first()
    assert "kd-too and kd are the best of 3 students." in students.headline()


def test_a_tie_without_a_gain_is_named(students: Students) -> None:
    """Catches the same where nothing was trained in two ways."""
    students.add("kd", 0.65, SOFT)
    students.add("kd-too", 0.65, {**SOFT, "logit_match": {}})
    assert "The best of 2 students, kd, reaches 65.0% (as does kd-too): " in students.headline()


def test_seeds_count_as_one(students: Students) -> None:
    """Catches the luckiest seed as what distillation gains."""
    for seed, (hard, kd) in enumerate([(0.50, 0.70), (0.58, 0.62), (0.60, 0.60)]):
        students.add(f"hard-seed{seed}", hard, HARD, training={"seed": seed})
        students.add(f"kd-seed{seed}", kd, SOFT, training={"seed": seed})
    headline = students.headline()
    assert headline.startswith(
        "Distillation raises accuracy on test by 8.0 points: kd reaches 64.0% (± 5.3 over 3 seeds)"
    )
    assert "hard, reaches 56.0% (± 5.3 over 3 seeds). kd is the best of 2 students." in headline


def test_a_gain_within_the_seeds_says_so(students: Students) -> None:
    """Catches chance as a gain."""
    for seed, (hard, kd) in enumerate([(0.50, 0.70), (0.66, 0.60)]):
        students.add(f"hard-seed{seed}", hard, HARD, training={"seed": seed})
        students.add(f"kd-seed{seed}", kd, SOFT, training={"seed": seed})
    assert "a difference within the deviation of the seeds" in students.first()


def test_a_constant_teacher_is_no_success(students: Students) -> None:
    """Catches 'no drop, 1.3 times smaller' of a teacher that gives every row one label."""
    students.add("hard", 0.9, HARD, teacher=CONSTANT)
    students.add("kd", 0.95, SOFT, teacher=CONSTANT)
    headline = students.headline()
    assert headline.startswith(
        "The teacher is useless: it gives the label 'a' to 796 of 800 rows of test, which is right "
        "for 60.0% of them. The best of 2 students, kd, reaches 95.0%, the teacher 90.0%."
    )
    for praise in ("smaller", "faster", "more,", "no drop", "istillation"):
        assert praise not in headline


def test_a_teacher_no_better_than_one_label(students: Students) -> None:
    """Catches a teacher that tells labels apart, and wrongly."""
    students.add("kd", 0.9, SOFT, teacher=NO_BETTER)
    assert students.first() == (
        "The teacher is useless: it is no better on test than always giving the label 'a': its "
        "accuracy, 60.0%, is not above 60.0%"
    )


def test_a_teacher_that_its_own_student_beats(students: Students) -> None:
    """Catches praise of a student that needed no teacher; a distilled one is its success."""
    students.add("hard", 0.91, HARD, model={"n_layers": 3})
    students.add("cnn-kd", 0.92, SOFT)
    assert students.first() == (
        "The teacher is beaten by hard, which learnt from the labels alone: its accuracy on test "
        "is 90.0%, that of hard 91.0%"
    )


@pytest.mark.parametrize(
    ("hard", "objectives"), [(0.9, HARD), (0.91, SOFT), (0.91, {**HARD, **SOFT})]
)
def test_an_equal_or_a_distilled_student_beats_nobody(
    students: Students, hard: float, objectives: dict[str, Any]
) -> None:
    """Catches a warning of a good teacher."""
    students.add("one", hard, objectives)
    assert students.first() == "The teacher's accuracy on test is 90.0%"


def test_a_useless_student_is_named(students: Students) -> None:
    """Catches a student that says one thing of everything, and is shown as the best."""
    students.add("hard", 0.6, HARD, student=CONSTANT)
    students.add("kd", 0.55, SOFT)
    headline = students.headline()
    assert "; hard is useless: it gives the label 'a' to 796 of 800 rows of test" in headline
    assert "kd is the best of 2 students." in headline
    students.add("kd-too", 0.6, SOFT, student=NO_BETTER)
    assert "; hard and kd-too are useless. " in students.headline()
    for name in ("report.md", "report.html"):
        text = (students.report() / name).read_text(encoding="utf-8").replace("&#39;", "'")
        assert "kd-too is useless: it is no better on test than always giving the label 'a'" in text


def test_useless_students_alone_are_no_success(students: Students) -> None:
    """Catches '3.0 points less, 5 times smaller' of students that learnt nothing."""
    students.add("kd", 0.6, SOFT, student=CONSTANT)
    headline = students.headline()
    assert headline.startswith("kd is useless: it gives the label 'a' to 796 of 800 rows of test")
    assert headline.endswith("The student, kd, reaches 60.0%.")


def test_an_impossible_baseline_is_refused(
    make_metrics: Make, write_metrics: Write, tmp_path: Path
) -> None:
    """Catches a traceback of a file that names a metric of another version."""
    metrics = make_metrics("kd")
    unknown = replace(USEFUL, metric="luck")
    metrics["splits"]["test"]["constant_baseline"] = baselines(unknown, USEFUL)
    with pytest.raises(PipelineError, match="there is no metric luck"):
        write_report([write_metrics(metrics)], tmp_path / "out")


def test_evaluate_warns_of_each_split(students: Students) -> None:
    """Catches a log that says nothing of what the report says first."""
    settings: dict[str, Any] = {"objectives": HARD}
    good = students.add("hard", 0.85, HARD) | {"metrics": ["accuracy"]}
    assert list(usefulness_warnings(good, settings)) == []
    bad = students.add("bad", 0.95, HARD, teacher=CONSTANT, student=NO_BETTER)
    warnings = [*usefulness_warnings(bad | {"metrics": ["accuracy"]}, settings)]
    assert len(warnings) == 2 * 3
    assert warnings[0].startswith("the teacher gives the label 'a' to 796 of 800 rows of test")
    assert warnings[1].startswith("bad is no better on test than always giving the label 'a'")
    assert warnings[2] == (
        "the teacher is beaten on test by bad, which learnt from the labels alone: accuracy 90.0% "
        "against 95.0%"
    )
    by_texts = [*usefulness_warnings(bad | {"metrics": ["accuracy"]}, {"targets": "teacher"})]
    assert len(by_texts) == 2 * 2
