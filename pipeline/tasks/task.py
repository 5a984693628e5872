"""What a kind of task is: one final class a kind, one file each, all of them in `TASKS`.

A task knows its columns and their faults, reads and encodes labels, makes rows of the token table,
says what is predicted of them, and gives the teacher's labels and loss. What only the report or a
model card says about a kind is wording there, so that wording never marks a teacher's stage.
torch is imported where it computes.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator
from tqdm import tqdm

from pipeline.core.settings import Section
from pipeline.tasks.columns import Columns, Lists, check_lists
from pipeline.text.columns import ColumnSettings
from pipeline.text.corpus import Corpus
from pipeline.text.source import Source
from pipeline.text.tokenise import STRIDE, TokenisedTexts, TokenizerSettings, tokenise
from pipeline.text.tokens import LabelFormat, Labels, TokenSplit

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from pipeline.tasks.predictions import AnswerTexts

Kind: TypeAlias = str
"""The name of a kind of task, a key of `TASKS`."""
Unit = Literal["row", "label", "token", "choice", "span", "piece"]
"""What one prediction is about: a row; each label of a row, yes or no; a word of a row; which
of several rows, the choices of one question, is right; which of a row's tokens a span of
them begins or ends with; or which token id of the whole vocabulary stands at a label position."""
BY_TOKEN: frozenset[Unit] = frozenset(("token", "span"))
"""Those that a model has logits of for each token, not one for each row."""

TEXTS_PER_CALL = 1000

OTHER_TOKENIZER = (
    "the student has another tokenizer than the teacher. Start it from one with the teacher's"
)


class MaskingSettings(Section):
    """masked_lm only: which tokens are masked, drawn once, when the texts become tokens."""

    probability: float = Field(default=0.15, gt=0, le=1)
    """Share of the tokens that may be masked; a row that has one has one masked at least."""
    whole_words: bool = False
    """Whether the tokens of a word are masked all or none, as the tokenizer tells words."""
    seed: int = Field(default=0, ge=0)


def _known(kind: str) -> str:
    from pipeline.tasks import TASKS  # which stands on this module

    if kind not in TASKS:
        raise ValueError(f"should be one of {', '.join(TASKS)}, got '{kind}'")
    return kind


class TaskSettings(Section):
    """The `task` section."""

    kind: Annotated[Kind, AfterValidator(_known)] = "classification"

    metrics: tuple[str, ...] | None = None
    """What models are judged by, in place of the kind's own; the first chooses a student's best
    weights and ranks students. The teacher's are chosen by the kind's own."""

    masking: MaskingSettings = MaskingSettings()
    """masked_lm only."""

    @model_validator(mode="after")
    def _only_a_masked_lm_masks(self) -> Self:
        from pipeline.tasks import TASKS

        if not TASKS[self.kind].masks and "masking" in self.model_fields_set:
            raise ValueError(
                f"only a masked_lm has masking; take it out, or set task.kind, which is {self.kind}"
            )
        return self


@dataclass(frozen=True)
class Tokenising:
    """How texts become rows."""

    tokenizer: "PreTrainedTokenizerFast"
    max_length: int
    """Longest row in tokens, special tokens included."""
    stride: int = STRIDE
    """question_answering only: as `TokenizerSettings` has it."""
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    """masked_lm only."""
    decoder_start: int | None = None
    """sequence_to_sequence only: the token that a decoder begins with."""


class Place(NamedTuple):
    """Where some rows of a corpus are, for messages."""

    split: str
    row: int
    """The number of the first, from 1."""

    def __str__(self) -> str:
        return f"{self.split}: row {self.row}"

    def plus(self, n_rows: int) -> "Place":
        """Return the place of a row behind this one."""
        return self._replace(row=self.row + n_rows)


TrainerLoss = Callable[[Mapping[str, Any], Any, Any], Any]
"""A loss as `Trainer` calls one: of outputs, labels and the number of items in the batch."""


@dataclass(frozen=True)
class Task(LabelFormat):
    """One kind of task."""

    metrics: tuple[str, ...]
    """Names of what models are judged by. The first chooses the best checkpoint and ranks
    students; whether larger is better of it, `METRICS` says."""

    kind: ClassVar[Kind]
    auto_class: ClassVar[str]
    """Name of the Transformers Auto class whose models have the task's head."""
    problem_type: ClassVar[str | None] = None
    """What Transformers calls the loss of a sequence classification head."""
    predicts: ClassVar[Unit]
    predicts_numbers: ClassVar[bool] = False
    """Whether predictions are numbers, near or far, and no classes with probabilities."""
    has_label_names: ClassVar[bool] = False
    """Whether labels are classes that the data name, the same for all examples."""
    has_one_class: ClassVar[bool] = False
    """Whether each row is of exactly one of these classes."""
    masks: ClassVar[bool] = False
    """Whether tokens are masked when the texts become tokens."""
    writes: ClassVar[bool] = False
    """Whether models write a text for each row, which takes a decoder."""

    columns: ClassVar[Columns]
    text_lists: ClassVar[Lists] = "refused"
    """Whether the column `text` holds lists of words."""
    label_lists: ClassVar[Lists | None] = "refused"
    """Whether the column `label` holds lists of labels; None where labels are not read there, or
    are no texts or numbers."""
    reads_docstrings: ClassVar[bool] = False
    """Whether the docstrings of installed libraries are data for it."""
    source_type: ClassVar[pa.DataType] = pa.string()
    """What `read` gives labels as, where there is none at all."""
    not_retokenised: ClassVar[str] = ""
    """Why no student reads the rows with another tokenizer, where none does."""
    not_exported: ClassVar[str] = ""
    """Why students are never exported, where they are not."""

    @property
    def primary_metric(self) -> str:
        """The metric that chooses the best checkpoint."""
        return self.metrics[0]

    def judged_by(self, metrics: Sequence[str] | None) -> Self:
        """Return the task with these metrics, where there are any in place of its own."""
        return self if metrics is None else replace(self, metrics=tuple(metrics))

    @property
    def auto_model(self) -> Any:
        """The Auto class itself, imported when it is asked for: it takes seconds."""
        return getattr(import_module("transformers"), self.auto_class)

    # Labels in the source.

    def read(self, source: Source, columns: ColumnSettings, split: str) -> pa.Table:
        """Return the columns of one split: `text`, `text_pair`, `label` and the task's own.

        Only a test split may lack the label column: its rows are unlabelled then. Labels stay as
        they are written in the source.

        Raises:
            DataError: a column is missing or holds something else than it should, such as what
                another kind of task reads.
        """
        self.check_columns(source, columns)
        pair = columns.text_pair
        nothing = pa.nulls(len(source.table), pa.string())
        return pa.table(
            {
                "text": source.strings("text", columns.text),
                "text_pair": nothing if pair is None else source.strings("text_pair", pair),
                "label": self.read_labels(source, columns, split),
            }
        )

    def check_columns(self, source: Source, columns: ColumnSettings) -> None:
        """Refuse texts and labels of a shape that another kind of task reads."""
        check_lists(source, "text", columns.text, self.text_lists)
        if isinstance(columns.label, str) and self.label_lists is not None:
            check_lists(source, "label", columns.label, self.label_lists)

    def read_labels(
        self, source: Source, columns: ColumnSettings, split: str
    ) -> pa.ChunkedArray | pa.Array:
        """Return the labels of all rows; null where there is none."""
        theirs = self.label_columns(columns)
        if not theirs or (split == "test" and not any(map(source.has, theirs))):
            return pa.nulls(len(source.table), self.source_type)
        return self.read_label_columns(source, columns)

    def label_columns(self, columns: ColumnSettings) -> tuple[str, ...]:
        """Return the names of the columns that labels are in; none for a source without labels."""
        theirs = columns.label
        return theirs if isinstance(theirs, tuple) else () if theirs is None else (theirs,)

    @abstractmethod
    def read_label_columns(
        self, source: Source, columns: ColumnSettings
    ) -> pa.ChunkedArray | pa.Array:
        """Return the labels of columns that are there."""

    @abstractmethod
    def label_names(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> list[str]:
        """Return what a model's outputs are called, in their order.

        They are the names of classes, of `mapping` (name by value in the source) or as the data
        has them, or else say what is predicted, such as `score`.

        Raises:
            DataError: fewer than two classes; values of the training split that would be other
                classes than their user means, unless `mapping` names them.
        """

    def is_alphabetic(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> bool:
        """Say whether `label_names` sorted words alphabetically, because no order was given."""
        return False

    @abstractmethod
    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return the labels of each split as numbers, one value for each row of the corpus.

        Where there is no label: `UNLABELLED`, in each place of a list, or NaN.

        Raises:
            DataError: a label that is not among the known ones, or is no number or choice.
        """

    @abstractmethod
    def is_labelled(self, encoded: pa.Array) -> NDArray[np.bool_]:
        """Say of each row whether it has a label, as `encode` returns them."""

    @abstractmethod
    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return what the labels of the training rows are, in one line for people."""

    # Rows of the token table.

    def tokenising(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        settings: TokenizerSettings,
        masking: MaskingSettings,
        checkpoint: Path,
    ) -> Tokenising:
        """Return how texts become rows for a checkpoint.

        Raises:
            SettingsError: the tokenizer, or the checkpoint, lacks a token that the task needs.
        """
        return Tokenising(tokenizer, settings.max_length, settings.stride, masking)

    def made_with(self, how: Tokenising) -> dict[str, Any]:
        """Return what `tokens.json` says of how labels were made, beside the tokenizer."""
        return {}

    def tokenised(
        self, table: pa.Table, labels: pa.Array, how: Tokenising, split: str
    ) -> Iterator[TokenisedTexts]:
        """Yield the rows of a split; `labels` are those of `encode`.

        Raises:
            DataError: a text that cannot be read so, such as a question that leaves no room for
                its text.
        """
        for start in tqdm(range(0, len(table), TEXTS_PER_CALL), f"tokenise {split}", unit="k"):
            some = table.slice(start, TEXTS_PER_CALL)
            of_some = labels.slice(start, TEXTS_PER_CALL)
            yield self.tokenise(some, of_some, how, Place(split, start + 1))

    def tokenise(
        self, table: pa.Table, labels: pa.Array, how: Tokenising, place: Place
    ) -> TokenisedTexts:
        """Return the rows of some texts: one for each text or pair, unless the task has others."""
        has_pairs = table["text_pair"].null_count < len(table)
        pairs = table["text_pair"].to_pylist() if has_pairs else None
        texts = table["text"].to_pylist()
        return tokenise(texts, pairs, labels, self.schema, how.tokenizer, how.max_length)

    def answer_texts(self, logits: NDArray[Any], split: TokenSplit) -> "AnswerTexts | None":
        """Return the texts that flat logits of a whole split answer questions with, if any do."""
        return None

    # What the teacher learns.

    def trainer_labels(self, examples: Sequence[tuple[int, Labels]], mask: "Tensor") -> "Tensor":
        """Return the labels of a batch of examples as the teacher's loss reads them.

        Of each example the number of its rows, and its labels, joined. `mask` (row, token) is the
        attention mask of the batch.
        """
        labels = joined_labels(examples)
        return labels.float() if labels.is_floating_point() else labels

    def trainer_loss(self) -> TrainerLoss | None:
        """Return the teacher's loss, in nats, where it is not the model's own."""
        return None

    def kept_logits(self) -> Callable[[Any, Any], Any] | None:
        """Return what makes of a batch's logits, and labels, what the metrics read.

        None where logits stay as they are.
        """
        return None

    def parts_of(
        self, split: TokenSplit, logits: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the offsets of each example's predictions in the whole split, and their logits.

        `logits` are those that `Trainer` kept of labelled examples, (example, ...); returned are
        (example, part, label), padded where examples differ.
        """
        return split.first_rows, logits[:, None]


def joined_labels(examples: Sequence[tuple[int, Labels]]) -> "Tensor":
    """Return the labels of a batch's examples, joined."""
    import torch

    return torch.from_numpy(np.concatenate([labels for _, labels in examples]))
