"""The report of students of every kind of task, from made-up files."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluate.fidelity import fidelities_of
from pipeline.report.report import write_report
from pipeline.report.report_content import Sources
from pipeline.tasks import TASKS
from tests.evaluate.made_metrics import make_student_metrics
from tests.evaluate.shown_files import write_curve, write_json, write_predictions
from tests.evaluate.test_report import headline_of, table_of
from tests.evaluate.test_report_content import section_of

LABELS = {
    "multi_label": ["red", "blue"],
    "regression": ["score"],
    "token_classification": ["O", "B-PER", "I-PER"],
    "multiple_choice": ["choice"],
    "question_answering": ["start", "end"],
}
KINDS = tuple(LABELS)


def metrics_of(kind: str, student: str, first: float) -> dict[str, Any]:
    """Return a student's metrics, of which the first has this value and the others are alike."""
    metrics = make_student_metrics(student)
    names = TASKS[kind].metrics
    rest = dict.fromkeys(names[1:], 0.5)
    for split in metrics["splits"].values():
        split["n_predictions"] = 5000
        if kind == "question_answering":
            split["n_questions"] = 600
        split["student"] = {names[0]: first, **rest}
        split["teacher"] = {names[0]: 0.9, **rest}
        split["fidelity"] = dict.fromkeys(fidelities_of(TASKS[kind].kind), 0.25)
    return {**metrics, "task": kind, "metrics": names, "labels": LABELS[kind]}


def write_answers(path: Path, kind: str) -> None:
    """Write predictions, of which the second is the worst and the third is unlabelled."""
    if kind == "regression":
        numbers = [1.5, 2.0, float("nan")]
        write_predictions(path, ["a", "b", "c"], numbers, [[1.5], [4.0], [3]], [[1.5], [1.0], [3]])
        return
    if kind == "multiple_choice":
        texts, choices = ["Who?", "What now?"], [["I", "you"], ["sing <b>", "go", "stay"]]
        ours, theirs = [[0, 1, -1e4], [3, 0, 0]], [[0, 1, -1e4], [0, 0, 3]]
        write_predictions(path, texts, [1, 2], ours, theirs, choices=choices)
        return
    if kind == "question_answering":
        ours, theirs = [[3, 0, 0, -1e4]] * 2, [[3, 0, 0, -1e4], [0, 0, 3, -1e4]]
        tokens = {"label": "Ada", "student": "no answer", "teacher": "Ada"}
        said = {f"{who}_token": [None, token] for who, token in tokens.items()}
        write_predictions(path, ["Who?"] * 2, [-1, 2], ours, theirs, places=[0, 1], tokens=said)
        return
    texts = ["one Ada goes"] * 3
    classes = 3 if kind == "token_classification" else 2
    certain = [[4.0 * (place == number) for place in range(classes)] for number in range(classes)]
    ours, theirs = [certain[0]] * 3, [certain[0], certain[1], certain[0]]
    places = [0, 1, 2] if classes == 3 else [0, 1, 0]
    write_predictions(path, texts, [0, 1, -1], ours, theirs, places=places)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(kind: str, tmp_path: Path) -> Path:
    """The report of a bad and a good student."""
    sources = Sources(tmp_path / "evaluations", tmp_path / "curves", tmp_path / "seconds", {})
    paths = []
    for student, first in (("bad", 0.412), ("good", 0.789)):
        paths.append(tmp_path / "metrics" / f"{student}.json")
        write_json(paths[-1], metrics_of(kind, student, first))
        write_answers(sources.evaluations / student / "test.arrow", kind)
        write_curve(sources.curves / student, "train/loss", [2.0, 1.0])
        name = f"validation/{TASKS[kind].primary_metric}"
        write_curve(sources.curves / student, name, [0.1, first])
    write_report(paths, tmp_path / "report", sources)
    return tmp_path / "report"


HEADINGS = {
    "multi_label": ("micro-F1, test (%)", "exact match (%)", "agreement (%)"),
    "regression": (
        "Pearson correlation, test (points)",
        "mean squared error",
        "distance from the teacher",
    ),
    "token_classification": ("entity F1, test (%)", "accuracy (%)", "agreement (%)"),
    "multiple_choice": ("accuracy, test (%)", "ECE (points)", "agreement (%)"),
    "question_answering": ("answer F1, test (%)", "exact answers (%)", "agreement (%)"),
}


def test_numbers_stand_under_the_tasks_own_headings(written: Path, kind: str) -> None:
    """Catches accuracy as the heading of everything, and fractions for hundredths."""
    table = table_of(written)
    first, second, closeness = HEADINGS[kind]
    assert [row[first] for row in table.values()] == ["90.0", "41.2", "78.9"]
    plain = kind == "regression"
    assert table["good"][second] == ("0.5000" if plain else "50.0")
    assert table["good"][closeness] == ("0.2500" if plain else "25.0")
    assert [row["drop (points)"] for row in table.values()] == ["–", "48.8", "11.1"]


def test_the_best_is_that_of_the_first_metric(written: Path, kind: str) -> None:
    """Catches a ranking by a metric that all students share."""
    unit = "" if kind == "regression" else "%"
    heading = HEADINGS[kind][0].split(", ")[0]
    assert headline_of(written).startswith(
        f"The teacher's {heading} on test is 90.0{unit}. The best of 2 students, good, reaches "
        f"78.9{unit}: 11.1 points less"
    )
    figure = (written / "quality_against_size.svg").read_text(encoding="utf-8")
    assert f">{heading}, {'points' if not unit else '%'} (test)<" in figure
    assert heading in section_of(written, "learning")


THINGS = {
    "multi_label": "1,000 rows with 5,000 answers, 800 of them labelled. 2 labels: red, blue.",
    "regression": "test 1,000 rows, 800 of them labelled. Timed",
    "token_classification": "1,000 rows with 5,000 words, 800 of them labelled. 3 labels: O,",
    "multiple_choice": "test 1,000 rows with 5,000 questions, 800 of them labelled. Timed",
    "question_answering": "test 600 questions in 1,000 rows with 5,000 ends of answers, 800 of "
    "them labelled. Timed",
}


def test_what_was_counted_has_its_name(written: Path, kind: str) -> None:
    """Catches words that are called rows, and a number with labels."""
    text = (written / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert THINGS[kind] in text


def test_figures_are_those_that_fit_the_task(written: Path, kind: str) -> None:
    """Catches the confidence of a number, and labels that are confused with themselves."""
    page = (written / "report.html").read_text(encoding="utf-8")
    has_numbers = kind == "regression"
    assert ('id="confidence"' in page, 'id="numbers"' in page) == (not has_numbers, has_numbers)
    assert section_of(written, "numbers" if has_numbers else "confidence").count("<svg") == 2
    confusions = section_of(written, "confusions")
    if kind == "token_classification":
        assert confusions.count("<svg") == 3
        assert "Numbers are words of the data" in confusions
    else:
        assert "<svg" not in confusions
        assert re.search("Not shown of bad, good: .{20,}", confusions)


EXAMPLES = {
    "multi_label": "| blue? one Ada goes | yes | yes 0.982 | no 0.982 | 3.86 |",
    "regression": "| b | 2 | 1 | 4 | 3.00 |",
    "token_classification": "| one »Ada« goes | B-PER | B-PER 0.965 | O 0.965 | 3.79 |",
    "multiple_choice": "| What now? | stay | stay 0.909 | sing &lt;b&gt; 0.909 | 2.59 |",
    "question_answering": "| end? Who? | Ada | Ada 0.909 | no answer 0.909 | 2.59 |",
}


def test_a_disagreement_is_told_in_the_tasks_words(written: Path, kind: str) -> None:
    """Catches a sentence without the word that is meant, and a choice without its text."""
    markdown = (written / "report.md").read_text(encoding="utf-8")
    table = markdown[markdown.index("### good") :].split("\n\n")[1].splitlines()
    assert table[2:] == [EXAMPLES[kind]]
    page = section_of(written, "disagreements")
    assert page.count('<td class="wrong"') == (0 if kind == "regression" else 2)


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
