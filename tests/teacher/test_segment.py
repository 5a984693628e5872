"""The arrays of one segment: what memory, precision and encodings make of a batch."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.core.errors import OutOfMemoryError, SignalError
from pipeline.core.fingerprint import digest_folder
from pipeline.core.processes import Processes
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.reader import open_store
from pipeline.tasks import TASKS
from pipeline.teacher.capture import capture
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.extract import Extracted, Extractor
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens

EVERY_SIGNAL: dict[str, Any] = {
    "hidden_states": {"layers": (0, 3)},
    "attentions": {"layers": (1, 4)},
}


def run(
    checkpoint: Path, tokens: Tokens, store_dir: Path, batch_tokens: int = 512, **signals: Any
) -> Path:
    settings = CaptureSettings.model_validate(
        {"segment_rows": 60, "signals": {**EVERY_SIGNAL, **signals}}
    )
    capture(
        checkpoint,
        tokens,
        TASKS["classification"],
        settings,
        store_dir,
        device=torch.device("cpu"),
        batch_tokens=batch_tokens,
        processes=Processes(),
    )
    return store_dir


class SmallDevice:
    """A device whose memory holds so many padded tokens."""

    def __init__(self, patch: pytest.MonkeyPatch, n_tokens: int, error: Exception) -> None:
        self.batches: list[int] = []
        """Padded tokens of every batch that was computed."""
        compute = Extractor.__call__

        def limited(extractor: Extractor, rows: list[TokenRow]) -> Extracted:
            size = len(rows) * max(len(row.ids) for row in rows)
            if size > n_tokens:
                raise error
            self.batches.append(size)
            return compute(extractor, rows)

        patch.setattr(Extractor, "__call__", limited)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved(
    checkpoint: Path,
    tokens: Tokens,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    """Catches a capture that ends with the device's memory, or that then skips rows."""
    device = SmallDevice(monkeypatch, 100, error)
    found = open_store(run(checkpoint, tokens, tmp_path / "small"))
    assert max(device.batches) <= 100 and len(device.batches) > 10
    message = r"capture: out of memory; going on with (\d+) tokens in a batch"
    budgets = [int(number) for number in re.findall(message, capsys.readouterr().out)]
    assert budgets and budgets == sorted(budgets, reverse=True) and budgets[-1] <= 100
    monkeypatch.undo()
    whole = open_store(run(checkpoint, tokens, tmp_path / "whole"))
    rows = range(len(whole))
    assert whole.keys.tobytes() == found.keys.tobytes() and len(whole) > 100
    # Batches of other sizes round float32 sums in another order.
    torch.testing.assert_close(found.logits(rows), whole.logits(rows), rtol=0, atol=1e-5)
    assert not torch.equal(found.logits(rows), found.logits(rows).roll(1, 0))


def test_a_row_that_does_not_fit_is_named(
    checkpoint: Path, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a capture that halves its batches for ever."""
    longest = int(max(split.lengths.max() for split in tokens.splits.values()))
    SmallDevice(monkeypatch, longest - 1, torch.OutOfMemoryError("CUDA out of memory"))
    message = (
        rf"^row \d+ of (train|validation|test) alone, of {longest} tokens, does not fit into the "
        r"device's memory\. Capture fewer layers at a time, or set runtime\.device: cpu\."
    )
    with pytest.raises(OutOfMemoryError, match=message):
        run(checkpoint, tokens, tmp_path / "store")


def test_other_runtime_errors_are_not_memory(
    checkpoint: Path, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a defect of a model that is taken for a lack of memory, and tried for ever."""
    SmallDevice(monkeypatch, 0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(checkpoint, tokens, tmp_path / "store")


Spoil = Callable[[dict[Array, Tensor], list[TokenRow]], None]


def spoil_outputs(patch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    """Let the model give other outputs."""
    raw = Extractor.raw

    def spoiled(self: Extractor, rows: list[TokenRow]) -> dict[Array, Tensor]:
        with torch.inference_mode():
            values = {array: part.clone() for array, part in raw(self, rows).items()}
            spoil(values, rows)
        return values

    patch.setattr(Extractor, "raw", spoiled)


def place_of(tokens: Tokens, split: str, position: int) -> TokenRow:
    return tokens.splits[split].row(position)


@pytest.mark.parametrize(
    ("array", "place", "value", "message"),
    [
        (Array(LOGITS), (1,), torch.nan, "logits: 1 values are not finite"),
        (
            CLS_STATES,
            (3, 2),
            -70_912.4,
            "cls of layer 3: 1 values overflow float16 (largest 70,912; ",
        ),
        (
            CLS_STATES,
            (0, 0),
            torch.inf,
            "cls of layer 0: 1 values are not finite. The teacher diverged",
        ),
        (
            Array(HIDDEN_STATES, 3),
            (0, 5),
            1e5,
            "hidden_states of layer 3: 1 values overflow float16 (largest 100,000; limit 65,504)",
        ),
        (
            Array(ATTENTIONS, 4),
            (2, 1, 0),
            torch.nan,
            "attentions of layer 4: 1 values are not finite",
        ),
    ],
)
def test_a_value_that_does_not_fit_names_row_and_layer(
    checkpoint: Path,
    tokens: Tokens,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    array: Array,
    place: tuple[int, ...],
    value: float,
    message: str,
) -> None:
    """Catches an infinity in the store, and an error that leaves a user to search 67,000 rows."""
    wanted = tokens.splits["validation"].row(6)[0]

    def spoil(values: dict[Array, Tensor], rows: list[TokenRow]) -> None:
        for index, (ids, *_) in enumerate(rows):
            if ids.tolist() == wanted.tolist():
                values[array][(index, *place)] = value

    spoil_outputs(monkeypatch, spoil)
    with pytest.raises(SignalError, match=f"^row 7 of validation, {re.escape(message)}"):
        run(checkpoint, tokens, tmp_path / "store")


def test_padding_may_be_anything(
    checkpoint: Path, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a capture that stops for values that are never stored."""
    n_spoiled = 0

    def spoil(values: dict[Array, Tensor], rows: list[TokenRow]) -> None:
        nonlocal n_spoiled
        for index, (ids, *_) in enumerate(rows):
            values[Array(ATTENTIONS, 1)][index, :, len(ids) :] = torch.nan
            values[Array(HIDDEN_STATES, 0)][index, len(ids) :] = torch.inf
            n_spoiled += values[Array(HIDDEN_STATES, 0)].shape[1] > len(ids)

    run(checkpoint, tokens, tmp_path / "plain")
    spoil_outputs(monkeypatch, spoil)
    run(checkpoint, tokens, tmp_path / "spoiled")
    assert n_spoiled > 10
    assert digest_folder(tmp_path / "plain") == digest_folder(tmp_path / "spoiled")


def test_moments_of_cls_are_those_of_all_rows(
    checkpoint: Path, tokens: Tokens, tmp_path: Path
) -> None:
    """Catches moments of one segment for all, weights that are not rows, and n - 1 for n."""
    store = open_store(run(checkpoint, tokens, tmp_path / "store"))
    assert [segment.n_rows for segment in store.manifest.segments][-1] < 60
    states = store.cls(range(len(store))).double()
    mean, deviation = store.cls_moments()
    # The moments are stored with 24 bits.
    torch.testing.assert_close(mean.double(), states.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        deviation.double(), states.std(0, correction=0), rtol=1e-5, atol=1e-6
    )
    assert float((states.std(0) - states.std(0).roll(1, 0)).abs().max()) > 1e-2


def test_mean_heads_are_the_mean_of_all_heads(
    checkpoint: Path, tokens: Tokens, tmp_path: Path
) -> None:
    """Catches an average over tokens, or heads that are summed."""
    folder = tmp_path / "store"
    run(checkpoint, tokens, folder, attentions={"layers": (2,), "encoding": "float32"})
    signals = {"layers": (2,), "heads": "mean", "encoding": "float32"}
    run(checkpoint, tokens, folder, attentions=signals)
    store = open_store(folder)
    assert {"attentions/02", "attentions/02-mean"} <= store.manifest.array_names()
    for row, n_tokens in enumerate(store.lengths[:5]):
        maps = store.attentions([row], 2).view(4, n_tokens, n_tokens)
        mean = store.mean_attentions([row], 2).view(n_tokens, n_tokens)
        torch.testing.assert_close(mean, maps.mean(0))
        assert float((mean - maps[0]).abs().max()) > 1e-3


@pytest.mark.parametrize("encoding", ["bfloat16", "uint8_cbrt"])
def test_encodings_of_attention_reach_the_store(
    checkpoint: Path, tokens: Tokens, tmp_path: Path, encoding: str
) -> None:
    """Catches an encoding that is recorded and not applied, or decoded as another one."""
    exact = open_store(
        run(
            checkpoint,
            tokens,
            tmp_path / "exact",
            attentions={"layers": (2,), "encoding": "float32"},
        )
    )
    signals = {"layers": (2,), "encoding": encoding}
    store = open_store(run(checkpoint, tokens, tmp_path / "store", attentions=signals))
    rows = range(len(store))
    difference = (store.attentions(rows, 2) - exact.attentions(rows, 2)).abs().max()
    # Half a unit in the 8th bit of 1, or the documented error of a code, twice for the division.
    assert 1e-5 < float(difference) <= {"bfloat16": 2.0**-9, "uint8_cbrt": 2 * 0.0059}[encoding]
    sizes = [
        s.segments[0].arrays["attentions/02"].chunk.size_bytes
        for s in (exact.manifest, store.manifest)
    ]
    assert (sizes[0] - 4) // (sizes[1] - 4) == {"bfloat16": 2, "uint8_cbrt": 4}[encoding]
