"""What every kind of task must do: a new one is tested by being listed in TASKS.

Its small data and its tiny teacher are in `tests.tasks.small_tasks`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError, SettingsError
from pipeline.core.fingerprint import digest_folder
from pipeline.metrics.scores import label_loss
from pipeline.models.head import load_trained
from pipeline.models.inputs import Inputs, ModelRows
from pipeline.models.predict import predict
from pipeline.tasks import TASKS, task_of
from pipeline.tasks.task import Kind, Tokenising
from pipeline.tasks.token_table import copy_tokens, split_for
from pipeline.teacher.labelled_examples import Collator, LabelledExamples
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.joined import with_augmented
from pipeline.text.tokens import is_labelled, open_tokens
from tests.conftest import GOOD, PLAIN, make_tokenizer
from tests.tasks.conftest import MakeSmall
from tests.tasks.small_tasks import KINDS, make_tokens


def tokenising_of(small: Any, length: int | None = None) -> Tokenising:
    """Return how a small table was made."""
    tokens = small.tokens
    tokenizer = load_tokenizer(small.teacher)
    return Tokenising(tokenizer, length or tokens.max_length, decoder_start=tokens.decoder_start)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_its_task_s(kind: Kind, small: MakeSmall) -> None:
    """Catches keys that depend on labels, columns of another task, and a task that is not found."""
    tokens, task = small(kind).tokens, TASKS[kind]
    assert task_of(tokens) is task
    split = tokens.splits["train"]
    assert split.table.schema.equals(task.schema)
    for index in range(len(split)):
        assert split.keys[index].tobytes() == split.row(index).key()
    known = is_labelled(split.labels)
    assert known.any() and split.has_label.any()
    assert split.has_label.all() == (kind == "masked_lm"), "masks alone need no labels"
    names = {other.label_kind for other in TASKS.values()}
    assert len(names) == len(TASKS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_table_is_of_the_task_or_refused(
    kind: Kind, small: MakeSmall, tmp_path: Path
) -> None:
    """Catches scores taken for numbers of classes, and columns that are not the task's."""
    own, how = small(kind), tokenising_of(small(kind))
    source = own.folder
    for other in set(KINDS) - {kind}:
        with pytest.raises(DataError, match=r"labels of the kind '\w+', task\.kind needs '\w+'"):
            copy_tokens(source, TASKS[other], how, tmp_path)
    copy_tokens(source, own.task, how, tmp_path)
    assert digest_folder(tmp_path) == digest_folder(source)
    summary = json.loads((source / "tokens.json").read_text(encoding="utf-8"))
    for other in set(KINDS) - {kind}:
        (tmp_path / "tokens.json").write_text(
            json.dumps(summary | {"label_kind": TASKS[other].label_kind}), encoding="utf-8"
        )
        if not TASKS[other].schema.equals(own.task.schema):
            with pytest.raises(DataError, match=rf"has other columns than .* of a {other}\."):
                copy_tokens(tmp_path, TASKS[other], how, tmp_path / "none")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_varied_without_labels_or_refused(
    kind: Kind, small: MakeSmall, tmp_path: Path
) -> None:
    """Catches variants that cannot be joined with their table, or that have made-up labels."""
    tokens, task = small(kind).tokens, TASKS[kind]
    tokenizer = load_tokenizer(small(kind).teacher)
    settings = AugmentationSettings(n_copies=2, mask_probability=0.5)
    if task.not_varied:
        with pytest.raises(SettingsError, match=rf"^augmentation\.n_copies: {task.not_varied}"):
            augment(tokens, task, tokenizer, settings, tmp_path)
        settings = AugmentationSettings()
    augment(tokens, task, tokenizer, settings, tmp_path)
    variants = open_tokens(tmp_path, made_by="augment")
    if task.not_varied:
        assert with_augmented(tokens, variants) is tokens
        return
    split, added = tokens.splits["train"], variants.splits["train"]
    assert len(added) > len(split)
    assert not is_labelled(added.labels).any()
    both = with_augmented(tokens, variants).splits["train"]
    assert len(both) == len(split) + len(added) == len(both.label_offsets) - 1
    width = len(split.labels) // len(split)
    assert (np.diff(both.label_offsets) == width).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_s_own_tokens_keep_labels_or_are_refused(
    kind: Kind, small: MakeSmall, tmp_path: Path
) -> None:
    """Catches labels of the teacher's tokens at those of a student with another tokenizer."""
    tokens, task = small(kind).tokens, TASKS[kind]
    limits: dict[str, Any] = {"most_tokens": None, "is_shown": False}
    teacher = load_tokenizer(small(kind).teacher)
    split = tokens.splits["train"]
    assert split_for(tokens, task, "train", teacher, **limits) is split
    make_tokenizer(tmp_path, (*PLAIN, *GOOD))
    other = load_tokenizer(tmp_path)
    if task.not_retokenised:
        with pytest.raises(DataError, match="the student has another tokenizer than the teacher"):
            split_for(tokens, task, "train", other, **limits)
        return
    own = split_for(tokens, task, "train", other, **limits)
    assert (own.keys == split.keys).all() and own.labels is split.labels
    assert not np.array_equal(own.input_ids, split.input_ids)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_lose_their_ends_with_every_tokenizer(
    kind: Kind, small: MakeSmall, tmp_path: Path
) -> None:
    """Catches texts, pairs, words or choices that lose their beginnings with one checkpoint, and
    a student's tokenizer that is saved to do so."""
    tables = []
    for side in ("right", "left", "left direction"):
        teacher = tmp_path / side / "teacher"
        make_tokenizer(teacher)
        if small(kind).tokens.decoder_start is not None:
            (teacher / "config.json").write_text('{"decoder_start_token_id": 2}')
        path = teacher / ("tokenizer.json" if "direction" in side else "tokenizer_config.json")
        content = json.loads(path.read_text(encoding="utf-8"))
        if "direction" in side:  # of the Tokenizers library, which no setting of Transformers' is
            limits = {"max_length": 8, "strategy": "LongestFirst", "stride": 0}
            content["truncation"] = {"direction": "Left", **limits}
        else:
            content["truncation_side"] = side
        path.write_text(json.dumps(content), encoding="utf-8")
        assert AutoTokenizer.from_pretrained(teacher).truncation_side == side.split()[0]
        tokens = make_tokens(tmp_path / side, kind, teacher, length=9)
        assert tokens.splits["train"].lengths.max() == 9
        tables.append(repr(tokens.splits["train"].table.to_pylist()))  # in which NaN is NaN
    assert tables[0] == tables[1] == tables[2]
    tokenizer = load_tokenizer(tmp_path / "left" / "teacher")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").truncation_side == "right"


@pytest.mark.parametrize("kind", KINDS)
def test_the_teacher_s_loss_is_what_validation_says(kind: Kind, small: MakeSmall) -> None:
    """Catches a teacher that learns something else than what students are compared by."""
    data = small(kind)
    split, tokenizer = data.tokens.splits["train"], load_tokenizer(data.teacher)
    examples = LabelledExamples(split, data.task)
    model = load_trained(data.teacher, data.task)
    batch = Collator(data.task, tokenizer)([examples[index] for index in range(len(examples))])
    loss = data.task.trainer_loss()
    with torch.no_grad():
        if loss is None:
            model.config.problem_type = data.task.problem_type
            found = model(**batch).loss
        else:
            labels = batch.pop("labels")
            found = loss(model(**batch), labels, None)
    rows = ModelRows(split, tokenizer, Inputs.of(model.config, tokenizer))
    answers = predict(model, rows, data.task, data.tokens.labels)
    # A mean of a few hundred terms in float32.
    assert float(found) == pytest.approx(label_loss(answers), rel=1e-5)
