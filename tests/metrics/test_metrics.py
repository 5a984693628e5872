"""Every metric against its reference library, on the same predictions."""

import warnings

import numpy as np
import pytest
from scipy import stats
from seqeval import metrics as seqeval
from sklearn import metrics as sklearn

from pipeline.core.errors import DataError
from pipeline.metrics import METRICS
from pipeline.metrics.scores import score
from pipeline.tasks import TASKS
from tests.metrics.made_answers import made_answers

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(3)


def test_metrics_of_two_labels(random: np.random.Generator) -> None:
    """Catches F1 of the first label, and macro-F1 or accuracy under another name."""
    logits = random.normal(size=(300, 2))
    labels = np.where(random.random(300) < 0.7, logits.argmax(1), random.integers(0, 2, 300))
    labels[::2] = 0  # the second is the rarer one
    known = np.arange(300) % 5 != 0
    found = score(
        ("f1", "matthews"), made_answers(logits, np.where(known, labels, -1), names=("no", "yes"))
    )
    predicted, labels = logits.argmax(1)[known], labels[known]
    assert found["f1"] == sklearn.f1_score(labels, predicted, pos_label=1)
    assert abs(found["f1"] - sklearn.f1_score(labels, predicted, pos_label=0)) > 0.05
    assert found["matthews"] == sklearn.matthews_corrcoef(labels, predicted)


def test_a_model_that_always_says_the_same_has_a_score() -> None:
    """Catches a warning, or a score that is not a number, in the first steps of a training."""
    answers = made_answers(np.eye(2)[[0] * 6], np.array([0, 1, 0, 1, 1, 1]), names=("no", "yes"))
    assert score(("f1", "matthews"), answers) == {"f1": 0.0, "matthews": 0.0}


def test_f1_is_of_two_labels_alone() -> None:
    """Catches a score of the second of three labels."""
    answers = made_answers(np.eye(3), np.arange(3), names=("a", "b", "c"))
    with pytest.raises(DataError, match=r"of two labels, but there are 3.* macro_f1"):
        score(("f1",), answers)


def test_metrics_of_any_number_of_labels(random: np.random.Generator) -> None:
    """Catches F1 over yes and no, rows that are cut elsewhere, and a mean over answers."""
    n_rows, names = 80, ("a", "b", "c", "never")
    z = random.normal(size=(n_rows, 4))
    truth = ((z + random.normal(size=(n_rows, 4))) > 0.3).astype(np.int64)
    truth[:, 3] = 0
    labels = truth.copy()
    labels[::7] = -1
    answers = made_answers(
        np.stack([np.zeros_like(z), z], -1).reshape(-1, 2),
        labels.reshape(-1),
        rows=np.repeat(np.arange(n_rows), 4),
        predicts="label",
        names=names,
    )
    found = score(TASKS["multi_label"].metrics, answers)
    kept = labels[:, 0] >= 0
    truth, predicted = truth[kept], (z[kept] > 0).astype(int)
    assert found["micro_f1"] == pytest.approx(
        sklearn.f1_score(truth, predicted, average="micro"), abs=1e-12
    )
    occurring = sklearn.f1_score(truth, predicted, average="macro", labels=[0, 1, 2])
    assert found["macro_f1"] == pytest.approx(occurring, abs=1e-12)
    assert found["exact_match"] == sklearn.accuracy_score(truth, predicted)
    assert 0 < found["exact_match"] < score(("accuracy",), answers)["accuracy"]


def test_one_label_that_may_be_there_is_scored_as_that_label() -> None:
    """Catches a table of one column that is taken for two classes."""
    answers = made_answers(
        np.array([[0.0, 1], [0, -1], [0, 1], [0, -1]]),
        np.array([1, 0, 0, 0]),
        predicts="label",
        names=("only",),
    )
    assert score(("macro_f1", "micro_f1"), answers) == pytest.approx(
        {"macro_f1": 2 / 3, "micro_f1": 2 / 3}
    )


def test_metrics_of_numbers(random: np.random.Generator) -> None:
    """Catches ranks without ties, a mean over unlabelled rows, and a squared deviation."""
    labels = random.integers(0, 6, 200).astype(np.float64)
    logits = (labels + random.normal(size=200)).astype(np.float32)[:, None]
    known = np.arange(200) % 4 != 0
    answers = made_answers(logits, np.where(known, labels, np.nan))
    found = score(TASKS["regression"].metrics, answers)
    ours, theirs = logits[known, 0].astype(np.float64), labels[known]
    assert found["pearson"] == pytest.approx(stats.pearsonr(ours, theirs).statistic, abs=1e-12)
    assert found["spearman"] == pytest.approx(stats.spearmanr(ours, theirs).statistic, abs=1e-12)
    assert found["mean_squared_error"] == sklearn.mean_squared_error(theirs, ours)
    assert 0.5 < found["spearman"] < 1
    assert abs(found["spearman"] - found["pearson"]) > 1e-3


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.7])
def test_constant_numbers_correlate_with_nothing(constant: float) -> None:
    """Catches not a number as the score of a model that is still to learn, or rounding as one."""
    labels = np.array([1.0, 2, 3, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for logits, truth in ((np.full(4, constant), labels), (labels, np.full(4, constant))):
            found = score(("pearson", "spearman"), made_answers(logits[:, None], truth))
            assert found == {"pearson": 0.0, "spearman": 0.0}
        assert score(("pearson",), made_answers(labels[:1, None], labels[:1])) == {"pearson": 0.0}


def test_unlabelled_numbers_have_no_score() -> None:
    """Catches a mean over nothing."""
    assert score(("pearson",), made_answers(np.ones((3, 1)), np.full(3, np.nan))) == {}


def tagged(random: np.random.Generator, lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels of sentences of these lengths, in which entities go on and on."""
    labels = random.choice(5, p=[0.3, 0.2, 0.2, 0.15, 0.15], size=sum(lengths))
    logits = np.eye(5)[labels] + random.normal(scale=0.5, size=(len(labels), 5))
    return logits, labels


def test_entities_are_scored_sentence_by_sentence(random: np.random.Generator) -> None:
    """Catches entities that go on into the next sentence, and a score of words."""
    lengths = [1, 7, 2, 12, 5, 9, 3]
    logits, labels = tagged(random, lengths)
    rows = np.repeat(np.arange(7), lengths)
    answers = made_answers(logits, labels, rows=rows, predicts="token", names=TAGS)
    found = score(("entity_f1",), answers)["entity_f1"]

    def sentences(numbers: np.ndarray) -> list[list[str]]:
        return [[TAGS[number] for number in numbers[rows == row]] for row in range(7)]

    predicted = logits.argmax(1)
    assert found == pytest.approx(seqeval.f1_score(sentences(labels), sentences(predicted)))
    assert 0 < found < np.mean(predicted == labels)


def test_an_entity_ends_with_its_sentence() -> None:
    """Catches sentences that are joined: an I-PER at the beginning of one begins an entity."""
    labels, predicted = np.array([1, 2]), np.array([1, 1])  # B-PER, I-PER; twice B-PER
    answers = made_answers(np.eye(5)[predicted], labels, predicts="token", names=TAGS)
    assert score(("entity_f1",), answers) == {"entity_f1": 1.0}
    joined = made_answers(
        np.eye(5)[predicted], labels, rows=np.zeros(2, int), predicts="token", names=TAGS
    )
    assert score(("entity_f1",), joined) == {"entity_f1": 0.0}


def test_unlabelled_sentences_are_left_out(random: np.random.Generator) -> None:
    """Catches a label number of -1, which is the name of the last tag."""
    logits, labels = tagged(random, [6, 6, 6])
    rows = np.repeat(np.arange(3), 6)
    partly = np.where(rows == 1, -1, labels)
    kept = rows != 1
    assert score(
        ("entity_f1", "exact_match"),
        made_answers(logits, partly, rows=rows, predicts="token", names=TAGS),
    ) == score(
        ("entity_f1", "exact_match"),
        made_answers(logits[kept], labels[kept], rows=rows[kept], predicts="token", names=TAGS),
    )


def test_no_entity_at_all_scores_0_and_other_labels_are_refused() -> None:
    """Catches a warning of seqeval's, and parts of speech that score as entities."""
    nothing = made_answers(np.eye(5)[[0, 0]], np.zeros(2, int), predicts="token", names=TAGS)
    assert score(("entity_f1",), nothing) == {"entity_f1": 0.0}
    words = made_answers(np.eye(2), np.arange(2), predicts="token", names=("NOUN", "VERB"))
    with pytest.raises(DataError, match=r"'NOUN' does not say.*B-PER.*\[accuracy, macro_f1\]"):
        score(("entity_f1",), words)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("O", "B-X", "I-X", "B-Y", "I-Y"), [1, 2, 2, 0, 1, 3, 4]),
        (("O", "B-X", "I-X", "I-Y"), [2, 2, 2, 0, 2, 3, 3]),  # IOB1
        (("O", "B-X", "I-X", "E-X", "S-X", "B-Y", "E-Y"), [1, 2, 3, 0, 4, 5, 6]),
        (("O", "B-X", "I-X", "L-X", "U-X", "B-Y", "L-Y"), [1, 2, 3, 0, 4, 5, 6]),
        (("O", "B-X", "M-X", "E-X", "W-X", "B-Y", "E-Y"), [1, 2, 3, 0, 4, 5, 6]),
    ],
)
def test_entities_are_the_same_in_every_scheme(names: tuple[str, ...], numbers: list[int]) -> None:
    """Catches tags of BILOU refused, and entities that end or begin elsewhere in one scheme."""
    labels = np.array(numbers)
    wrong = labels.copy()
    wrong[4] = 0  # one of three entities is lost
    logits, rows = np.eye(len(names))[wrong], np.zeros(7, int)
    answers = made_answers(logits, labels, rows=rows, predicts="token", names=names)
    found = score(("entity_f1",), answers)["entity_f1"]
    assert found == pytest.approx(2 * (2 / 2) * (2 / 3) / (2 / 2 + 2 / 3))


def test_tags_without_types_are_of_one() -> None:
    """Catches B, I and O refused, or scored as words."""
    logits, labels = np.eye(3)[[1, 2, 0, 1, 2, 2]], np.array([1, 2, 0, 1, 1, 2])
    names, rows = ("O", "B", "I"), np.zeros(6, int)
    answers = made_answers(logits, labels, rows=rows, predicts="token", names=names)
    found = score(("entity_f1",), answers)["entity_f1"]
    assert found == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))


def test_choices_are_scored_among_those_a_question_has() -> None:
    """Catches an absent choice that takes part in the confidence."""
    logits = np.array([[2.0, 1.0, -1e4], [0.0, 0.5, 3.0]])
    answers = made_answers(logits, np.array([0, 2]), predicts="choice", names=("choice",))
    found = score(TASKS["multiple_choice"].metrics, answers)
    first = 1 / (1 + np.exp(-1.0))
    second = 1 / (1 + np.exp(-3.0) + np.exp(-2.5))
    assert found["accuracy"] == 1.0
    assert found["expected_calibration_error"] == pytest.approx(1 - (first + second) / 2, abs=1e-12)


@pytest.mark.parametrize("kind", TASKS)
def test_every_task_has_metrics_that_fit_it(kind: str) -> None:
    """Catches a name without a metric, and weights that texts nobody writes are to choose."""
    task = TASKS[kind]
    for name in task.metrics:
        assert METRICS[name].fits(task)
    assert not METRICS[task.primary_metric].reads_texts
