"""The teacher's signals beside the examples of a plain PyTorch or Transformers training.

This is for training code that is not this project's. A `TeacherDataset` goes wherever a
map-style dataset goes; a `SignalCollator` around the usual collator makes its batches.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset as HubDataset
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import StoreIncompleteError
from pipeline.signals import SIGNALS
from pipeline.store.example_keys import Examples, keys_of
from pipeline.store.reader import TeacherStore
from pipeline.store.row_values import array_names, read_ragged, stack
from pipeline.store.spec import TEACHER_FOLDER, parse_array_name
from pipeline.tasks import TASKS
from pipeline.tasks.sequence_to_sequence import decoder_start

_PREFIX = "teacher_"


def field_name(array_name: str) -> str:
    """Return the field of an array: `teacher_logits`, `teacher_attentions_06_mean`, ..."""
    return _PREFIX + array_name.replace("/", "_").replace("-", "_")


def _array_name(field: str) -> str:
    """Return the name of the array that a field holds."""
    number = "".join(re.findall("[0-9]", field))
    names = (
        signal.array_name.format(layer=number, k=number, mean=mean)
        for signal in SIGNALS.values()
        for mean in ("", "-mean")
    )
    return next(name for name in names if field_name(name) == field)


def _keys_in(store: TeacherStore, examples: Examples) -> NDArray[np.void]:
    """Return the examples' keys in a store, whose teacher says how its decoder begins."""
    task, start = store.manifest.identity.task, None
    if TASKS[task].writes:
        teacher = store.store_dir / TEACHER_FOLDER
        start = decoder_start(teacher, load_tokenizer(teacher))
    return keys_of(examples, task, decoder_start=start)


class TeacherDataset(Dataset[dict[str, Any]]):
    """Examples, each with the teacher's signals for it as further fields.

    It can be pickled, so it works with any number of `DataLoader` workers; each maps the
    store's files itself.
    """

    def __init__(
        self,
        examples: Examples,
        store: TeacherStore,
        signals: Sequence[str] = ("logits", "cls"),
    ) -> None:
        """Find every example in the store.

        `signals` are names of arrays, such as `attentions/06`; an example's fields are
        then the tensors of `read_ragged` under the names of `field_name`. Examples for a store
        of a task that predicts word pieces have the `labels` that ask for them (`keys_of`).

        Raises:
            StoreIncompleteError: examples are missing, or a signal was not captured or fetched.
            ValueError: there is no array of that name in any store.
            DataError: an example does not say which word pieces are asked for.
        """
        names = {parse_array_name(name).name for name in signals}
        store.check_here(names)
        absent = sorted(names - set(array_names(store)))
        if absent:
            raise StoreIncompleteError(
                f"{store.store_dir} holds {', '.join(array_names(store))}, and lacks "
                f"{', '.join(absent)}. Add them under capture.signals and run "
                "'dvc repro capture'."
            )
        coverage = store.coverage(_keys_in(store, examples))
        n_missing = len(coverage.missing)
        if n_missing:
            raise StoreIncompleteError(
                f"{store.store_dir} lacks {n_missing:,} of {len(examples):,} examples, the first "
                f"is number {coverage.missing[0]:,}. Tokenise with truncation=True, "
                f"max_length={store.manifest.identity.max_length} and return_token_type_ids=True, "
                "and compare the tokenizer with 'store.check'; or capture these texts too."
            )
        self._examples = examples
        self._store = store
        self._rows = coverage.rows
        self._fields = {name: field_name(name) for name in signals}

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one example with the teacher's fields."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return some examples with the teacher's fields, read at once."""
        positions = np.asarray(indices, dtype=np.int64)
        examples = self._take(positions.tolist())
        values = read_ragged(self._store, self._rows[positions], self._fields)
        columns = {self._fields[name]: column for name, column in values.items()}
        return [
            {**example, **{field: column[place] for field, column in columns.items()}}
            for place, example in enumerate(examples)
        ]

    def _take(self, indices: list[int]) -> list[Mapping[str, Any]]:
        if isinstance(self._examples, HubDataset):
            taken: list[Mapping[str, Any]] = self._examples.__getitems__(indices)
            return taken
        return [self._examples[index] for index in indices]


class SignalCollator:
    """Makes a batch of a `TeacherDataset`'s examples.

    `inner`, any of Transformers' collators, makes the batch of the ordinary fields; the
    teacher's are stacked, with token axes as long as the batch's `input_ids` and zero
    where its `attention_mask` is.
    """

    def __init__(self, inner: Callable[[list[dict[str, Any]]], Mapping[str, Any]]) -> None:
        self._inner = inner

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch."""
        names = [name for name in examples[0] if name.startswith(_PREFIX)]
        ordinary = [
            {name: value for name, value in example.items() if name not in names}
            for example in examples
        ]
        batch = dict(self._inner(ordinary))
        n_tokens = batch["input_ids"].shape[1]
        # Some tokenizers pad on the left.
        starts: list[int] = [0] * len(examples)
        if "attention_mask" in batch:
            starts = batch["attention_mask"].int().argmax(1).tolist()
        for name in names:
            values = [example[name] for example in examples]
            batch[name] = stack(_array_name(name), values, n_tokens, starts)
        return batch
