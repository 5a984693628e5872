"""What a model costs to run: its size, and its speed beside other models.

All models are timed in one process and in turn, so that whatever else the machine does
hits each of them. The times are good for ratios within one call. They leave out
tokenisation and the copy to the device, and they are no promise about another machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Int64
from torch import nn

from pipeline.core.errors import DataError
from pipeline.evaluate.cost_figures import BATCH_SIZE, Cost
from pipeline.models.inputs import Inputs
from pipeline.text.token_row import PiecesAsked, TokenRow

Tokens = Int64[torch.Tensor, "batch token"]
ModelInputs = dict[str, Tokens]

N_SINGLES = 8
"""Examples forwarded one by one in a repeat."""

N_WARM_UP_REPEATS = 3
"""Repeats that are run first and not counted."""


@dataclass(frozen=True)
class Timed:
    """A model to be timed, and rows in its own tokens."""

    model: nn.Module
    examples: Sequence[Sequence[int]]
    """Token ids of real rows, unpadded; the same rows, in the same order, for every model."""
    pad_id: int
    asked: Sequence[PiecesAsked | None] | None = None
    """The word pieces that each example asks for, where these are predicted: a masked model
    then gives the logits of masked tokens alone, and a decoder is given what it writes."""


def measure_costs(
    timed: Mapping[str, Timed], *, n_repeats: int, device: torch.device
) -> dict[str, Cost]:
    """Return the cost of each model under its name in `timed`.

    The examples are used in a circle, in an order in which any few neighbours span the
    lengths that occur. In each of `n_repeats` repeats every model forwards the same
    examples: 8 one by one, then 32 as a batch.
    Latency is the median over all single forwards and throughput comes from the median
    over the batches. A mean over a repeat's singles would be worse: on a busy machine
    most repeats have one that was interrupted.

    The models are left on `device` and in evaluation mode. They are called with
    `input_ids`, `attention_mask` and the inputs by which pieces are asked for only, in the
    precision they come in.

    Raises:
        DataError: there is no example, or one without a token.
    """
    for one in timed.values():
        _check_examples(one.examples)
        one.model.to(device).eval()
    order = _spread_over_lengths(next(iter(timed.values())).examples)
    singles, batch = cycle(order), cycle(order)
    turns: dict[str, list[_Turn]] = {name: [] for name in timed}
    for _ in range(N_WARM_UP_REPEATS + n_repeats):
        alone = list(islice(singles, N_SINGLES))
        together = list(islice(batch, BATCH_SIZE))
        for name, one in timed.items():
            single_inputs = [pad_examples(one, [row], device) for row in alone]
            turns[name].append(
                _time_turn(one.model, single_inputs, pad_examples(one, together, device))
            )
    return {name: _cost(one.model, turns[name][N_WARM_UP_REPEATS:]) for name, one in timed.items()}


@dataclass(frozen=True)
class _Turn:
    """The times of one model in one repeat."""

    single_seconds: list[float]
    """One for each example that was forwarded alone."""

    batch_seconds: float


def _time_turn(model: nn.Module, singles: list[ModelInputs], batch: ModelInputs) -> _Turn:
    # The model before this one has left the processor's caches full of its own weights.
    _time_forward(model, singles[0])
    return _Turn(
        single_seconds=[_time_forward(model, single) for single in singles],
        batch_seconds=_time_forward(model, batch),
    )


def _time_forward(model: nn.Module, inputs: ModelInputs) -> float:
    """Return the seconds from the call until the device has finished."""
    device = inputs["input_ids"].device
    with torch.inference_mode():
        _synchronize(device)
        started = perf_counter()
        model(**inputs)
        _synchronize(device)
        return perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cost(model: nn.Module, turns: Sequence[_Turn]) -> Cost:
    return Cost(
        n_parameters=sum(parameter.numel() for parameter in model.parameters()),
        size_bytes=count_weight_bytes(model),
        latency_ms=1000 * median(seconds for turn in turns for seconds in turn.single_seconds),
        throughput_per_second=BATCH_SIZE / median(turn.batch_seconds for turn in turns),
    )


def count_weight_bytes(model: nn.Module) -> int:
    """Return the bytes of parameters and persistent buffers; shared memory counts once."""
    tensors = model.state_dict().values()
    return sum(size for _, size in {(tensor.data_ptr(), tensor.nbytes) for tensor in tensors})


def _check_examples(examples: Sequence[Sequence[int]]) -> None:
    lengths = [len(ids) for ids in examples]
    if min(lengths, default=0) == 0:
        raise DataError(
            f"latency is timed on rows with tokens; {lengths.count(0)} of {len(lengths)} rows "
            "given for it have none"
        )


def _spread_over_lengths(examples: Sequence[Sequence[int]]) -> list[int]:
    """Return the examples' positions so ordered that a few neighbours span the lengths."""
    by_length = sorted(range(len(examples)), key=lambda row: len(examples[row]))
    stride = -(-len(by_length) // N_SINGLES)
    return [row for start in range(stride) for row in by_length[start::stride]]


def pad_examples(timed: Timed, rows: Sequence[int], device: torch.device) -> ModelInputs:
    """Return these of a model's rows as one batch, padded on the right to the longest."""
    typed = [
        TokenRow(
            np.array(timed.examples[row], dtype=np.int32),
            np.zeros(len(timed.examples[row]), dtype=np.int32),
            None if timed.asked is None else timed.asked[row],
        )
        for row in rows
    ]
    return Inputs(timed.pad_id, has_token_types=False).pad(typed, device)
