"""A model beside the best constant prediction, for every kind of prediction."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from pipeline.metrics import METRICS
from pipeline.metrics.constant_baseline import ConstantBaseline, compare_with_constant
from pipeline.tasks import TASKS
from pipeline.tasks.predictions import AnswerTexts, InVocabulary, Predictions, predictions_of
from tests.metrics.made_answers import made_answers
from tests.metrics.made_windows import MakeSplit


def one_hot(predicted: list[int], n_classes: int) -> np.ndarray:
    return np.eye(n_classes)[predicted]


def classified(predicted: list[int], labels: list[int]) -> Predictions:
    return made_answers(one_hot(predicted, 2), np.array(labels), names=("bad", "good"))


def compare(answers: Predictions, metric: str) -> ConstantBaseline:
    found = compare_with_constant(answers, METRICS[metric])
    assert found is not None
    return found


def fault(answers: Predictions, metric: str) -> str:
    return compare(answers, metric).fault("the teacher", "validation")


def test_always_one_label() -> None:
    """Catches a teacher of one label, whose accuracy looks like that of a fair one."""
    labels = [1] * 7 + [0] * 3
    for metric in ("accuracy", "matthews", "macro_f1", "expected_calibration_error"):
        assert fault(classified([1] * 10, labels), metric) == (
            "the teacher gives the label 'good' to all 10 rows of validation, which is right for "
            "70.0% of them"
        )


def test_always_the_rarer_label() -> None:
    """Catches a model held against the label that it gives and not against the best one."""
    found = compare(classified([0] * 10, [1] * 7 + [0] * 3), "accuracy")
    assert (found.score, found.constant_score) == (0.3, 0.7)
    assert (found.constant, found.most_given) == ("the label 'good'", "the label 'bad'")
    assert found.fault("the teacher", "test").endswith("right for 30.0% of them")


def test_nearly_one_label_is_said_though_the_score_is_a_hair_better() -> None:
    """Catches 3 lucky rows of 1,000 that hide a model that has learned nothing."""
    labels = [1] * 700 + [0] * 300
    lucky = classified([1] * 997 + [0] * 3, labels)
    assert compare(lucky, "accuracy").is_beaten
    assert fault(lucky, "accuracy") == (
        "the teacher gives the label 'good' to 997 of 1,000 rows of validation, which is right "
        "for 70.0% of them"
    )


def test_one_label_is_no_fault_where_it_is_nearly_always_right() -> None:
    """Catches a warning at a good model of a rare label."""
    labels = [1] * 991 + [0] * 9
    good = [1] * 993 + [0] * 7
    assert fault(classified(good, labels), "accuracy") == ""
    assert "gives the label 'good' to all 1,000" in fault(
        classified([1] * 1000, labels), "accuracy"
    )


def test_no_better_than_the_most_frequent_label() -> None:
    """Catches a model that guesses; equal is not better, and one row more is."""
    labels = [1] * 6 + [0] * 4
    assert fault(classified([1, 1, 0, 0, 1, 1, 0, 1, 1, 0], labels), "accuracy") == (
        "the teacher is no better on validation than always giving the label 'good': its "
        "accuracy, 60.0%, is not above 60.0%"
    )
    assert fault(classified([1, 1, 0, 0, 1, 1, 0, 0, 1, 0], labels), "accuracy") == ""


def test_a_model_is_held_against_the_constant_by_the_task_s_own_metric() -> None:
    """Catches a model of unlike labels that accuracy alone calls useless."""
    labels = [1] * 8 + [0] * 2
    told_apart = classified([1] * 5 + [0] * 5, labels)
    assert fault(told_apart, "macro_f1") == ""
    assert fault(told_apart, "accuracy") != ""


def test_labels_that_are_all_alike_say_nothing() -> None:
    """Catches a warning at a model that is always right, or a fault of no rows."""
    assert compare_with_constant(classified([1, 1], [1, 1]), METRICS["accuracy"]) is None
    assert compare_with_constant(classified([1, 1], [-1, -1]), METRICS["accuracy"]) is None
    one = made_answers(np.ones((2, 1)), np.array([0.5, 0.5]))
    assert compare_with_constant(one, METRICS["pearson"]) is None


def test_rows_without_a_label_do_not_count() -> None:
    """Catches shares of rows that nobody can judge."""
    found = compare(classified([1, 0, 1, 0, 0, 0], [1, 0, 1, -1, -1, -1]), "accuracy")
    assert (found.n_predictions, found.score, found.constant_score) == (3, 1.0, 2 / 3)
    assert found.fault("the teacher", "test") == ""


def test_no_entity_at_all() -> None:
    """Catches an accuracy of 90% that hides an entity F1 of 0."""
    names = ("O", "B-PER", "I-PER")
    labels, rows = np.array([0] * 9 + [1] + [0] * 9 + [1]), np.repeat([0, 1], 10)

    def tagged(predicted: list[int]) -> Predictions:
        return made_answers(one_hot(predicted, 3), labels, rows=rows, predicts="token", names=names)

    assert fault(tagged([0] * 20), "entity_f1") == (
        "the teacher gives the label 'O' to all 20 words of validation, which is right for 90.0% "
        "of them"
    )
    assert fault(tagged([0] * 18 + [2, 0]), "entity_f1") == (
        "the teacher is no better on validation than always giving the label 'O': its entity F1, "
        "0.0%, is not above 0.0%"
    )
    assert fault(tagged([1] * 3 + [0] * 6 + [1] + [0] * 10), "entity_f1") == ""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[0, 0, 0]] * 4, "the teacher gives no label to all 4 rows"),
        ([[1, 0, 1]] * 4, "the teacher gives the labels 'a', 'c' to all 4 rows"),
        ([[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]], ""),
    ],
)
def test_sets_of_labels(table: list[list[int]], expected: str) -> None:
    """Catches labels taken one by one: most of them are absent from most rows."""
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]]).reshape(-1)
    answers = made_answers(
        one_hot(np.array(table).reshape(-1).tolist(), 2),
        labels,
        rows=np.repeat(np.arange(4), 3),
        predicts="label",
        names=("a", "b", "c"),
    )
    found = compare(answers, "micro_f1")
    assert found.constant == "the label 'b'"
    said = found.fault("the teacher", "test")
    assert said.startswith(expected) if expected else not said


def test_choices() -> None:
    """Catches a model that always takes the same answer."""
    answers = made_answers(one_hot([1] * 4, 4), np.array([1, 0, 1, 3]), predicts="choice")
    assert fault(answers, "accuracy") == (
        "the teacher gives choice 2 to all 4 questions of validation, which is right for 50.0% of "
        "them"
    )


def test_numbers() -> None:
    """Catches numbers that are further from the right ones than their mean is."""
    labels = np.array([0.0, 1.0, 2.0, 3.0])
    assert fault(made_answers(labels[::-1, None].copy(), labels), "pearson") == (
        "the teacher is no better on validation than always giving the mean of the labels, 1.5: "
        "its mean squared error, 5.0000, is not below 1.2500"
    )
    assert fault(made_answers(np.full((4, 1), 1.5), labels), "pearson") != ""
    assert fault(made_answers(labels[:, None] * 0.6, labels), "pearson") == ""


def test_answers_to_questions(make_split: MakeSplit) -> None:
    """Catches a model that answers nothing, or always the same words."""
    split = make_split(["good movie", "bad movie", "good film"], [["movie"], ["movie"], []])
    answers = predictions_of(
        np.zeros((len(split.input_ids), 2)), split, TASKS["question_answering"], ("start", "end")
    )
    assert answers.texts is not None

    def given(*texts: str) -> str:
        texts_given = AnswerTexts(texts, (("movie",), ("movie",), ()))
        return fault(replace(answers, texts=texts_given), "answer_f1")

    assert given("", "", "") == (
        "the teacher gives no answer to all 3 questions of validation, which is right for 33.3% "
        "of them"
    )
    assert given("good", "bad", "film") == (
        "the teacher is no better on validation than always giving no answer: its answer F1, "
        "0.0%, is not above 33.3%"
    )
    assert given("movie", "bad movie", "") == ""


def test_label_positions() -> None:
    """Catches a language model that always puts the same token first."""
    labels = np.array([5, 5, 6, 7])

    def said(*predicted: int) -> str:
        whole = InVocabulary(np.log(np.full(4, 0.25)), np.array(predicted))
        answers = Predictions(np.zeros((4, 0)), labels, np.arange(4), "piece", (), whole)
        return fault(answers, "perplexity")

    assert said(5, 5, 5, 5) == (
        "the teacher gives token id 5 to all 4 label positions of validation, which is right for "
        "50.0% of them"
    )
    assert said(5, 7, 6, 1) == (
        "the teacher is no better on validation than always giving token id 5: its accuracy, "
        "50.0%, is not above 50.0%"
    )
    assert said(5, 5, 6, 1) == ""


def test_json_form() -> None:
    """Catches a record that another stage cannot read back."""
    found = compare(classified([1, 1, 1, 0], [1, 1, 0, 0]), "accuracy")
    assert ConstantBaseline(**json.loads(json.dumps(asdict(found)))) == found
