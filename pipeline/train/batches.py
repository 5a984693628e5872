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
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.errors import DataError
from pipeline.models.padding import pad_rows
from pipeline.objectives.needs import Needs
from pipeline.objectives.objective import TeacherSignals
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import (
    CLS,
    CLS_MOMENTS,
    ArraySpec,
    Heads,
    SignalName,
    logits_array,
)
from pipeline.store.stored_signal import StoredSignal
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
    signals: Mapping[ArraySpec, StoredSignal]
    examples: NDArray[np.int64]
    """Their numbers in the split."""
    predicts: Unit = "row"
    places: Int[Tensor, "..."] | None = None
    """Where the predictions are in flat logits, as in `tasks.predictions.Targets`."""
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
            places=None if self.places is None else self.places.pin_memory(),
            signals={array: signal.pin() for array, signal in self.signals.items()},
            other_logits={store: signal.pin() for store, signal in self.other_logits.items()},
        )

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; signals stay as they are stored."""
        deviations, places = self.cls_deviations, self.places
        return replace(
            self,
            inputs={
                name: values.to(device, non_blocking=True) for name, values in self.inputs.items()
            },
            labels=self.labels.to(device, non_blocking=True),
            places=None if places is None else places.to(device, non_blocking=True),
            signals={array: signal.to(device) for array, signal in self.signals.items()},
            other_logits={store: signal.to(device) for store, signal in self.other_logits.items()},
            cls_deviations=None if deviations is None else deviations.to(device),
        )

    def arrange(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "prediction class"]:
        """Return the logits of a model, padded or flat, as predictions."""
        if self.predicts in BY_TOKEN and logits.ndim == 3:
            logits = logits[self.inputs["attention_mask"].to(torch.bool)]
        return arrange(logits, self.predicts, self.places)

    @property
    def pieces(self) -> Int[Tensor, "target k"] | None:
        """The teacher's likeliest word pieces, where they are in the batch."""
        found = [signal for array, signal in self.signals.items() if array.signal == "top_pieces"]
        return found[0].decode() if found else None

    def teacher(self) -> TeacherSignals:
        """Return the teacher's signals, decoded where the batch is."""
        decoded = {array: signal.decode() for array, signal in self.signals.items()}
        by_kind: dict[tuple[SignalName, Heads], dict[int, Tensor]] = defaultdict(dict)
        for array, values in decoded.items():
            by_kind[array.signal, array.heads][array.layer] = values
        deviations = self.cls_deviations
        return TeacherSignals(
            logits=self._logits(decoded),
            pieces=self.pieces,
            other_logits={
                store: self.arrange(signal.decode()) for store, signal in self.other_logits.items()
            },
            cls=dict(enumerate(decoded[CLS].unbind(1))) if CLS in decoded else {},
            cls_deviations={} if deviations is None else dict(enumerate(deviations)),
            hidden_states=by_kind["hidden_states", "all"],
            attentions=by_kind["attentions", "all"],
            mean_attentions=by_kind["attentions", "mean"],
            decoder_hidden_states=by_kind["decoder_hidden_states", "all"],
            decoder_attentions=by_kind["decoder_attentions", "all"],
            mean_decoder_attentions=by_kind["decoder_attentions", "mean"],
            cross_attentions=by_kind["cross_attentions", "all"],
            mean_cross_attentions=by_kind["cross_attentions", "mean"],
        )

    def _logits(
        self, decoded: Mapping[ArraySpec, Tensor]
    ) -> Float[Tensor, "prediction class"] | None:
        """Return the teacher's logits, arranged, where they are in the batch."""
        if self.predicts == "piece":
            values = {array.signal: tensor for array, tensor in decoded.items()}
            if "top_logits" not in values:
                return None
            return teacher_classes(values["top_logits"], values["log_sum_exp"])
        array = logits_array(self.predicts)
        return self.arrange(decoded[array]) if array in decoded else None


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
        self._split = split
        self._student_split = split if student_split is None else student_split
        self._task = TASKS[store.manifest.identity.task]
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

    def read(self, examples: NDArray[np.int64]) -> Batch:
        """Return the batch of these examples of the split, in this order, on the CPU."""
        rows = self._split.rows_of(examples)
        store_rows = self._store_rows[rows]
        targets = self.targets(examples)
        return Batch(
            inputs=pad_rows(
                [self._student_split.row(row) for row in rows],
                self._pad_id,
                has_token_types=self._has_token_types,
            ),
            labels=torch.from_numpy(targets.labels),
            signals=self._store.read_many(self._arrays, store_rows),
            examples=examples,
            predicts=self._task.predicts,
            places=None if targets.places is None else torch.from_numpy(targets.places),
            other_logits={
                folder: other.read(logits_array(self._task.predicts), other_rows[rows])
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
                store_rows = self._store_rows[self._split.rows_of(expected)]
                self._store.expect(self._arrays, np.sort(store_rows))
        batch = self.read(rows)
        return batch.pin() if is_pinned else batch
