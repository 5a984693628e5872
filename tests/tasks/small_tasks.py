"""Small data and tiny teachers for every kind of task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BartConfig, BertConfig

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.settings import parse_section
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind, MaskingSettings
from pipeline.tasks.token_table import write_tokens
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokenise import TokenizerSettings
from pipeline.text.tokens import Tokens, open_tokens
from tests.conftest import BAD, GOOD, make_sentences, make_tokenizer

Row = dict[str, Any]
KINDS: tuple[Kind, ...] = tuple(TASKS)
NEW_KINDS = tuple(kind for kind in KINDS if kind != "classification")
N_TRAIN, N_VALIDATION = 40, 16
TAGS = {**dict.fromkeys(GOOD, "B-GOOD"), **dict.fromkeys(BAD, "B-BAD"), "very": "I-GOOD"}
COLUMNS: dict[Kind, dict[str, Any]] = {
    "classification": {"text": "text", "text_pair": "other", "label": "label"},
    "multiple_choice": {"text": "text", "choices": "options", "label": "answer"},
    "question_answering": {"text": "text", "question": "question", "label": "answers"},
    "masked_lm": {"text": "text"},
    "sequence_to_sequence": {"text": "text", "target": "target"},
}
"""Of what is read from other columns than `text` and `label`."""


def _pair(text: str, label: str, number: int) -> Row:
    return {"text": text, "other": f"the story was {label} and {number % 7}", "label": label}


def _labels(text: str, label: str, number: int) -> Row:
    held = [label, *(["long"] if len(text.split()) > 10 else [])]
    return {"text": text, "label": held if number % 5 else []}


def _number(text: str, label: str, number: int) -> Row:
    return {"text": text, "label": len(text.split()) / 10 + (label == "positive")}


def _tags(text: str, label: str, number: int) -> Row:
    words = text.split()
    return {"text": words, "label": [TAGS.get(word, "O") for word in words]}


def _question(text: str, label: str, number: int) -> Row:
    """Return a question with one to four choices, of which the right one is of the label."""
    options = [" ".join((BAD if label == "positive" else GOOD)[: 1 + i]) for i in range(number % 4)]
    right = number % (len(options) + 1)
    options.insert(right, (GOOD if label == "positive" else BAD)[number % 5])
    return {"text": text, "options": options, "answer": "ABCD"[right]}


def _answer(text: str, label: str, number: int) -> Row:
    """Return a question about the word that gives the label away, or about none."""
    words = text.split()
    found = " ".join(word for word in words if word in (*GOOD, *BAD)) if number % 6 else ""
    answers = {"text": [found] * bool(found), "answer_start": [text.find(found)] * bool(found)}
    question = "was the film" if number % 6 else "was the"
    return {"text": text, "question": question, "answers": answers}


def _text(text: str, label: str, number: int) -> Row:
    return {"text": text}


def _target(text: str, label: str, number: int) -> Row:
    """Return a text and its first words, in their reversed order."""
    return {"text": text, "target": " ".join(text.split()[: 3 + number % 4][::-1])}


_ROWS: dict[Kind, Callable[[str, str, int], Row]] = {
    "classification": _pair,
    "multi_label": _labels,
    "regression": _number,
    "token_classification": _tags,
    "multiple_choice": _question,
    "question_answering": _answer,
    "masked_lm": _text,
    "sequence_to_sequence": _target,
}


def make_rows(kind: Kind, n_rows: int, seed: int = 0) -> list[Row]:
    """Return rows of a kind of task, one of eleven unlabelled where there are labels.

    Those of `classification` are pairs.

    The first seven are labelled.
    """
    rows = [_ROWS[kind](*row, number) for number, row in enumerate(make_sentences(n_rows, seed))]
    columns = COLUMNS.get(kind, {"label": "label"})
    label = columns.get("label", columns.get("target"))
    if label is None:
        return rows
    return [{**row, label: None} if n % 11 == 7 else row for n, row in enumerate(rows)]


def write_data(folder: Path, kind: Kind, n_test: int = 0) -> None:
    """Write the splits of a kind of task as JSON lines."""
    folder.mkdir(parents=True)
    sizes = {"train": N_TRAIN, "validation": N_VALIDATION, "test": n_test}
    for seed, (split, n_rows) in enumerate(sizes.items()):
        lines = [json.dumps(row) + "\n" for row in make_rows(kind, n_rows, seed)]
        if lines:
            (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def make_tokens(folder: Path, kind: Kind, checkpoint: Path, length: int | None = None) -> Tokens:
    """Write data and their token table below `folder`, and open it."""
    write_data(folder / "data", kind)
    section = {"source": "files", "path": str(folder / "data"), "columns": COLUMNS.get(kind, {})}
    settings = parse_section(DataSettings, section, "data")
    task = TASKS[kind]
    corpus = read_corpus(settings, task.read)
    names = task.label_names(corpus, None)
    (folder / "tokens").mkdir()
    tokenizer = load_tokenizer(checkpoint)
    # Texts without labels are put behind one another: then there are as many rows as of others.
    length = length or (16 if kind == "masked_lm" else 64)
    limits = TokenizerSettings(checkpoint=str(checkpoint), max_length=length)
    how = task.tokenising(tokenizer, limits, MaskingSettings(), checkpoint)
    write_tokens(corpus, task, names, None, how, folder / "tokens")
    return open_tokens(folder / "tokens")


LABELS: dict[Kind, tuple[str, ...]] = {
    "classification": ("negative", "positive"),
    "multi_label": ("long", "negative", "positive"),
    "regression": ("score",),
    "token_classification": ("B-BAD", "B-GOOD", "I-GOOD", "O"),
    "multiple_choice": ("choice",),
    "question_answering": ("start", "end"),
    "masked_lm": (),
    "sequence_to_sequence": (),
}
"""In the order of their numbers, which is alphabetic where the data names them."""


def make_teacher(folder: Path, kind: Kind, labels: tuple[str, ...] | None = None) -> Path:
    """Save a random BERT of two layers with a kind's head, whose bias is random too.

    What is written for another text is by a BART of two layers on either side.
    """
    make_tokenizer(folder)
    names = LABELS[kind] if labels is None else labels
    torch.manual_seed(7)  # not that of the students, which would be the teacher
    config = _bart() if kind == "sequence_to_sequence" else _bert(names)
    model = TASKS[kind].auto_model.from_config(config)
    bias = head_of(model).bias
    if bias is not None:
        nn.init.normal_(bias)
    model.save_pretrained(folder)
    return folder


def _bert(names: tuple[str, ...]) -> BertConfig:
    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.2,  # else attention maps are all but uniform
    )
    if names:
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
    return config


def _bart() -> BartConfig:
    return BartConfig(
        vocab_size=32,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        init_std=0.2,
        dropout=0.0,  # which is no module here, that a test could turn off
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=2,
        forced_eos_token_id=3,
    )


def head_of(model: nn.Module) -> nn.Linear:
    """Return the layer of a BERT, or a BART, that gives the logits."""
    *_, head = (module for module in model.modules() if isinstance(module, nn.Linear))
    return head
