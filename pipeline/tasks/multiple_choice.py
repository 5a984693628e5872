"""Which of several answers to a question is right.

Each choice is a row, a text and the choice; a question is a group of rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy, in_one
from pipeline.tasks.choices import named_choices, read_choices, right_choices, with_choice
from pipeline.tasks.columns import Columns
from pipeline.tasks.predictions import arrange, places_of_parts
from pipeline.tasks.task import OTHER_TOKENIZER, Place, Task, Tokenising, TrainerLoss, joined_labels
from pipeline.text.columns import ColumnSettings, without_blanks, without_mark
from pipeline.text.corpus import Corpus
from pipeline.text.source import Source
from pipeline.text.tokenise import Ids, TokenisedTexts, make_rows
from pipeline.text.tokens import UNLABELLED, Labels, TokenSplit

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


@final
@dataclass(frozen=True)
class MultipleChoice(Task):
    """Which of a question's choices is right.

    In the source a string that says which, or its position where choices have names, beside the
    columns `choices` and `question` (null where there is none); in the table 1 for the right
    choice's row and 0 for the others.
    """

    metrics: tuple[str, ...] = ("accuracy", "expected_calibration_error")

    kind = "multiple_choice"
    auto_class = "AutoModelForMultipleChoice"
    predicts = "choice"
    columns = Columns(("text", "choices", "label"), ("question", "unlabelled"), ("choices",))
    label_kind = "choice"
    label_type = pa.int64()
    more_fields = MappingProxyType({"choice": pa.int32()})
    not_varied = "the rows of a multiple choice are choices of questions, which variants are not"
    not_retokenised = (
        f"a multiple choice cuts its rows by the teacher's tokens, but {OTHER_TOKENIZER}"
    )

    def read(self, source: Source, columns: ColumnSettings, split: str) -> pa.Table:
        """Return texts, the choices of a question about each, and the question if it has one."""
        self.check_columns(source, columns)
        question, nothing = columns.question, pa.nulls(len(source.table), pa.string())
        return pa.table(
            {
                "text": source.strings("text", columns.text),
                "text_pair": nothing,
                "question": nothing if question is None else source.strings("question", question),
                "choices": read_choices(source, columns),
                "label": self.read_labels(source, columns, split),
            }
        )

    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return strings that say which choice is right, or positions."""
        (theirs,) = self.label_columns(columns)
        labels = without_blanks(without_mark(source.strings("label", theirs), columns.unlabelled))
        if isinstance(columns.choices, str):
            return named_choices(source, columns.choices, labels)
        return labels

    def label_names(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> list[str]:
        """Return the name of the one output, a choice's logit."""
        return ["choice"]

    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return the right choice's position."""
        return right_choices(corpus)

    def is_labelled(self, encoded: pa.Array) -> NDArray[np.bool_]:
        """Say of each question whether its right choice is known."""
        return np.asarray(as_numpy(encoded) >= 0)

    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return how many choices questions have."""
        counts = pc.list_value_length(train["choices"])
        low, high = pc.min(counts).as_py(), pc.max(counts).as_py()
        several = f"{low}" if low == high else f"{low} to {high}"
        n_labelled = int(self.is_labelled(encoded).sum())
        return f"which of {several} choices is right, of {n_labelled:,} of {len(train):,} questions"

    def describe_labels(self, table: pa.Table, names: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Return how many questions are labelled, and how many there are."""
        numbers = as_numpy(in_one(table["label"]))
        n_questions = int(pc.sum(pc.equal(table["choice"], 0)).as_py() or 0)
        return int((numbers == 1).sum()), {"n_questions": n_questions}

    def tokenise(
        self, table: pa.Table, labels: pa.Array, how: Tokenising, place: Place
    ) -> TokenisedTexts:
        """Tokenise each text with each choice of its question behind it.

        Where a row is too long, the text loses its end and the question with its choice stays
        whole; only one that is longer than the limit on its own is cut too (`n_choices_cut`).
        """
        choices = table["choices"].to_pylist()
        sizes = [len(of_one) for of_one in choices]
        firsts = [
            text
            for text, size in zip(table["text"].to_pylist(), sizes, strict=True)
            for _ in range(size)
        ]
        seconds = [
            with_choice(question, choice)
            for question, of_one in zip(table["question"].to_pylist(), choices, strict=True)
            for choice in of_one
        ]
        numbers = [number for size in sizes for number in range(size)]
        is_right = [
            UNLABELLED if answer == UNLABELLED else int(number == answer)
            for answer, size in zip(labels.to_pylist(), sizes, strict=True)
            for number in range(size)
        ]
        is_long = _are_too_long(seconds, how.tokenizer, how.max_length)
        input_ids, type_ids, is_cut = _encode(
            firsts, seconds, is_long, how.tokenizer, how.max_length
        )
        is_right_column = pa.array(is_right, self.label_type)
        rows = make_rows(
            input_ids, type_ids, is_right_column, firsts, seconds, self.schema, [numbers]
        )
        return TokenisedTexts(rows, is_cut, {"n_choices_cut": int(is_long.sum())})

    def trainer_labels(self, examples: Sequence[tuple[int, Labels]], mask: "Tensor") -> "Tensor":
        """Return (row, 2): which question of the batch a row is of, and whether it is right."""
        import torch

        counts = [n_rows for n_rows, _ in examples]
        questions = torch.from_numpy(np.repeat(np.arange(len(examples)), counts))
        return torch.stack([questions, joined_labels(examples)], 1)

    def trainer_loss(self) -> TrainerLoss:
        """Return the cross entropy over a question's choices; Transformers knows no such."""
        return loss_of_questions

    def kept_logits(self) -> Callable[[Any, Any], Any]:
        """Return what puts the logits of a question's choices beside each other."""
        return logits_of_questions

    def parts_of(
        self, split: TokenSplit, logits: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the offsets of questions' choices, and their logits."""
        return split.first_rows, logits[:, :, None]


def logits_of_questions(
    logits: "Float[Tensor, 'row 1']", labels: "Int[Tensor, 'row 2']"
) -> "Float[Tensor, 'question choice']":
    """Return the logits of each question's choices, as `tasks.predictions` arranges them."""
    return arrange(logits.float(), "choice", _places(labels))


def loss_of_questions(
    outputs: Mapping[str, "Tensor"], labels: "Tensor", num_items_in_batch: "Tensor | None" = None
) -> "Tensor":
    """Return the mean over questions of -log softmax(logits of its choices)[right], in nats.

    A question may have more choices than another.
    """
    from torch.nn.functional import cross_entropy

    places = _places(labels)
    right = (labels[:, 1][places.clamp(min=0)] * (places >= 0)).argmax(1)
    return cross_entropy(logits_of_questions(outputs["logits"], labels), right)


def _places(labels: "Int[Tensor, 'row 2']") -> "Int[Tensor, 'question choice']":
    """Return which row is each choice of a question, -1 where there is none."""
    import torch

    counts = labels[:, 0].bincount().cpu().numpy()
    return torch.from_numpy(places_of_parts(counts)).to(labels.device)


def _are_too_long(
    seconds: Sequence[str], tokenizer: "PreTrainedTokenizerFast", max_length: int
) -> NDArray[np.bool_]:
    """Say which second texts leave no room for a token of the first."""
    ids = tokenizer(list(seconds), add_special_tokens=False, return_attention_mask=False)
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - 1
    return np.array([len(row) > room for row in ids["input_ids"]], dtype=bool)


def _encode(
    firsts: Sequence[str],
    seconds: Sequence[str],
    is_long: NDArray[np.bool_],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> tuple[Ids, Ids, NDArray[np.bool_]]:
    """Return token ids, type ids, and which rows lost tokens; both texts of `is_long` may."""
    input_ids: list[list[int]] = [[]] * len(firsts)
    type_ids: list[list[int]] = [[]] * len(firsts)
    is_cut = np.zeros(len(firsts), dtype=bool)
    for truncation, rows in (
        ("only_first", np.flatnonzero(~is_long).tolist()),
        ("longest_first", np.flatnonzero(is_long).tolist()),
    ):
        if not rows:
            continue
        encoded = tokenizer(
            [firsts[row] for row in rows],
            [seconds[row] for row in rows],
            truncation=truncation,
            max_length=max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        for row, ids, types, encoding in zip(
            rows,
            encoded["input_ids"],
            encoded["token_type_ids"],
            encoded.encodings or (),
            strict=True,
        ):
            input_ids[row], type_ids[row] = ids, types
            is_cut[row] = bool(encoding.overflowing)
    return input_ids, type_ids, is_cut
