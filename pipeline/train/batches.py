"""Batches of tokens joined with the teacher's signals by key.

Only the arrays that the objectives need are read, and never padded: a signal with
token axes stays one flat tensor. A thread reads ahead; worker processes would have to
send what it only maps.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from pipeline.objectives.objective import Needs, TeacherSignals
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import CLS, CLS_MOMENTS, LOGITS, ArraySpec, Heads, SignalName
from pipeline.store.stored_signal import StoredSignal
from pipeline.text.padding import pad_rows
from pipeline.text.tokens import TokenSplit
from pipeline.train.order import EpochOrder, block_order, global_order
from pipeline.train.settings import TrainingSettings


@dataclass(frozen=True)
class Batch:
    """Some examples as the student sees them, and what the teacher said of them."""

    inputs: dict[str, Int[Tensor, "batch token"]]
    labels: Int[Tensor, " batch"]
    """-1 where a row is unlabelled."""
    signals: Mapping[ArraySpec, StoredSignal]
    rows: NDArray[np.int64]
    """Positions in the split."""
    other_logits: Mapping[str, StoredSignal] = field(default_factory=dict)
    """Those of other teachers, by the folder of their store."""
    cls_deviations: Float[Tensor, "layer hidden"] | None = None
    """Standard deviation of the teacher's [CLS] over the store's rows."""

    def pin(self) -> "Batch":
        """Return the batch in pinned memory, from which a device copies by itself."""
        return replace(
            self,
            inputs={name: values.pin_memory() for name, values in self.inputs.items()},
            labels=self.labels.pin_memory(),
            signals={array: signal.pin() for array, signal in self.signals.items()},
            other_logits={store: signal.pin() for store, signal in self.other_logits.items()},
        )

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; signals stay as they are stored."""
        deviations = self.cls_deviations
        return replace(
            self,
            inputs={
                name: values.to(device, non_blocking=True) for name, values in self.inputs.items()
            },
            labels=self.labels.to(device, non_blocking=True),
            signals={array: signal.to(device) for array, signal in self.signals.items()},
            other_logits={store: signal.to(device) for store, signal in self.other_logits.items()},
            cls_deviations=None if deviations is None else deviations.to(device),
        )

    def teacher(self) -> TeacherSignals:
        """Return the teacher's signals, decoded where the batch is."""
        decoded = {array: signal.decode() for array, signal in self.signals.items()}
        by_kind: dict[tuple[SignalName, Heads], dict[int, Tensor]] = defaultdict(dict)
        for array, values in decoded.items():
            by_kind[array.signal, array.heads][array.layer] = values
        states = by_kind["hidden_states", "all"]
        n_tokens = int(self.inputs["attention_mask"].sum()) if states else 0
        deviations = self.cls_deviations
        return TeacherSignals(
            logits=decoded.get(LOGITS),
            other_logits={store: signal.decode() for store, signal in self.other_logits.items()},
            cls=dict(enumerate(decoded[CLS].unbind(1))) if CLS in decoded else {},
            cls_deviations={} if deviations is None else dict(enumerate(deviations)),
            hidden_states={layer: flat.view(n_tokens, -1) for layer, flat in states.items()},
            attentions=by_kind["attentions", "all"],
            mean_attentions=by_kind["attentions", "mean"],
        )


class JoinedSplit:
    """One split of a token table and its rows in a store."""

    def __init__(
        self,
        split: TokenSplit,
        store: TeacherStore,
        needs: Needs,
        *,
        pad_id: int,
        has_token_types: bool,
        other_stores: Mapping[str, TeacherStore] | None = None,
        student_split: TokenSplit | None = None,
    ) -> None:
        """Find every row of the split in the store, and in those of other teachers.

        `student_split` has the same rows in the tokens of a student with its own tokenizer.

        Raises:
            StoreIncompleteError: saying how many are missing.
        """
        self.split = split
        self._student_split = split if student_split is None else student_split
        self._store = store
        self._store_rows = store.find(split.keys)
        self._others = {
            folder: (other, other.find(split.keys))
            for folder, other in (other_stores or {}).items()
        }
        self._arrays = sorted(needs.teacher - {CLS_MOMENTS})
        self._cls_deviations = store.cls_moments()[1] if CLS_MOMENTS in needs.teacher else None
        self._pad_id = pad_id
        self._has_token_types = has_token_types

    def order(self, settings: TrainingSettings, epoch: int) -> EpochOrder:
        """Return the batches of an epoch, from 0."""
        of_all = self._student_split.lengths, settings.batch_size, settings.seed, epoch
        if settings.shuffle == "global":
            return global_order(*of_all, group_by_length=settings.group_by_length)
        return block_order(
            *of_all,
            group_by_length=settings.group_by_length,
            store_rows=self._store_rows,
            row_bytes=self._store.row_bytes(self._arrays)[self._store_rows],
            buffer_bytes=settings.shuffle_buffer_mib * 2**20,
        )

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """Return the batch of these rows of the split, in this order, on the CPU."""
        store_rows = self._store_rows[rows]
        return Batch(
            inputs=pad_rows(
                [self._student_split.row(row) for row in rows],
                self._pad_id,
                has_token_types=self._has_token_types,
            ),
            labels=torch.from_numpy(self.split.labels[rows]),
            signals=self._store.read_many(self._arrays, store_rows),
            rows=rows,
            other_logits={
                folder: other.read(LOGITS, other_rows[rows])
                for folder, (other, other_rows) in self._others.items()
            },
            cls_deviations=self._cls_deviations,
        )

    def stream(
        self,
        order: EpochOrder,
        cut: Callable[[NDArray[np.int64]], list[NDArray[np.int64]]],
        *,
        first_batch: int = 0,
        is_pinned: bool = False,
    ) -> Iterator[Batch]:
        """Yield the parts that `cut` makes of each batch, reading one ahead in a thread."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = None
            for number, rows in enumerate(order.batches[first_batch:], start=first_batch):
                begins_window = number == first_batch or number in order.windows
                window = order.window_at(number) if begins_window else None
                for part in cut(rows):
                    task = reader.submit(self._fetch, part, window, is_pinned=is_pinned)
                    coming, ready, window = task, coming, None
                    if ready is not None:
                        yield ready.result()
            if coming is not None:
                yield coming.result()

    def _fetch(
        self, rows: NDArray[np.int64], window: list[NDArray[np.int64]] | None, *, is_pinned: bool
    ) -> Batch:
        """Read a part; before the first of a window, let go of the rows before it."""
        if window is not None:
            self._store.release()
            for expected in window:
                self._store.expect(self._arrays, self._store_rows[expected])
        batch = self.read(rows)
        return batch.pin() if is_pinned else batch
