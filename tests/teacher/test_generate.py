"""Texts that a teacher writes: what each row gets, and the table that they make."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import CheckpointError, DataError, SettingsError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.tasks import TASKS
from pipeline.tasks.task import Place, Tokenising
from pipeline.teacher.generate import generate
from pipeline.teacher.generation_settings import GenerationSettings
from pipeline.teacher.load import load_teacher
from pipeline.text.joined import GENERATED, with_generated, with_generated_last
from pipeline.text.tokenise import write_no_variants, write_table
from pipeline.text.tokens import Tokens, open_tokens
from tests.conftest import make_model, make_tokenizer
from tests.two_stacks import EOS, START, make_two_stacks

TASK = TASKS["sequence_to_sequence"]
CPU = torch.device("cpu")
Rows = dict[str, list[tuple[str, str | None]]]
ROWS: Rows = {
    "train": [
        ("the film was a bit dull", "the story"),
        ("a warm story", "warm"),
        ("the acting was lovely and the film was very fresh", "fresh acting"),
        ("a warm story", "a story"),
    ],
    "validation": [("a warm story", "story"), ("the film", None)],
}


def make_table(folder: Path, teacher: Path, rows_of: Rows = ROWS) -> Tokens:
    """Write texts with their targets as a token table."""
    tokenizer = load_tokenizer(teacher)
    folder.mkdir()
    parts = {
        split: [
            TASK.tokenise(
                pa.table(dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))),
                pa.array([target for _, target in rows]),
                Tokenising(tokenizer, 16, decoder_start=START),
                Place(split, 1),
            )
        ]
        for split, rows in rows_of.items()
    }
    made_with = {"decoder_start": START}
    write_table(parts, TASK, (), digest_tokenizer(tokenizer), 16, folder, made_with=made_with)
    return open_tokens(folder)


def make_teacher(folder: Path, model_type: str) -> Path:
    make_tokenizer(folder)
    make_two_stacks(model_type).save_pretrained(folder)
    return folder


def run(tmp_path: Path, teacher: Path, tokens: Tokens, **given: Any) -> Tokens:
    folder = tmp_path / "generated"
    folder.mkdir()
    generate(teacher, tokens, TASK, GenerationSettings(**given), folder, device=CPU)
    return open_tokens(folder)


@pytest.mark.parametrize("model_type", ["t5", "bart", "marian", "encoder-decoder"])
def test_each_row_gets_what_the_teacher_writes_for_it_alone(
    tmp_path: Path, model_type: str
) -> None:
    """Catches texts that padding changes, texts of other rows, and a start that is a piece."""
    teacher = make_teacher(tmp_path / "teacher", model_type)
    tokens = make_table(tmp_path / "tokens", teacher)
    splits = ("train", "validation")
    written = run(tmp_path, teacher, tokens, splits=splits, num_beams=3, max_new_tokens=9)
    model: Any = make_two_stacks(model_type)
    tokenizer = load_tokenizer(teacher)
    assert set(written.splits) == set(splits) and written.source == tokens.digest
    texts = set()
    for name in splits:
        split = written.splits[name]
        assert len(split) == len(ROWS[name])
        for number in range(len(split)):
            row = split.row(number)
            ids = torch.from_numpy(row.ids.astype(np.int64))[None]
            alone = model.generate(
                input_ids=ids,
                num_beams=3,
                do_sample=False,
                max_new_tokens=9,
                decoder_start_token_id=START,
                eos_token_id=EOS,
                pad_token_id=0,
            )[0].tolist()
            assert row.asked is not None and row.asked.decoder_ids is not None
            pieces = row.asked.pieces.tolist()
            assert alone[1:] == pieces, number
            assert row.asked.decoder_ids.tolist() == alone[:-1]
            assert np.array_equal(row.ids, tokens.splits[name].row(number).ids)
            assert row.key() == split.keys[number].tobytes()
            expected = tokenizer.decode(pieces, skip_special_tokens=True)
            assert split.table["text_pair"][number].as_py() == expected
            assert split.table["text"][number].as_py() == ROWS[name][number][0]
            texts.add(tuple(pieces))
    assert len(texts) > 1  # not one text for all


def test_sources_alone_are_written_for(tmp_path: Path) -> None:
    """Catches a start of texts that is guessed from the data's own, where there are none."""
    teacher = make_teacher(tmp_path / "teacher", "marian")
    sources: Rows = {split: [(text, None) for text, _ in rows] for split, rows in ROWS.items()}
    found = []
    for name, rows in (("own", ROWS), ("none", sources)):
        tokens = make_table(tmp_path / f"{name}-tokens", teacher, rows)
        (tmp_path / name).mkdir()
        found.append(run(tmp_path / name, teacher, tokens, splits=("train",)).splits["train"])
    assert found[0].labels.tolist() == found[1].labels.tolist()
    assert [key.tobytes() for key in found[0].keys] == [key.tobytes() for key in found[1].keys]


def test_students_train_on_the_chosen_texts(tmp_path: Path) -> None:
    """Catches the data's own texts in training on the teacher's, and a table of another table."""
    teacher = make_teacher(tmp_path / "teacher", "marian")
    tokens = make_table(tmp_path / "tokens", teacher)
    written = run(tmp_path, teacher, tokens, splits=("train",), num_beams=1)
    own, theirs = tokens.splits["train"], written.splits["train"]
    assert not np.array_equal(own.labels, theirs.labels)
    assert with_generated(tokens, written, "data") is tokens
    alone = with_generated(tokens, written, "teacher")
    assert np.array_equal(alone.splits["train"].labels, theirs.labels)
    both = with_generated(tokens, written, "both")
    train = both.splits["train"]
    assert len(train) == 2 * len(own)
    for number in range(len(own)):
        for split, at in ((own, number), (theirs, len(own) + number)):
            assert train.row(at).key() == split.row(number).key()
    captured = with_generated_last(tokens, written)
    assert list(captured.splits) == [*tokens.splits, GENERATED]
    digests = {table.digest for table in (tokens, alone, both)}
    assert len(digests) == 3
    with pytest.raises(DataError, match=r"^the teacher's texts are not of this token table: they"):
        with_generated(replace(tokens, digest="0" * 64), written, "both")


def test_without_splits_there_is_a_table_without_rows(tmp_path: Path) -> None:
    """Catches a teacher that is loaded for nothing, and a capture of no rows."""
    teacher = make_teacher(tmp_path / "teacher", "marian")
    tokens = make_table(tmp_path / "tokens", teacher)
    (teacher / "model.safetensors").unlink()
    (tmp_path / "generated").mkdir()
    write_no_variants(tokens, TASK, tmp_path / "generated")
    written = open_tokens(tmp_path / "generated")
    assert [len(split) for split in written.splits.values()] == [0]
    assert with_generated_last(tokens, written) is tokens
    with pytest.raises(DataError, match=r"Add train to generation.splits and run 'dvc repro gen"):
        with_generated(tokens, written, "teacher")
    message = (
        f"{teacher} has no weights, so it writes no text. Set generation.splits to [], or name the "
        "same teacher as teacher.checkpoint."
    )
    (tmp_path / "again").mkdir()
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        run(tmp_path / "again", teacher, tokens, splits=("train",))


def test_longer_texts_than_rows_are_refused(tmp_path: Path) -> None:
    """Catches rows that a store of this length limit cannot hold."""
    teacher = make_teacher(tmp_path / "teacher", "marian")
    tokens = make_table(tmp_path / "tokens", teacher)
    with pytest.raises(SettingsError) as raised:
        run(tmp_path, teacher, tokens, splits=("train",), max_new_tokens=17)
    assert raised.value.faults == (
        "generation.max_new_tokens: 17 is more than tokenizer.max_length, 16, the longest row of "
        "a token table; lower it, or leave it out",
    )


@pytest.mark.parametrize(
    ("task", "model_type", "message"),
    [
        (
            "sequence_to_sequence",
            "gpt2",
            "a model of type 'gpt2' has no decoder beside an encoder, which a "
            "sequence_to_sequence needs. Use one of bart, encoder-decoder, marian, mbart, mt5, t5.",
        ),
        (
            "classification",
            "t5",
            "a model of type 't5' has a decoder beside its encoder, which only a "
            "sequence_to_sequence can use, not a classification. Use an encoder, such as a BERT.",
        ),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(
    tmp_path: Path, task: str, model_type: str, message: str
) -> None:
    """Catches a model that is found to be none for the task when it is called, or never."""
    model = make_two_stacks("t5") if model_type == "t5" else make_model(model_type)
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"^{re.escape(f'{tmp_path}: {message}')}$"):
        load_teacher(tmp_path, TASKS[task], (), needs_head=True)
