"""One student from a store: its checkpoint, which weights are kept, and what stops it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from numpy.typing import NDArray
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.core.errors import DataError, SettingsError, StoreIncompleteError, StoreMismatchError
from pipeline.core.fingerprint import digest_folder, digest_tokenizer, digest_weights
from pipeline.core.stamp import stamp_in
from pipeline.models.inputs import Inputs
from pipeline.models.predict import predict
from pipeline.store.manifest import read_manifest
from pipeline.text.tokens import Tokens
from pipeline.train.distill import METRICS_NAME
from tests.train.bench import INPUTS, STUDENT, Bench, Judgement, accuracy


def test_the_student_is_a_checkpoint_with_all_that_belongs_to_it(
    tmp_path: Path, bench: Bench
) -> None:
    """Catches a folder that plain Transformers cannot load, or scores of other weights."""
    folder = tmp_path / "students" / "a"
    trained = bench.run(folder)
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(loading.values())
    assert model.config.num_hidden_layers == 2
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert "attention_tap" not in (folder / "config.json").read_text(encoding="utf-8")
    validation = bench.tokens.splits["validation"]
    logits = predict(model, validation, Inputs(0, has_token_types=True), predicts="row")
    assert trained.scores == accuracy(logits, validation).scores
    assert trained.best_step in (4, 8)
    assert digest_tokenizer(AutoTokenizer.from_pretrained(folder)) == bench.tokens.tokenizer
    assert stamp_in(folder).holds(INPUTS)
    assert list((tmp_path / "students").iterdir()) == [folder]


def test_the_curves_have_every_term(tmp_path: Path, bench: Bench) -> None:
    """Catches curves that start over each epoch, or lack what the report draws."""
    bench.run(tmp_path / "a")
    curves = tmp_path / "a" / "curves"
    for name in ("loss", "learning_rate", *STUDENT["objectives"]):
        (path,) = curves.rglob(f"train/{name}.tsv")
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        assert header.split("\t") == ["step", name]
        assert [int(line.split("\t")[0]) for line in lines] == list(range(1, 9))
    (path,) = curves.rglob("validation/accuracy.tsv")
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    assert [int(line.split("\t")[0]) for line in lines] == [4, 8]
    last = json.loads((curves / "metrics.json").read_text(encoding="utf-8"))
    assert last["step"] == 8


def test_the_card_says_what_the_student_is(tmp_path: Path, bench: Bench) -> None:
    """Catches a checkpoint of which nobody knows any more where it came from."""
    trained = bench.run(tmp_path / "a")
    card = (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    weights = read_manifest(bench.store).identity.weights
    for fact in (
        "# a\n",
        "A 2-layer transformer student",
        "bert teacher of 4 layers",
        "| Labels | negative, positive |",
        "hard_label (0.5), soft_target (0.5), cls (1), attentions (1)",
        "| Warm start | every |",
        f"| Teacher weights | `{weights}` |",
        f"| Token table | `{bench.tokens.digest}` |",
        "| Training rows | 60, 60 of them labelled |",
        f"accuracy {trained.scores['accuracy']:.4f}",
        "cut to 64 tokens",
    ):
        assert fact in card, fact
    data = ModelCard(card).data  # as the Hub reads it
    assert (data.license, data.model_name, data.library_name) == ("unknown", "a", "transformers")
    (result,) = data.eval_results
    assert (result.metric_type, result.dataset_split) == ("accuracy", "validation")
    assert result.metric_value == round(trained.scores["accuracy"], 4)


@pytest.mark.parametrize(
    ("scores", "losses", "best"),
    [
        ([0.5, 0.9, 0.7], [0.0, 0.0, 0.0], 2),
        ([0.0, 0.1, 0.2], [0.1, 0.2, 0.3], 3),
        ([0.7, 0.7, 0.7], [0.6, 0.4, 0.5], 2),
        ([0.7, 0.7, 0.7], [0.6, 0.5, 0.4], 3),
        ([0.7, 0.7, 0.7], [0.4, 0.5, 0.6], 1),
        ([0.7, 0.7, 0.7], [0.5, 0.5, 0.5], 3),
        ([0.7, 0.7, 0.6], [0.5, 0.5, 0.1], 2),
    ],
)
def test_the_best_weights_are_kept(
    tmp_path: Path, bench: Bench, scores: list[float], losses: list[float], best: int
) -> None:
    """Catches the last weights under the best score, and of equal scores the first, which are
    those of a student that has hardly been trained."""
    judge = Judgement(scores, losses)
    trained = bench.run(tmp_path / "a", judge=judge, epochs=3)
    assert trained.best_step == 4 * best
    assert trained.scores == {"accuracy": scores[best - 1]}
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")
    logits = predict(
        model, bench.tokens.splits["validation"], Inputs(0, has_token_types=True), predicts="row"
    )
    assert [np.array_equal(logits, shown) for shown in judge.logits] == [
        number == best for number in (1, 2, 3)
    ]
    found = json.loads((tmp_path / "a" / METRICS_NAME).read_text(encoding="utf-8"))
    assert found["best_step"] == 4 * best
    assert found["validation"] == {"accuracy": scores[best - 1], "loss": losses[best - 1]}


@pytest.mark.parametrize(
    ("patience", "scores", "losses", "n_validations"),
    [
        (1, [0.5, 0.5], [0.1, 0.1], 2),
        (1, [0.5, 0.5, 0.5], [0.3, 0.2, 0.2], 3),
        (2, [0.5, 0.4, 0.3], None, 3),
        (2, [0.5, 0.4, 0.6, 0.6, 0.6], None, 5),
        (None, [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], None, 6),
    ],
)
def test_patience_ends_the_training(
    tmp_path: Path,
    bench: Bench,
    patience: int | None,
    scores: list[float],
    losses: list[float] | None,
    n_validations: int,
) -> None:
    """Catches a count that is off by one, that a better one does not reset, or that goes on for
    ever where nothing changes; and a student whose last, equal weights were not written."""
    judge = Judgement(scores, losses)
    trained = bench.run(tmp_path / "a", judge=judge, epochs=6, patience=patience)
    assert len(judge.logits) == n_validations
    assert trained.scores == {"accuracy": max(scores)}
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")
    kept = trained.best_step // 4 - 1
    validation = bench.tokens.splits["validation"]
    logits = predict(model, validation, Inputs(0, has_token_types=True), predicts="row")
    assert np.array_equal(logits, judge.logits[kept])


def test_a_training_that_patience_has_ended_does_not_go_on(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a training that was killed after its last validation and before the student was
    written: resumed, it would go on past its end, and be another student."""

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    whole, killed = tmp_path / "students" / "whole", tmp_path / "students" / "killed"
    options: dict[str, Any] = {"epochs": 6, "patience": 1}
    expected = bench.run(whole, judge=Judgement([0.5, 0.5]), **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline.train.distill.write_model_card", interrupt)
        bench.run(killed, judge=Judgement([0.5, 0.5]), **options)
    assert bench.run(killed, judge=Judgement([]), **options) == expected
    ours, theirs = (digest_folder(path, without=["README.md"]) for path in (killed, whole))
    assert {name for name in ours if ours[name] != theirs[name]} <= {"made_from.json"}
    assert digest_weights(killed) == digest_weights(whole)


def test_one_seed_gives_one_student(tmp_path: Path, bench: Bench) -> None:
    """Catches weights that depend on what else ran in the process, or a seed without effect."""
    cold = {**STUDENT, "model": {"n_layers": 2, "warm_start": "none"}}
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        bench.run(tmp_path / name, student=cold, seed=seed)
        torch.rand(len(name))  # another state of the global generator
    assert digest_weights(tmp_path / "one") == digest_weights(tmp_path / "two")
    assert digest_weights(tmp_path / "one") != digest_weights(tmp_path / "other")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert len(one) > 20 and all(torch.equal(values, two[name]) for name, values in one.items())
    # And so does all that lies beside them.
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")


def test_an_interrupted_training_leaves_nothing(tmp_path: Path, bench: Bench) -> None:
    """Catches half a student under the final name."""
    folder = tmp_path / "students" / "a"
    with pytest.raises(KeyboardInterrupt):
        bench.run(folder, judge=Judgement([0.5]))
    assert not (tmp_path / "students").exists()


def test_an_interrupted_training_leaves_the_old_student(tmp_path: Path, bench: Bench) -> None:
    """Catches a good student that is lost to a rerun which was stopped."""
    folder = tmp_path / "students" / "a"
    bench.run(folder, epochs=1)
    before = digest_folder(folder)
    with pytest.raises(KeyboardInterrupt):
        bench.run(folder, judge=Judgement([0.99]), seed=1)
    assert digest_folder(folder) == before
    assert list((tmp_path / "students").iterdir()) == [folder]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 32}, "max_length=64, now 32"),
        ({"labels": ("no", "yes")}, "labels=negative, positive, now no, yes"),
        ({"tokenizer": "0" * 64}, "now 000000000000"),
    ],
)
def test_tokens_of_another_kind_are_refused(
    tmp_path: Path, bench: Bench, change: dict[str, Any], message: str
) -> None:
    """Catches a student that reads other token ids, or label numbers, than its teacher."""
    with pytest.raises(StoreMismatchError, match=re.escape(message)):
        bench.run(tmp_path / "a", tokens=replace(bench.tokens, **change))
    assert not (tmp_path / "a").exists()


def test_another_token_table_is_refused(tmp_path: Path, bench: Bench, tokens: Tokens) -> None:
    """Catches a view of one data set joined with the tokens of another."""
    message = (
        f"token table {bench.tokens.digest[:12]}, the table now is {tokens.digest[:12]}. "
        "Run 'dvc repro select'."
    )
    with pytest.raises(StoreMismatchError, match=re.escape(message)):
        bench.run(tmp_path / "a", tokens=tokens)


def test_rows_that_are_not_in_the_store_are_counted(
    tmp_path: Path, bench: Bench, tokens: Tokens
) -> None:
    """Catches a run that fails, or silently leaves rows out, after the first step."""
    other = replace(tokens, digest=bench.tokens.digest)
    known = {key.tobytes() for split in bench.tokens.splits.values() for key in split.keys}
    n_missing = sum(key.tobytes() not in known for key in tokens.splits["train"].keys)
    assert n_missing > 0
    with pytest.raises(StoreIncompleteError, match=f"lacks {n_missing} of 90 rows"):
        bench.run(tmp_path / "a", tokens=other)


def with_validation_labels(tokens: Tokens, labels: NDArray[np.int64]) -> Tokens:
    rows = replace(tokens.splits["validation"], labels=labels)
    return replace(tokens, splits={**tokens.splits, "validation": rows})


def test_validation_without_labels_is_refused(tmp_path: Path, bench: Bench) -> None:
    """Catches a best student chosen by nothing."""
    with pytest.raises(DataError, match=r"^the validation split has no labelled row to choose"):
        bench.run(tmp_path / "a", tokens=with_validation_labels(bench.tokens, np.full(20, -1)))


def test_training_without_anything_to_learn_from_is_refused(tmp_path: Path, bench: Bench) -> None:
    """Catches a student of labels alone that is as random after training as before."""
    train = bench.tokens.splits["train"]
    rows = replace(train, labels=np.full(len(train), -1))
    tokens = replace(bench.tokens, splits={**bench.tokens.splits, "train": rows})
    student = {**STUDENT, "objectives": {"hard_label": {}}}
    with pytest.raises(DataError, match=r"^the train split has no labelled row, and hard_label"):
        bench.run(tmp_path / "a", student=student, tokens=tokens)


def test_a_layer_map_that_does_not_fit_is_refused(tmp_path: Path, bench: Bench) -> None:
    """Catches a layer that does not exist, found after the training has begun."""
    student = {**STUDENT, "objectives": {"cls": {"layer_map": [[3, 4]]}}}
    message = "layer map pairs student layer 3 with teacher layer 4, but the student has hidden"
    with pytest.raises(SettingsError, match=re.escape(message)):
        bench.run(tmp_path / "a", student=student, view=bench.view())
