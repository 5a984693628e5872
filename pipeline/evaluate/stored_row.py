"""One row of a teacher store, found by its key or its text, with what the teacher said of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError, StoreIncompleteError
from pipeline.signals.attentions import ATTENTIONS
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import TEACHER_FOLDER, parse_array_name
from pipeline.tasks import TASKS
from pipeline.tasks.task import BY_TOKEN
from pipeline.text.token_row import PiecesAsked, TokenRow, token_names
from pipeline.text.tokens import SUMMARY_NAME, open_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_KEY = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


@dataclass(frozen=True)
class StoredPiece:
    """One place that asks for a piece."""

    place: str
    """Such as `token 4`, or of a decoder `piece 1`."""
    likeliest: str
    probability: float
    right: str | None
    """None where only the row's key is known."""
    right_probability: float

    @property
    def found(self) -> str:
        """What the teacher puts first beside what is right, for people."""
        right = "right" if self.right is None else f"right: {self.right}"
        return f"{self.likeliest} {self.probability:.4f}, {right} {self.right_probability:.4f}"


@dataclass(frozen=True)
class StoredRow:
    """A row and what is known of it."""

    key: bytes
    number: int
    """In the order of the open store."""
    n_tokens: int
    segment: str
    tokens: tuple[str, ...] | None
    """As the tokenizer names them; None where only the key is known."""
    source: str | None
    """Where the row is in the token table, such as `row 12 of validation`."""
    scores: dict[str, float]
    """By label name, in order of the labels' numbers: probabilities, of several labels each its
    own; the number itself of a regression, the logit of a question's choice. Empty where each
    token has a label."""
    of_tokens: tuple[tuple[str, float], ...] = ()
    """Each token's likeliest label and its probability, where the teacher labels words."""
    pieces: tuple[StoredPiece, ...] = ()
    """Where the teacher predicts word pieces; empty of a row that asks for none."""

    @property
    def prediction(self) -> str:
        """What the teacher says in a few words: the first of its scores, or each label found."""
        if not self.scores and not self.of_tokens:
            return " ".join(piece.likeliest for piece in self.pieces) or "nothing is asked for"
        if self.of_tokens:
            return " ".join(sorted({label for label, _ in self.of_tokens}))
        label = max(self.scores, key=lambda name: self.scores[name])
        return f"{label} {self.scores[label]:.3f}"


def is_key(wanted: str) -> bool:
    """Say whether this is a row's key, 32 hex digits, and not a text."""
    return _KEY.fullmatch(wanted) is not None


def find_row(
    store: TeacherStore, wanted: str, pair: str | None = None, tokens_dir: Path | None = None
) -> StoredRow:
    """Return the row with the key or the text `wanted`; a text may have a second one, `pair`.

    A text is tokenised by the tokenizer that the store carries, and cut at the store's
    length limit. The tokens of a key are looked up in the token table `tokens_dir`,
    where there is one that was made with the same tokenizer.

    Raises:
        StoreIncompleteError: the store has no such row.
        StoreMismatchError: the tokenizer that the store carries is not its own.
        CheckpointError: it carries none that can be used.
        DataError: rows of its task are not found by their text.
    """
    row, source = None, None
    task = TASKS[store.manifest.identity.task]
    if is_key(wanted):
        key = bytes.fromhex(wanted)
    elif task.predicts == "piece":
        raise DataError(
            f"a row of a {task.kind} is more than its text: the word pieces that it asks for are "
            f"a part of it. Give its key, column 'key' of {tokens_dir or 'the token table'}."
        )
    else:
        row = _tokenise(store, wanted, pair)
        key = row.key()
    number = int(store.coverage(np.array([key], dtype=f"V{len(key)}")).rows[0])
    if number < 0:
        what = f"no row {key.hex()}"
        if not is_key(wanted):
            limit = store.manifest.identity.max_length
            what = f"no row of this text, cut at {limit} tokens (key {key.hex()})"
        remedy = (
            "Give a text of the data that was captured, or add it to the data and run 'dvc repro "
            "capture'."
        )
        if pair is None and _has_second_text(wanted, tokens_dir):
            remedy = (
                "The data has this text with a second one: give that with --pair, or the row's "
                f"key, column 'key' of {tokens_dir}."
            )
        raise StoreIncompleteError(
            f"{store.store_dir} has {what}; it holds {len(store):,} rows. {remedy}"
        )
    if is_key(wanted):
        row, source = _look_up(store, key, tokens_dir)
    pieces: tuple[StoredPiece, ...] = ()
    if task.predicts == "piece":
        asked = None if row is None else row.asked
        pieces = stored_pieces(store, number, _tokenizer(store), asked)
    scores, of_tokens = ({}, ()) if task.predicts == "piece" else _answers(store, number)
    ends = np.cumsum([segment.n_rows for segment in store.manifest.segments])
    return StoredRow(
        key=key,
        number=number,
        n_tokens=int(store.lengths[number]),
        segment=store.manifest.segments[int(np.searchsorted(ends, number, side="right"))].name,
        tokens=None if row is None else _names(store, row.ids),
        source=source,
        scores=scores,
        of_tokens=of_tokens,
        pieces=pieces,
    )


def _answers(
    store: TeacherStore, number: int
) -> tuple[dict[str, float], tuple[tuple[str, float], ...]]:
    """Return a row's scores by label, or each token's label and its probability."""
    identity = store.manifest.identity
    task, logits = TASKS[identity.task], store.logits([number])
    if task.predicts in BY_TOKEN:
        # One token of all begins an answer, while each has one of the labels.
        odds, labels = logits.softmax(0 if task.predicts == "span" else -1).max(-1)
        names = (identity.labels[label] for label in labels.tolist())
        return {}, tuple(zip(names, odds.tolist(), strict=True))
    if task.predicts == "label":
        values = logits[0].sigmoid()
    elif task.has_one_class:
        values = logits[0].softmax(-1)
    else:
        values = logits[0]
    return dict(zip(identity.labels, values.tolist(), strict=True)), ()


def stored_pieces(
    store: TeacherStore,
    number: int,
    tokenizer: "PreTrainedTokenizerFast",
    asked: PiecesAsked | None,
) -> tuple[StoredPiece, ...]:
    """Return the row's places in order; `asked` is what it asks for, where that is known."""
    top = store.top_logits([number])
    first = (top.values[:, 0] - top.log_sum_exp).exp().clamp(max=1).tolist()
    own = (top.target - top.log_sum_exp).exp().clamp(max=1).tolist()
    likeliest = token_names(top.pieces[:, 0].tolist(), tokenizer)
    right: Sequence[str | None] = [None] * len(first)
    places = [f"piece {count}" for count in range(1, len(first) + 1)]
    if asked is not None:
        right = token_names(asked.pieces.tolist(), tokenizer)
        if asked.masked is not None:
            places = [f"token {place}" for place in asked.masked.tolist()]
    return tuple(map(StoredPiece, places, likeliest, first, right, own))


def attention_maps(
    store: TeacherStore, row: StoredRow, layer: int | None = None, head: int | None = None
) -> dict[int, Float[Tensor, "query key"]]:
    """Return a row's attention maps by layer, of one `head` or averaged over heads.

    All layers that were captured for the row, or only `layer`; heads are numbered from 0.

    Raises:
        StoreIncompleteError: that layer or head was not captured for this row.
    """
    teacher = store.manifest.teacher
    segment = next(part for part in store.manifest.segments if part.name == row.segment)
    specs = [parse_array_name(name) for name in segment.arrays]
    arrays = sorted((array for array in specs if array.signal == ATTENTIONS), reverse=True)
    captured = {array.layer: array for array in arrays}  # all heads win over their mean
    if layer is not None:
        if layer not in captured:
            held = ", ".join(map(str, sorted(captured))) or "none"
            raise StoreIncompleteError(
                f"{store.store_dir} has no attention maps of layer {layer} for this row; it has "
                f"layers {held}. Add it under capture.signals and run 'dvc repro capture'."
            )
        captured = {layer: captured[layer]}
    maps = {}
    for number, array in sorted(captured.items()):
        (n_maps,) = array.width(teacher)
        if head is not None and (array.heads == "mean" or head >= n_maps):
            held = "only the mean of its heads" if array.heads == "mean" else f"0 to {n_maps - 1}"
            raise StoreIncompleteError(
                f"{store.store_dir} has no head {head} of layer {number}; it has {held}."
            )
        flat = store.read(array, [row.number]).decode()
        by_head = flat.view(n_maps, row.n_tokens, row.n_tokens)
        maps[number] = by_head.mean(0) if head is None else by_head[head]
    return maps


def describe_row(row: StoredRow) -> str:
    """Return what is known of a row as text for people."""
    place = f"segment {row.segment}" + ("" if row.source is None else f", {row.source}")
    lines = [f"key         {row.key.hex()} ({place})", f"length      {row.n_tokens} tokens"]
    if row.tokens is not None:
        lines.append(f"tokens      {' '.join(row.tokens)}")
    scores = sorted(row.scores.items(), key=lambda item: -item[1])
    if row.of_tokens:
        tokens = row.tokens or [f"token {number}" for number in range(row.n_tokens)]
        scores = [
            (f"{token}  {label}", probability)
            for token, (label, probability) in zip(tokens, row.of_tokens, strict=True)
        ]
    for rank, piece in enumerate(row.pieces):
        lines.append(f"{'' if rank else 'teacher':<12}{piece.place}  {piece.found}")
    width = max((len(label) for label, _ in scores), default=0)
    for rank, (label, score) in enumerate(scores):
        heading = "" if rank else "teacher"
        lines.append(f"{heading:<12}{label:<{width}}  {score:.4f}")
    return "\n".join(lines)


def _tokenise(store: TeacherStore, text: str, pair: str | None) -> TokenRow:
    """Return a text's tokens as the token table has them."""
    encoded = _tokenizer(store)(
        text,
        pair,
        truncation=True,
        max_length=store.manifest.identity.max_length,
        return_token_type_ids=True,
    )
    ids, types = (np.array(encoded[name], np.int32) for name in ("input_ids", "token_type_ids"))
    return TokenRow(ids, types)


def _has_second_text(text: str, tokens_dir: Path | None) -> bool:
    """Say whether a row of the token table has this text as the first of two."""
    if tokens_dir is None or not (tokens_dir / SUMMARY_NAME).is_file():
        return False
    for split in open_tokens(tokens_dir).splits.values():
        is_first = pc.equal(split.table["text"], text)
        if pc.any(pc.and_(is_first, pc.is_valid(split.table["text_pair"]))).as_py():
            return True
    return False


def _look_up(
    store: TeacherStore, key: bytes, tokens_dir: Path | None
) -> tuple[TokenRow | None, str | None]:
    """Return the row of a key and where it is; None where it is not known."""
    if tokens_dir is None or not (tokens_dir / SUMMARY_NAME).is_file():
        return None, None
    tokens = open_tokens(tokens_dir)
    if tokens.tokenizer != store.manifest.identity.tokenizer:
        return None, None
    for name, split in tokens.splits.items():
        found = np.flatnonzero(split.keys == np.void(key))
        if len(found):
            return split.row(int(found[0])), f"row {found[0] + 1:,} of {name}"
    return None, None


def _names(store: TeacherStore, ids: NDArray[np.int32]) -> tuple[str, ...]:
    return tuple(_tokenizer(store).convert_ids_to_tokens(ids.tolist()))


def _tokenizer(store: TeacherStore) -> "PreTrainedTokenizerFast":
    tokenizer = load_tokenizer(store.store_dir / TEACHER_FOLDER)
    store.check(tokenizer=tokenizer)
    return tokenizer
