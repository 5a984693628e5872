"""Batches of tokens joined with the teacher's signals by key.

Only the arrays that the objectives need are read, and never padded: a signal with
token axes stays one flat tensor. A thread reads ahead; worker processes would have to
send what it only maps.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.errors import DataError
from pipeline.models.inputs import Inputs
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import BatchCounts, TeacherSignals
from pipeline.signals.cls import CLS, CLS_STATES, MOMENTS
from pipeline.signals.logits import logits_array
from pipeline.signals.signal import Array
from pipeline.signals.top_logits import LOG_SUM_EXP, TOP_LOGITS, TOP_PIECES
from pipeline.store.encoding import StoredSignal
from pipeline.store.reader import TeacherStore
from pipeline.tasks import TASKS
from pipeline.tasks.pieces import teacher_classes
from pipeline.tasks.predictions import Targets, arrange, targets_of
from pipeline.tasks.task import BY_TOKEN, Unit
from pipeline.text.tokens import TokenSplit
from pipeline.train.order import (
    EpochOrder,
    block_order,
    global_order,
    labelled_order,
    mixed_order,
    unlabelled_in_batch,
)
from pipeline.train.settings import TrainingSettings


@dataclass(frozen=True)
class Batch:
    """Some examples as the student sees them, and what the teacher said of them."""

    inputs: dict[str, Int[Tensor, "row token"]]
    labels: Shaped[Tensor, " prediction"]
    """-1, or not a number, where it is not known."""
    signals: Mapping[Array, StoredSignal]
    examples: NDArray[np.int64]
    """Their numbers in the split."""
    counts: BatchCounts
    """Of the whole batch, where this is a part of one."""
    predicts: Unit = "row"
    places: Int[Tensor, "..."] | None = None
    """Where the predictions are in flat logits, as in `tasks.predictions.Targets`."""
    other_logits: Mapping[str, StoredSignal] = field(default_factory=dict)
    """Those of other teachers, by the folder of their store."""
    moments: Float[Tensor, "moment layer hidden"] | None = None
    """Of the teacher's [CLS] over the store's rows."""
    is_stand_in: bool = False
    """Whether it is no part of the batch, only something for a process to go through."""

    def pin(self) -> "Batch":
        """Return the batch in pinned memory, from which a device copies by itself."""
        return self._mapped(Tensor.pin_memory, StoredSignal.pin)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; signals stay as they are stored."""
        return self._mapped(
            lambda values: values.to(device, non_blocking=True), lambda signal: signal.to(device)
        )

    def _mapped(
        self,
        tensor: Callable[[Tensor], Tensor],
        signal: Callable[[StoredSignal], StoredSignal],
    ) -> "Batch":
        places, moments = self.places, self.moments
        return replace(
            self,
            inputs={name: tensor(values) for name, values in self.inputs.items()},
            labels=tensor(self.labels),
            places=None if places is None else tensor(places),
            signals={array: signal(stored) for array, stored in self.signals.items()},
            other_logits={store: signal(stored) for store, stored in self.other_logits.items()},
            moments=None if moments is None else tensor(moments),
        )

    def arrange(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "prediction class"]:
        """Return the logits of a model, padded or flat, as predictions."""
        if self.predicts in BY_TOKEN and logits.ndim == 3:
            logits = logits[self.inputs["attention_mask"].to(torch.bool)]
        return arrange(logits, self.predicts, self.places)

    def teacher(self) -> TeacherSignals:
        """Return the teacher's signals, decoded where the batch is."""
        decoded = {array: stored.decode() for array, stored in self.signals.items()}
        signals = {} if self.moments is None else {MOMENTS: self.moments}
        for array, values in decoded.items():
            if array == CLS_STATES:
                layers = enumerate(values.unbind(1))
                signals |= {Array(CLS, layer): states for layer, states in layers}
            else:
                signals[array] = values
        pieces = [ids for array, ids in decoded.items() if array.signal == TOP_PIECES]
        return TeacherSignals(
            logits=self._logits(decoded),
            pieces=pieces[0] if pieces else None,
            other_logits={
                store: self.arrange(stored.decode()) for store, stored in self.other_logits.items()
            },
            signals=signals,
        )

    def _logits(self, decoded: Mapping[Array, Tensor]) -> Float[Tensor, "prediction class"] | None:
        """Return the teacher's logits, arranged, where they are in the batch."""
        if self.predicts == "piece":
            values = {array.signal: tensor for array, tensor in decoded.items()}
            if TOP_LOGITS not in values:
                return None
            return teacher_classes(values[TOP_LOGITS], values[LOG_SUM_EXP])
        array = logits_array(self.predicts)
        return self.arrange(decoded[array]) if array in decoded else None


class JoinedSplit:
    """One split of a token table and its rows in a store."""

    def __init__(
        self,
        split: TokenSplit,
        store: TeacherStore,
        needs: Needs,
        inputs: Inputs,
        *,
        other_stores: Mapping[str, TeacherStore] | None = None,
        student_split: TokenSplit | None = None,
    ) -> None:
        """Find every row of the split in the store, and in those of other teachers.

        `inputs` is how the student reads rows.
        `student_split` has the same rows in the tokens of a student with its own tokenizer.

        Raises:
            StoreIncompleteError: saying how many are missing.
        """
        self._split = split
        self._student_split = split if student_split is None else student_split
        self._task = TASKS[store.manifest.identity.task]
        self._store = store
        self._store_rows = store.find(split.keys)
        self._others = {
            folder: (other, other.find(split.keys))
            for folder, other in (other_stores or {}).items()
        }
        self._arrays = sorted(needs.teacher - {MOMENTS})
        self._moments = store.cls_moments() if MOMENTS in needs.teacher else None
        self._inputs = inputs

    def __len__(self) -> int:
        """Return the number of examples."""
        return self._split.n_examples

    def keys(self, examples: NDArray[np.int64]) -> NDArray[np.void]:
        """Return the keys of the examples' rows."""
        return self._split.keys[self._split.rows_of(examples)]

    def targets(self, examples: NDArray[np.int64]) -> Targets:
        """Return what is to be predicted of these examples."""
        return targets_of(self._split, examples, self._task.predicts)

    def count_batches(self, settings: TrainingSettings) -> int:
        """Return the number of batches of an epoch.

        Raises:
            DataError: a share of unlabelled examples is asked for, and all or none are labelled;
                or labelled ones alone, and there are none.
        """
        if settings.unlabelled_share is None:
            return -(-len(self) // settings.batch_size)
        n_labelled = int(self._split.has_label.sum())
        if n_labelled == 0 and not settings.unlabelled_share:
            raise DataError(
                f"of {len(self):,} training examples none is labelled, and with "
                "training.unlabelled_share 0 an epoch is a pass over those that are. Label some, "
                "or set it to null."
            )
        if n_labelled in (0, len(self)) and settings.unlabelled_share:
            raise DataError(
                f"of {len(self):,} training examples {n_labelled:,} are labelled, so none are "
                "left to share a batch with. Put unlabelled texts into a file unlabelled.* of "
                "data.path, or set training.unlabelled_share to null."
            )
        n_unlabelled = unlabelled_in_batch(settings.batch_size, settings.unlabelled_share)
        return -(-n_labelled // (settings.batch_size - n_unlabelled))

    def count_examples(self, settings: TrainingSettings) -> int:
        """Return the number of examples in the batches of an epoch; raises as `count_batches`."""
        if settings.unlabelled_share is None:
            return len(self)
        n_unlabelled = unlabelled_in_batch(settings.batch_size, settings.unlabelled_share)
        return int(self._split.has_label.sum()) + self.count_batches(settings) * n_unlabelled

    def order(self, settings: TrainingSettings, epoch: int) -> EpochOrder:
        """Return the batches of an epoch, from 0."""
        first = self._split.first_rows[:-1]
        lengths = np.maximum.reduceat(self._student_split.lengths, first)
        of_all = lengths, settings.batch_size, settings.seed, epoch
        if settings.unlabelled_share == 0:
            return labelled_order(
                *of_all,
                group_by_length=settings.group_by_length,
                is_labelled=self._split.has_label,
            )
        if settings.unlabelled_share is not None:
            return mixed_order(
                *of_all,
                group_by_length=settings.group_by_length,
                is_labelled=self._split.has_label,
                unlabelled_share=settings.unlabelled_share,
            )
        if settings.shuffle == "global":
            return global_order(*of_all, group_by_length=settings.group_by_length)
        row_bytes = self._store.row_bytes(self._arrays)[self._store_rows]
        return block_order(
            *of_all,
            group_by_length=settings.group_by_length,
            store_rows=self._store_rows[first],
            row_bytes=np.add.reduceat(row_bytes, first),
            buffer_bytes=settings.shuffle_buffer_mib * 2**20,
        )

    def read(self, examples: NDArray[np.int64], batch: NDArray[np.int64] | None = None) -> Batch:
        """Return these examples of the split, in this order, on the CPU.

        They are a part of `batch`, or all of it. In place of no example there is a stand-in.
        """
        batch = examples if batch is None else batch
        is_stand_in = not len(examples)
        examples = batch[:1] if is_stand_in else examples
        rows = self._split.rows_of(examples)
        store_rows = self._store_rows[rows]
        targets = self.targets(examples)
        return Batch(
            inputs=self._inputs.pad([self._student_split.row(row) for row in rows]),
            labels=torch.from_numpy(targets.labels),
            signals=self._store.read_many(self._arrays, store_rows),
            examples=examples,
            counts=BatchCounts.of(self.targets(batch)),
            predicts=self._task.predicts,
            places=None if targets.places is None else torch.from_numpy(targets.places),
            other_logits={
                folder: other.read(logits_array(self._task.predicts), other_rows[rows])
                for folder, (other, other_rows) in self._others.items()
            },
            moments=self._moments,
            is_stand_in=is_stand_in,
        )

    def stream(
        self,
        order: EpochOrder,
        cut: Callable[[NDArray[np.int64]], list[NDArray[np.int64]]],
        *,
        first_batch: int = 0,
        is_pinned: bool = False,
    ) -> Iterator[tuple[Batch, bool]]:
        """Yield the parts that `cut` makes of each batch, reading one ahead in a thread.

        With each is said whether it is the last of its batch.
        """
        with ThreadPoolExecutor(max_workers=1) as reader:
            waiting: deque[tuple[Future[Batch], bool]] = deque()
            for number, batch in enumerate(order.batches[first_batch:], start=first_batch):
                begins_window = number == first_batch or number in order.windows
                window = order.window_at(number) if begins_window else None
                parts = cut(batch)
                for index, part in enumerate(parts, start=1):
                    task = reader.submit(self._fetch, part, batch, window, is_pinned=is_pinned)
                    waiting.append((task, index == len(parts)))
                    window = None
                    if len(waiting) > 1:
                        ready, is_last = waiting.popleft()
                        yield ready.result(), is_last
            for ready, is_last in waiting:
                yield ready.result(), is_last

    def _fetch(
        self,
        part: NDArray[np.int64],
        batch: NDArray[np.int64],
        window: list[NDArray[np.int64]] | None,
        *,
        is_pinned: bool,
    ) -> Batch:
        """Read a part; before the first of a window, let go of the rows before it."""
        if window is not None:
            self._store.release()
            for expected in window:
                store_rows = self._store_rows[self._split.rows_of(expected)]
                self._store.expect(self._arrays, np.sort(store_rows))
        read = self.read(part, batch)
        return read.pin() if is_pinned else read
