"""A student with a tokenizer of its own: other tokens, the same rows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import normalizers
from transformers import AutoModelForSequenceClassification

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError, SettingsError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.evaluate.evaluate import evaluate
from pipeline.evaluate.settings import EvaluationSettings
from pipeline.models.inputs import Inputs
from pipeline.objectives.needs import Needs
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.reader import open_store
from pipeline.tasks import TASKS, task_of
from pipeline.tasks.token_table import split_for
from pipeline.text.tokens import TokenSplit
from pipeline.train.batches import JoinedSplit
from tests.train.bench import Bench
from tests.train.other_tokens import PAD_ID, make_other_tokenizer, make_student_checkpoint

WHOLE_EXAMPLES: dict[str, Any] = {
    "hard_label": {},
    "soft_target": {},
    "logit_match": {},
    "cls": {"layer_map": [[1, 2]], "projection": True},
    "similarity": {"layer_map": [[2, 4]]},
    "adversarial": {"layer_map": [[2, 4]], "projection": True},
}


@pytest.fixture(scope="module")
def checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student checkpoint with other tokens; not to be changed."""
    return make_student_checkpoint(tmp_path_factory.mktemp("own") / "checkpoint")


def student_of(checkpoint: Path, **objectives: Any) -> dict[str, Any]:
    return {"model": {"checkpoint": str(checkpoint)}, "objectives": objectives}


def texts_of(split: TokenSplit, folder: Path) -> list[str]:
    """Return rows as text again, from their tokens."""
    tokenizer = load_tokenizer(folder)
    ids = [split.row(row)[0].tolist() for row in range(len(split))]
    return tokenizer.batch_decode(ids, skip_special_tokens=True)


def test_a_student_learns_by_its_own_tokens(
    tmp_path: Path, bench: Bench, checkpoint_dir: Path
) -> None:
    """Catches a student that is fed, saved or measured with the teacher's tokenizer."""
    student = student_of(checkpoint_dir, **WHOLE_EXAMPLES)
    folder, view = tmp_path / "students" / "a", bench.view(student)
    trained = bench.run(folder, student=student, view=view)
    own = digest_tokenizer(load_tokenizer(folder))
    assert own == digest_tokenizer(load_tokenizer(checkpoint_dir)) != bench.tokens.tokenizer
    metrics = evaluate(
        "a",
        folder,
        view,
        bench.store,
        bench.tokens,
        TASKS["classification"],
        EvaluationSettings(splits=("validation",), n_latency_repeats=1, n_latency_examples=4),
        tmp_path / "evaluation",
        objectives=list(WHOLE_EXAMPLES),
        inputs={},
        device=torch.device("cpu"),
    )
    scores = metrics["splits"]["validation"]
    assert scores["student"]["accuracy"] == pytest.approx(trained.scores["accuracy"])
    assert metrics["cost"]["student"]["latency_ms"] > 0
    with pa.ipc.open_file(tmp_path / "evaluation" / "validation.arrow") as file:
        written = file.read_all()
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert model.config.id2label == {0: "negative", 1: "positive"}
    tokenizer = load_tokenizer(folder)
    for row in (0, 7, 19):
        inputs = tokenizer(written["text"][row].as_py(), return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs).logits[0].tolist()
        # Rows in batches of other shapes: float32 sums of some 16 terms in another order.
        assert written["student_logits"][row].as_py() == pytest.approx(logits, abs=1e-5)
    theirs = open_store(bench.store)
    rows = theirs.find(bench.tokens.splits["validation"].keys).tolist()
    assert written["teacher_logits"].to_pylist() == theirs.logits(rows).tolist()


def joined(bench: Bench, student_split: TokenSplit) -> JoinedSplit:
    needs = Needs(teacher=frozenset({Array(LOGITS), CLS_STATES}))
    return JoinedSplit(
        bench.tokens.splits["train"],
        open_store(bench.store),
        needs,
        Inputs(PAD_ID, has_token_types=False),
        student_split=student_split,
    )


def is_aligned(bench: Bench, rows: JoinedSplit, checkpoint: Path) -> bool:
    """Say whether texts, labels and teacher logits of a batch belong together."""
    chosen = np.array([31, 2, 58, 17])
    batch, split = rows.read(chosen), bench.tokens.splits["train"]
    store = open_store(bench.store)
    mask = batch.inputs["attention_mask"].bool()
    assert batch.inputs["input_ids"][~mask].eq(PAD_ID).all()
    tokenizer = load_tokenizer(checkpoint)
    texts = tokenizer.batch_decode(
        [ids[real] for ids, real in zip(batch.inputs["input_ids"], mask, strict=True)],
        skip_special_tokens=True,
    )
    logits = batch.teacher().logits
    assert logits is not None
    expected = store.logits(store.find(split.keys[chosen]).tolist())
    return (
        texts == [split.table["text"][row].as_py() for row in chosen.tolist()]
        and batch.labels.tolist() == split.labels[chosen].tolist()
        and torch.equal(logits, expected)
    )


def test_rows_stay_with_their_teachers(bench: Bench, checkpoint_dir: Path) -> None:
    """Catches a student that learns the next text's label; a shift by one row is seen."""
    tokenizer = load_tokenizer(checkpoint_dir)
    own = split_for(
        bench.tokens, task_of(bench.tokens), "train", tokenizer, most_tokens=64, is_shown=False
    )
    teachers = bench.tokens.splits["train"]
    assert (own.lengths == teachers.lengths + 1).all(), "these tokens are not the teacher's"
    assert own.keys is teachers.keys and own.labels is teachers.labels
    assert is_aligned(bench, joined(bench, own), checkpoint_dir)
    n = len(own)
    order = np.roll(np.arange(n), 1)
    ids = np.concatenate([own.row(row)[0] for row in order])
    shifted = replace(own, input_ids=ids)  # all rows are equally long
    assert not is_aligned(bench, joined(bench, shifted), checkpoint_dir)


@pytest.mark.parametrize("objective", ["attentions", "hidden_states"])
def test_objectives_of_tokens_are_refused(
    tmp_path: Path, bench: Bench, checkpoint_dir: Path, objective: str
) -> None:
    """Catches states of one token compared with those of another, before step 0 or never."""
    options = {"heads": "mean"} if objective == "attentions" else {"projection": True}
    student = student_of(checkpoint_dir, **{objective: options})
    message = "token by token, but the student has another tokenizer than the teacher"
    with pytest.raises(SettingsError, match=rf"^students\.a\.objectives\.{objective}: .*{message}"):
        bench.view(student)
    plain = bench.view(student_of(checkpoint_dir, hard_label={}))
    with pytest.raises(SettingsError, match=message):
        bench.run(tmp_path / "a" / "a", student=student, view=plain)
    assert not (tmp_path / "a").exists()


def test_pairs_of_texts_stay_pairs(bench: Bench, checkpoint_dir: Path) -> None:
    """Catches second texts that are dropped, or that are another row's."""
    split = bench.tokens.splits["validation"]
    texts = split.table["text"].to_pylist()
    table = split.table.set_column(
        split.table.schema.get_field_index("text_pair"), "text_pair", pa.array(texts[::-1])
    )
    pairs = replace(bench.tokens, splits={"validation": replace(split, table=table)})
    tokenizer = load_tokenizer(checkpoint_dir)
    own = split_for(
        pairs, task_of(pairs), "validation", tokenizer, most_tokens=None, is_shown=False
    )
    both = [f"{text} {other}" for text, other in zip(texts, texts[::-1], strict=True)]
    assert texts_of(own, checkpoint_dir) == both
    ids, types, _ = own.row(3)
    assert types.tolist() == [0] * (8 + 3) + [1] * (8 + 1) and len(ids) == 20


@pytest.mark.parametrize(
    ("n_positions", "model_max_length", "longest"), [(64, 5, 5), (6, None, 6), (64, None, 11)]
)
def test_rows_are_cut_to_what_the_student_can_read(
    tmp_path: Path, bench: Bench, n_positions: int, model_max_length: int | None, longest: int
) -> None:
    """Catches positions that the student does not have, which fail in the midst of training."""
    folder = make_student_checkpoint(
        tmp_path / "short", n_positions=n_positions, model_max_length=model_max_length
    )
    student = student_of(folder, soft_target={})
    bench.run(tmp_path / "students" / "a", student=student, epochs=1)
    tokenizer = load_tokenizer(folder)
    own = split_for(
        bench.tokens,
        task_of(bench.tokens),
        "train",
        tokenizer,
        most_tokens=n_positions,
        is_shown=False,
    )
    assert own.lengths.max() == longest


def test_rows_of_the_teachers_tokens_are_not_cut(tmp_path: Path, bench: Bench) -> None:
    """Catches an IndexError in the midst of training, or maps of other tokens compared."""
    folder = make_student_checkpoint(tmp_path / "short", is_teachers_tokenizer=True, n_positions=6)
    message = (
        "train has rows of up to 10 tokens, the student reads at most 6. Start it from another "
        "checkpoint, or lower tokenizer.max_length."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        bench.run(tmp_path / "students" / "a", student=student_of(folder, soft_target={}))


def test_texts_without_tokens_are_refused(tmp_path: Path, bench: Bench) -> None:
    """Catches rows of no token, whose attention is not a number."""
    make_other_tokenizer(tmp_path / "empty")
    tokenizer = load_tokenizer(tmp_path / "empty")
    backend = tokenizer.backend_tokenizer
    backend.post_processor = None
    backend.normalizer = normalizers.Replace("xyzzy", "")
    split = bench.tokens.splits["train"]
    unknown = pa.array(["film", "xyzzy", *split.table["text"].to_pylist()[2:]])
    table = split.table.set_column(split.table.schema.get_field_index("text"), "text", unknown)
    tokens = replace(bench.tokens, splits={"train": replace(split, table=table)})
    with pytest.raises(DataError, match=r"leaves no token of 1 of 60 texts of train\."):
        split_for(tokens, task_of(tokens), "train", tokenizer, most_tokens=None, is_shown=False)
