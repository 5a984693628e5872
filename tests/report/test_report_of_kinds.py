"""The report of students of every kind of task, from made-up files: a further kind must be here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluate.fidelity import fidelities_of
from pipeline.metrics import METRICS
from pipeline.report.report import Sources, write_report
from pipeline.report.wording import WORDINGS
from pipeline.tasks import TASKS
from tests.report.made_report import (
    headline_of,
    make_student_metrics,
    section_of,
    table_of,
    write_curve,
    write_json,
    write_predictions,
)

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Kind:
    """A made-up task, and what its report must say."""

    labels: list[str]
    first: str
    """Heading of the metric that ranks students, on test."""
    second: tuple[str, str]
    """Heading and cell of another metric of 0.5."""
    closeness: tuple[str, str]
    """Heading and cell of a closeness of 0.25."""
    counted: str
    example: str
    """The worst disagreement, in Markdown."""
    n_wrong: int = 1
    """Cells of it that are wrong."""
    texts: tuple[str, ...] = ("one Ada goes",) * 3
    known: tuple[float, ...] = (0, 1, -1)
    """Labels of the predictions."""
    places: tuple[int, ...] = (0, 0, 0)
    student: Rows = ((4, 0), (4, 0), (4, 0))
    teacher: Rows = ((4, 0), (0, 4), (4, 0))
    more: dict[str, list[Any]] | None = None
    """Further columns of the predictions."""
    has_confusions: bool = False


AGREEMENT = ("agreement (%)", "25.0")
PIECES = {
    "label_token": ["a", "b", None],
    "student_token": ["a", "a", "a"],
    "teacher_token": ["a", "b", "a"],
    "student_confidence": [0.982] * 3,
    "teacher_confidence": [0.982] * 3,
    "context": ["one »?«"] * 3,
}
KINDS = {
    "classification": Kind(
        ["red", "blue"],
        "accuracy, test (%)",
        ("macro-F1 (%)", "50.0"),
        AGREEMENT,
        "test 1,000 rows, 800 of them labelled. 2 labels: red, blue.",
        "| one Ada goes | blue | blue 0.982 | red 0.982 | 3.86 |",
        has_confusions=True,
    ),
    "multi_label": Kind(
        ["red", "blue"],
        "micro-F1, test (%)",
        ("exact match (%)", "50.0"),
        AGREEMENT,
        "1,000 rows with 5,000 answers, 800 of them labelled. 2 labels: red, blue.",
        "| blue? one Ada goes | yes | yes 0.982 | no 0.982 | 3.86 |",
        places=(0, 1, 0),
    ),
    "regression": Kind(
        ["score"],
        "Pearson correlation, test (points)",
        ("mean squared error", "0.5000"),
        ("distance from the teacher", "0.2500"),
        "test 1,000 rows, 800 of them labelled. Timed",
        "| b | 2 | 1 | 4 | 3.00 |",
        0,
        texts=("a", "b", "c"),
        known=(1.5, 2.0, float("nan")),
        student=[[1.5], [4.0], [3]],
        teacher=[[1.5], [1.0], [3]],
    ),
    "token_classification": Kind(
        ["O", "B-PER", "I-PER"],
        "entity F1, test (%)",
        ("accuracy (%)", "50.0"),
        AGREEMENT,
        "1,000 rows with 5,000 words, 800 of them labelled. 3 labels: O,",
        "| one »Ada« goes | B-PER | B-PER 0.965 | O 0.965 | 3.79 |",
        places=(0, 1, 2),
        student=[[4, 0, 0]] * 3,
        teacher=[[4, 0, 0], [0, 4, 0], [4, 0, 0]],
        has_confusions=True,
    ),
    "multiple_choice": Kind(
        ["choice"],
        "accuracy, test (%)",
        ("ECE (points)", "50.0"),
        AGREEMENT,
        "test 1,000 rows with 5,000 questions, 800 of them labelled. Timed",
        "| What now? | stay | stay 0.909 | sing &lt;b&gt; 0.909 | 2.59 |",
        texts=("Who?", "What now?"),
        known=(1, 2),
        places=(0, 0),
        student=[[0, 1, -1e4], [3, 0, 0]],
        teacher=[[0, 1, -1e4], [0, 0, 3]],
        more={"choices": [["I", "you"], ["sing <b>", "go", "stay"]]},
    ),
    "question_answering": Kind(
        ["start", "end"],
        "answer F1, test (%)",
        ("exact answers (%)", "50.0"),
        AGREEMENT,
        "test 600 questions in 1,000 rows with 5,000 ends of answers, 800 of them labelled. Timed",
        "| end? Who? | Ada | Ada 0.909 | no answer 0.909 | 2.59 |",
        texts=("Who?", "Who?"),
        known=(-1, 2),
        places=(0, 1),
        student=[[3, 0, 0, -1e4]] * 2,
        teacher=[[3, 0, 0, -1e4], [0, 0, 3, -1e4]],
        more={
            "label_token": [None, "Ada"],
            "student_token": [None, "no answer"],
            "teacher_token": [None, "Ada"],
        },
    ),
    "masked_lm": Kind(
        [],
        "perplexity, test",
        ("accuracy (%)", "50.0"),
        AGREEMENT,
        "test 1,000 rows with 5,000 tokens, 800 of them labelled. Timed",
        "| one »?« | b | b 0.982 | a 0.982 | 3.86 |",
        more=PIECES,
    ),
    "sequence_to_sequence": Kind(
        [],
        "perplexity, test",
        ("BLEU (%)", "50.0"),
        AGREEMENT,
        "test 1,000 rows with 5,000 tokens, 800 of them labelled. Timed",
        "| one Ada goes ‖ one »?« | b | b 0.982 | a 0.982 | 3.86 |",
        more=PIECES,
    ),
}


def metrics_of(kind: str, student: str, first: float) -> dict[str, Any]:
    """Return a student's metrics, of which the first has this value and the others are alike."""
    metrics = make_student_metrics(student)
    names = TASKS[kind].metrics
    rest = dict.fromkeys(names[1:], 0.5)
    best = 0.9 if METRICS[names[0]].greater_is_better else 1.1
    for split in metrics["splits"].values():
        split["n_predictions"] = 5000
        if kind == "question_answering":
            split["n_questions"] = 600
        split["student"] = {names[0]: first, **rest}
        split["teacher"] = {names[0]: best, **rest}
        split["fidelity"] = dict.fromkeys(fidelities_of(TASKS[kind].kind), 0.25)
    return {**metrics, "task": kind, "metrics": names, "labels": KINDS[kind].labels}


def is_ranked_upwards(kind: str) -> bool:
    return METRICS[TASKS[kind].primary_metric].greater_is_better


@pytest.fixture(params=TASKS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(kind: str, tmp_path: Path) -> Path:
    """The report of a bad and a good student."""
    made = KINDS[kind]
    sources = Sources(tmp_path / "evaluations", tmp_path / "curves", tmp_path / "seconds", {})
    paths = []
    values = (0.412, 0.789) if is_ranked_upwards(kind) else (2.43, 1.27)
    for student, first in zip(("bad", "good"), values, strict=True):
        paths.append(tmp_path / "metrics" / f"{student}.json")
        write_json(paths[-1], metrics_of(kind, student, first))
        write_predictions(
            sources.evaluations / student / "test.arrow",
            list(made.texts),
            list(made.known),
            list(made.student),
            list(made.teacher),
            places=list(made.places),
            more=made.more,
        )
        write_curve(sources.curves / student, "train/loss", [2.0, 1.0])
        name = f"validation/{TASKS[kind].primary_metric}"
        write_curve(sources.curves / student, name, [0.1, first])
    write_report(paths, tmp_path / "report", sources)
    return tmp_path / "report"


def test_every_kind_has_its_words() -> None:
    """Catches a kind of task that the report cannot speak of, and columns that nothing writes."""
    assert set(WORDINGS) == set(TASKS) == set(KINDS)
    for kind, wording in WORDINGS.items():
        assert wording.things and wording.same
        assert bool(wording.no_confusions) == (not KINDS[kind].has_confusions)
        assert set(wording.columns) == set(KINDS[kind].more or ()), kind


def test_numbers_stand_under_the_tasks_own_headings(written: Path, kind: str) -> None:
    """Catches accuracy as the heading of everything, and fractions for hundredths."""
    table, made = table_of(written), KINDS[kind]
    up = is_ranked_upwards(kind)
    scores = ["90.0", "41.2", "78.9"] if up else ["1.10", "2.43", "1.27"]
    assert [row[made.first] for row in table.values()] == scores
    for heading, cell in (made.second, made.closeness):
        assert table["good"][heading] == cell
    drops = ["–", "48.8", "11.1"] if up else ["–", "1.33", "0.17"]
    assert [row["drop (points)" if up else "rise"] for row in table.values()] == drops


def test_the_best_is_that_of_the_first_metric(written: Path, kind: str) -> None:
    """Catches a ranking by a metric that all students share, and one upside down."""
    heading, _, rest = KINDS[kind].first.partition(", ")
    unit = "%" if "%" in rest else ""
    up = is_ranked_upwards(kind)
    teacher, good, drop = (
        ("90.0", "78.9", "11.1 points less") if up else ("1.10", "1.27", "0.17 more")
    )
    assert headline_of(written).startswith(
        f"The teacher's {heading} on test is {teacher}{unit}. The best of 2 students, good, "
        f"reaches {good}{unit}: {drop}"
    )
    figure = (written / "quality_against_size.svg").read_text(encoding="utf-8")
    direction = (unit or "points") if up else "lower is better"
    assert f">{heading}, {direction} (test)<" in figure
    assert heading in section_of(written, "learning")
    assert f"{'up' if up else 'down'} is better" in section_of(written, "cost")


def test_what_was_counted_has_its_name(written: Path, kind: str) -> None:
    """Catches words that are called rows, and a number with labels."""
    text = (written / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert KINDS[kind].counted in text


def test_figures_are_those_that_fit_the_task(written: Path, kind: str) -> None:
    """Catches the confidence of a number, and labels that are confused with themselves."""
    page = (written / "report.html").read_text(encoding="utf-8")
    has_numbers = kind == "regression"
    assert ('id="confidence"' in page, 'id="numbers"' in page) == (not has_numbers, has_numbers)
    section = section_of(written, "numbers" if has_numbers else "confidence")
    assert section.count("<svg") == 2
    assert has_numbers or f">{WORDINGS[TASKS[kind].kind].same}<" in section
    confusions = section_of(written, "confusions")
    if KINDS[kind].has_confusions:
        assert confusions.count("<svg") == 3
        assert f"Numbers are {WORDINGS[TASKS[kind].kind].things} of the data" in confusions
    else:
        assert "<svg" not in confusions
        assert re.search("Not shown of bad, good: .{20,}", confusions)


def test_a_disagreement_is_told_in_the_tasks_words(written: Path, kind: str) -> None:
    """Catches a sentence without the word that is meant, and a choice without its text."""
    markdown = (written / "report.md").read_text(encoding="utf-8")
    table = markdown[markdown.index("### good") :].split("\n\n")[1].splitlines()
    assert table[2:] == [KINDS[kind].example]
    page = section_of(written, "disagreements")
    assert page.count('<td class="wrong"') == 2 * KINDS[kind].n_wrong


def test_without_labels_numbers_are_compared_with_the_teachers(tmp_path: Path) -> None:
    """Catches agreement, which no number has, as what ranks students."""
    path = tmp_path / "one.json"
    metrics = metrics_of("regression", "one", 0.5)
    for split in metrics["splits"].values():
        split |= {"n_labelled": 0, "student": {}, "teacher": {}}
    write_json(path, metrics)
    write_report([path], tmp_path / "report")
    assert "the student, one, has a correlation of 25.0 points with it on test" in headline_of(
        tmp_path / "report"
    )
