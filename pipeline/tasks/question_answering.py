"""Where in a text the answer to a question stands, if it does: extractive question answering.

A row is a window, the question and as much of the text as fits. A longer text is read in several
windows (doc stride), which are neighbours in the token table; each but the first begins with some
tokens that the one before it ends with. The answer begins and ends with a token of the window, or
both with its first token where the window does not hold it (Devlin et al. 2019, 1810.04805,
sections 4.2 and 4.3). Sources are as SQuAD has them: Rajpurkar et al. 2016, 1606.05250; for
questions without an answer Rajpurkar et al. 2018, 1806.03822.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy
from pipeline.core.errors import DataError
from pipeline.tasks.columns import Columns
from pipeline.tasks.label_faults import KEEP_LISTS, is_list_text
from pipeline.tasks.predictions import ABSENT, AnswerTexts
from pipeline.tasks.task import OTHER_TOKENIZER, Place, Task, Tokenising, TrainerLoss, joined_labels
from pipeline.text.columns import ColumnSettings
from pipeline.text.corpus import Corpus
from pipeline.text.source import Source, is_list
from pipeline.text.tokenise import TokenisedTexts, make_rows
from pipeline.text.tokens import UNLABELLED, Labels, TokenSplit

if TYPE_CHECKING:
    from tokenizers import Encoding
    from torch import Tensor

ANSWERS = pa.list_(pa.struct({"text": pa.string(), "start": pa.int64()}))
"""All right answers to a question: each a text, and its first character's place in the other
text, from 0. Null where a row is not labelled."""
Answer = Mapping[str, Any]
"""`text`, and `start`, its first character's place."""
NO_ANSWER = 0
"""The token, a row's first, that stands for an answer that the row does not hold."""
NOWHERE = -1
"""The place in the text of a token that is not of it."""

_N_CHARACTERS_SHOWN = 40


@final
@dataclass(frozen=True)
class QuestionAnswering(Task):
    """Where in a text the answer to a question stands.

    In the source lists of texts and places, of type `ANSWERS`, beside the column `question`; in
    the table the first and the last token of the answer. Its further columns: `window` numbers
    the rows of a question from 0; `char_starts` and `char_ends` say where each token stands in the
    text, -1 where it is not of it; `answers` has all texts that are right, none where there is no
    answer, and null where the question is not labelled.
    """

    metrics: tuple[str, ...] = ("answer_f1", "answer_exact_match")

    kind = "question_answering"
    auto_class = "AutoModelForQuestionAnswering"
    predicts = "span"
    columns = Columns(("text", "question", "label"), ("answer_start",))
    label_lists = None
    source_type = ANSWERS
    label_kind = "answers"
    label_type = pa.list_(pa.int64())
    more_fields = MappingProxyType(
        {
            "window": pa.int32(),
            "char_starts": pa.list_(pa.int32()),
            "char_ends": pa.list_(pa.int32()),
            "answers": pa.list_(pa.string()),
        }
    )
    not_varied = "the answers of a question answering stand in its texts, which variants change"
    not_retokenised = f"answers begin and end with the teacher's tokens, but {OTHER_TOKENIZER}"

    def read(self, source: Source, columns: ColumnSettings, split: str) -> pa.Table:
        """Return texts, a question about each, and its answers."""
        self.check_columns(source, columns)
        texts = source.strings("text", columns.text)
        assert columns.question is not None
        questions = source.strings("question", columns.question)
        _check_questions(questions, source.place)
        return pa.table(
            {
                "text": texts,
                "text_pair": pa.nulls(len(source.table), pa.string()),
                "question": questions,
                "label": self.read_labels(source, columns, split),
            }
        )

    def read_label_columns(self, source: Source, columns: ColumnSettings) -> pa.Array:
        """Return the answers of each row."""
        return read_answers(source, columns, source.strings("text", columns.text).to_pylist())

    def label_names(self, corpus: Corpus, mapping: Mapping[str, str] | None) -> list[str]:
        """Return the names of the two outputs of each token."""
        return ["start", "end"]

    def encode(
        self, corpus: Corpus, names: Sequence[str], mapping: Mapping[str, str] | None
    ) -> dict[str, pa.Array]:
        """Return answers as they are: they become labels with the tokens."""
        return {split: table["label"].combine_chunks() for split, table in corpus.items()}

    def is_labelled(self, encoded: pa.Array) -> NDArray[np.bool_]:
        """Say of each question whether it is known which answers are right, if any is."""
        return as_numpy(encoded.is_valid())

    def describe(self, train: pa.Table, encoded: pa.Array, names: Sequence[str]) -> str:
        """Return how many questions have answers."""
        n_without = pc.sum(pc.equal(pc.list_value_length(train["label"]), 0)).as_py() or 0
        n_labelled = int(self.is_labelled(encoded).sum())
        return (
            f"answers to {n_labelled:,} of {len(train):,} questions, {n_without:,} of which the "
            "text does not answer"
        )

    def describe_labels(self, table: pa.Table, names: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Return how many questions are labelled, how many there are, and have no answer."""
        answers = table["answers"].filter(pc.equal(table["window"], 0))
        n_answers = pc.list_value_length(answers)
        return len(answers) - answers.null_count, {
            "n_questions": len(answers),
            "n_unanswerable": int(pc.sum(pc.equal(n_answers, 0)).as_py() or 0),
        }

    def tokenise(
        self, table: pa.Table, labels: pa.Array, how: Tokenising, place: Place
    ) -> TokenisedTexts:
        """Tokenise each question with its text behind it, in as many windows as are needed.

        Neighbouring windows share `how.stride` tokens, but at most half of those that the question
        leaves room for. A window is labelled with the first of the answers, without blanks
        around it; one that is whole in no window is counted (`n_answers_lost`).

        Raises:
            DataError: a question leaves no room for its text, or the windows do not reach from the
                text's beginning to its end.
        """
        questions, texts = table["question"].to_pylist(), table["text"].to_pylist()
        answers = labels.to_pylist()
        windows = _windows(questions, texts, how, place)
        spans, n_lost = [], 0
        for of_one, text, accepted in zip(windows, texts, answers, strict=True):
            found = _labels(of_one, text, accepted)
            n_lost += bool(accepted) and all(first == NO_ANSWER for first, _ in found)
            spans += found
        all_windows = [*chain(*windows)]
        counts = [len(of_one) for of_one in windows]
        places = [_places(window) for window in all_windows]
        right = [accepted and [answer["text"] for answer in accepted] for accepted in answers]
        rows = make_rows(
            [window.ids for window in all_windows],
            [window.type_ids for window in all_windows],
            pa.array(spans, self.label_type),
            _repeated(questions, counts),
            _repeated(texts, counts),
            self.schema,
            [
                [number for count in counts for number in range(count)],
                [starts for starts, _ in places],
                [ends for _, ends in places],
                _repeated(right, counts),
            ],
        )
        return TokenisedTexts(rows, np.zeros(len(rows), dtype=bool), {"n_answers_lost": n_lost})

    def answer_texts(self, logits: NDArray[Any], split: TokenSplit) -> AnswerTexts | None:
        """Return the best span's text for each labelled question; None without one."""
        from pipeline.tasks.spans import answer_texts  # which stands on this module

        return answer_texts(logits, split)

    def trainer_labels(self, examples: Sequence[tuple[int, Labels]], mask: "Tensor") -> "Tensor":
        """Return (row, 3): the first token, the last token, and how many the row has."""
        import torch

        return torch.cat([joined_labels(examples).view(-1, 2), mask.sum(1, keepdim=True)], 1)

    def trainer_loss(self) -> TrainerLoss:
        """Return the cross entropy over a row's tokens; Transformers' own includes padding."""
        return loss_of_spans

    def parts_of(
        self, split: TokenSplit, logits: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return the offsets of rows' tokens, and their logits."""
        return split.offsets, logits


def loss_of_spans(
    outputs: Mapping[str, "Tensor"], labels: "Tensor", num_items_in_batch: "Tensor | None" = None
) -> "Tensor":
    """Return the mean over first and last tokens of -log softmax(logits of the row's)[right].

    In nats. Padding is no token.
    """
    import torch
    from torch.nn.functional import cross_entropy

    logits = outputs["logits"].float()
    is_padding = torch.arange(logits.shape[1], device=labels.device) >= labels[:, 2:]
    return cross_entropy(logits.masked_fill(is_padding[..., None], ABSENT), labels[:, :2])


def _check_questions(questions: pa.ChunkedArray, place: str) -> None:
    """Refuse a row without a question, where there is nothing else to answer."""
    is_blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(questions), ""), True)
    row = is_blank.index(True).as_py()
    if row >= 0:
        raise DataError(f"{place}: row {row + 1} has no question. Add one, or remove the row.")


def read_answers(source: Source, columns: ColumnSettings, texts: Sequence[str | None]) -> pa.Array:
    """Return the answers of each row, of type `ANSWERS`; `texts` are what they stand in.

    Of two columns, one with the text and one with the place, an answer without text is none,
    except for a place of -1, which says that the question has no answer.

    Raises:
        DataError: a column holds something else, or an answer is not where it should be.
    """
    assert isinstance(columns.label, str)
    if columns.answer_start is None:
        found = _of_structs(source, columns.label)
    else:
        found = _of_two_columns(source, columns.label, columns.answer_start)
    for number, (text, answers) in enumerate(zip(texts, found, strict=True), start=1):
        for answer in answers or ():
            _check(answer, text or "", f"{source.place}: row {number}")
    return pa.array(found, ANSWERS)


def _of_structs(source: Source, column: str) -> list[list[dict[str, Any]] | None]:
    values = source.column("label", column)
    kind = values.type.value_type if is_list(values.type) else values.type
    names = [field.name for field in kind] if pa.types.is_struct(kind) else []
    if not pa.types.is_null(kind) and not {"text", "answer_start"} <= {*names}:
        raise DataError(
            f"{source.place}, column '{column}' holds {values.type}, but each row needs the lists "
            "'text' and 'answer_start', as SQuAD has them, in Parquet or JSON lines. Where the "
            "answer's text and place are columns, name them as data.columns.label and "
            "data.columns.answer_start."
        )
    found: list[list[dict[str, Any]] | None] = []
    for number, row in enumerate(values.to_pylist(), start=1):
        if row is None or isinstance(row, list):
            answers = row and [{"text": one["text"], "start": one["answer_start"]} for one in row]
        else:
            given, starts = row["text"] or [], row["answer_start"] or []
            if len(given) != len(starts):
                raise DataError(
                    f"{source.place}: row {number} has {len(given)} answers and {len(starts)} "
                    "places for them. Correct it, or remove the row."
                )
            pairs = zip(given, starts, strict=True)
            answers = [{"text": text, "start": start} for text, start in pairs]
        found.append(answers)
    return found


def _of_two_columns(source: Source, column: str, place: str) -> list[list[dict[str, Any]] | None]:
    texts = source.strings("label", column).to_pylist()
    numbers = source.strings("answer_start", place).to_pylist()
    found: list[list[dict[str, Any]] | None] = []
    for row, (text, number) in enumerate(zip(texts, numbers, strict=True), start=1):
        try:
            start = int(float(number)) if number else None
        except (ValueError, OverflowError):
            remedy = KEEP_LISTS if is_list_text(number) else "Correct it, or remove the row"
            raise DataError(
                f"{source.place}: row {row} has '{number}' in column '{place}', which needs the "
                f"number of a character. {remedy}."
            ) from None
        if text:
            found.append([{"text": text, "start": start}])
        else:
            found.append([] if start == -1 else None)
    return found


def _check(answer: dict[str, Any], text: str, place: str) -> None:
    """Refuse an answer that is blank, or is not in the text where it should be."""
    said, start = answer["text"] or "", answer["start"]
    if not said.strip():
        raise DataError(f"{place} has an answer without text. Correct it, or remove the row.")
    if start is None or start < 0 or text[start : start + len(said)] != said:
        found = "" if start is None else text[max(0, start) : max(0, start) + len(said)]
        raise DataError(
            f"{place}: the answer '{_shorten(said)}' is not at character {start} of its text, "
            f"where '{_shorten(found)}' stands. Characters are counted from 0, not in bytes; "
            "correct it, or remove the row."
        )


def _shorten(text: str) -> str:
    return text if len(text) <= _N_CHARACTERS_SHOWN else f"{text[:_N_CHARACTERS_SHOWN]}…"


def _windows(
    questions: Sequence[str],
    texts: Sequence[str],
    how: Tokenising,
    place: Place,
) -> list[list["Encoding"]]:
    """Return the windows of each question."""
    tokenizer, max_length = how.tokenizer, how.max_length
    ids = tokenizer(list(questions), add_special_tokens=False, return_attention_mask=False)
    lengths = np.array([len(row) for row in ids["input_ids"]], dtype=np.int64)
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - lengths
    if (room < 1).any():
        row = int((room < 1).argmax())
        raise DataError(
            f"{place.split}: the question of row {place.row + row} is {lengths[row]} tokens long, "
            f"which leaves no room for its text in rows of {max_length}. Raise "
            "tokenizer.max_length, or shorten the question."
        )
    found: list[list[Encoding]] = [[]] * len(questions)
    shared = np.minimum(how.stride, room // 2)
    for own_stride in np.unique(shared).tolist():
        rows = np.flatnonzero(shared == own_stride).tolist()
        encoded = tokenizer(
            [questions[row] for row in rows],
            [texts[row] for row in rows],
            truncation="only_second",
            max_length=max_length,
            stride=own_stride,
            return_token_type_ids=True,
        )
        for row, encoding in zip(rows, encoded.encodings or (), strict=True):
            found[row] = [encoding, *encoding.overflowing]
    for row, windows in enumerate(found):
        if len(windows) > 1:
            whole = tokenizer(
                [questions[row]], [texts[row]], return_attention_mask=False, verbose=False
            )[0]
            _check_ends(windows, whole, place.plus(row))
    return found


def _check_ends(windows: Sequence["Encoding"], whole: "Encoding", place: Place) -> None:
    """Refuse windows that do not begin and end where the text does; `whole` has all its tokens."""
    spans = [np.array(one.offsets)[_is_of_text(one)] for one in (*windows, whole)]
    first, last, every = spans[0], spans[-2], spans[-1]
    if (first[0] != every[0]).any() or (last[-1] != every[-1]).any():
        raise DataError(
            f"{place}: its windows cover characters {first[0][0]} to {last[-1][1]} of a text whose "
            f"tokens are at {every[0][0]} to {every[-1][1]}: the tokenizer cuts texts at their "
            "beginnings. Set truncation_side to right in its tokenizer_config.json."
        )


def _labels(
    windows: Sequence["Encoding"], text: str, answers: Sequence[Answer] | None
) -> list[list[int]]:
    """Return the first and the last token of the first answer, for each window of a text."""
    if answers is None:
        return [[UNLABELLED, UNLABELLED] for _ in windows]
    if not answers:
        return [[NO_ANSWER, NO_ANSWER] for _ in windows]
    said = answers[0]["text"]
    begin = answers[0]["start"] + len(said) - len(said.lstrip())
    end = begin + len(said.strip())
    labels = []
    for number, window in enumerate(windows):
        tokens = np.flatnonzero(_is_of_text(window))
        starts, ends = np.array(window.offsets)[tokens].reshape(-1, 2).T
        # Characters without a token, such as blanks, are of the windows at the text's ends.
        is_first, is_last = number == 0, number == len(windows) - 1
        is_begun = is_first or (len(tokens) and starts[0] <= begin)
        is_ended = is_last or (len(tokens) and end <= ends[-1])
        within = tokens[(ends > begin) & (starts < end)]
        is_whole = is_begun and is_ended and len(within)
        labels.append([int(within[0]), int(within[-1])] if is_whole else [NO_ANSWER, NO_ANSWER])
    return labels


def _is_of_text(window: "Encoding") -> NDArray[np.bool_]:
    """Say which tokens are of the second text."""
    return np.array([sequence == 1 for sequence in window.sequence_ids], dtype=bool)


def _places(window: "Encoding") -> tuple[list[int], list[int]]:
    """Return where each token begins and ends in the second text."""
    is_of_text = _is_of_text(window)[:, None]
    starts, ends = np.where(is_of_text, np.array(window.offsets), NOWHERE).T
    return starts.tolist(), ends.tolist()


def _repeated(values: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]
