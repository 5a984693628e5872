"""A sample of rows computed again: an honest store passes, another one does not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.core.errors import StoreMismatchError
from pipeline.models.inputs import Inputs
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.encoding import decode, encode
from pipeline.store.reader import open_store
from pipeline.tasks import TASKS
from pipeline.teacher.extract import Extractor
from pipeline.teacher.load import load_teacher
from pipeline.teacher.recompute import Recomputed, bound, recompute
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens
from tests.conftest import make_checkpoint
from tests.store.altered import replace_recorded

CPU = torch.device("cpu")
TASK = TASKS["classification"]
SIGNALS = {
    "exact": {
        "logits": {"encoding": "float32"},
        "cls": {"encoding": "float32"},
        "hidden_states": {"layers": (0, 4), "encoding": "float16"},
        "attentions": {"layers": (2,), "encoding": "uint8_cbrt"},
    },
    "small": {
        "logits": {"encoding": "bfloat16"},
        "hidden_states": {"layers": (3,), "encoding": "bfloat16"},
        "attentions": {"layers": (1,), "heads": "mean", "encoding": "float16"},
    },
}


def check(store_dir: Path, checkpoint: Path, tokens: Tokens, n_rows: int = 6) -> list[Recomputed]:
    return recompute(open_store(store_dir), checkpoint, tokens, TASK, n_rows, CPU)


@pytest.mark.parametrize("kind", SIGNALS)
def test_an_honest_store_passes(
    make_store: Callable[..., Path], checkpoint: Path, tokens: Tokens, kind: str
) -> None:
    """Catches a bound that a store of the same teacher does not keep."""
    found = check(make_store(signals=SIGNALS[kind]), checkpoint, tokens)
    assert len(found) == (5 if kind == "exact" else 4)  # [CLS] is captured by default
    assert all(0 < part.worst <= 1 and part.n_rows == 6 for part in found), found


def test_an_altered_store_does_not(
    make_store: Callable[..., Path], checkpoint: Path, tokens: Tokens
) -> None:
    """Catches a check that passes whatever is stored: one logit in a hundred is 1% off, and
    every digest of the store holds."""
    store_dir = make_store()
    manifest = open_store(store_dir).manifest
    for number, segment in enumerate(manifest.segments):
        name = f"logits/{segment.name}/c/0/0"
        data = (store_dir / name).read_bytes()
        values = np.frombuffer(data[:-4], "<f4") * np.float32(1.01)
        place = ("segments", number, "arrays", "logits", "chunk")
        replace_recorded(store_dir, name, place, values.tobytes() + data[-4:])
    worst = {part.array: part.worst for part in check(store_dir, checkpoint, tokens)}
    assert worst.pop("logits") > 10
    assert len(worst) == 3 and max(worst.values()) <= 1


def test_a_row_that_came_out_right_by_chance(
    make_store: Callable[..., Path],
    checkpoint: Path,
    tokens: Tokens,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches an honest row that is called forged, because this machine's two logits of it are
    without an error, so that none is allowed to the capture's either."""
    store_dir = make_store()
    raw, seen = Extractor.raw, []

    def lucky(self: Extractor, rows: list[TokenRow]) -> dict[Array, Tensor]:
        values = raw(self, rows)
        seen.append(values[Array(LOGITS)])
        if len(seen) == 1:
            exact = Extractor(
                load_teacher(checkpoint, TASK, tokens.labels, needs_head=True).double(),
                {Array(LOGITS): "float32"},
                "float32",
                CPU,
                Inputs(0, has_token_types=True),
            )
            values[Array(LOGITS)] = raw(exact, rows)[Array(LOGITS)]
        return values

    monkeypatch.setattr(Extractor, "raw", torch.inference_mode()(lucky))
    worst = {part.array: part.worst for part in check(store_dir, checkpoint, tokens)}
    assert seen[0].dtype == torch.float32 and not torch.equal(seen[0].double(), seen[1])
    assert 0 < worst["logits"] <= 1


def test_another_teacher_is_refused(
    make_store: Callable[..., Path], tmp_path: Path, tokens: Tokens
) -> None:
    """Catches a store that is called forged because the wrong teacher was at hand."""
    store_dir = make_store()
    other = make_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(StoreMismatchError, match=r"is not the teacher of .*weights=\w{12}, now"):
        check(store_dir, other, tokens)


@pytest.mark.parametrize("n_tokens", [2, 9, 40])
def test_the_bound_of_companded_maps(n_tokens: int) -> None:
    """Catches a bound that some map breaks, or that is so wide that it says nothing."""
    generator = torch.Generator().manual_seed(n_tokens)
    true = (4 * torch.randn(50 * n_tokens, n_tokens, generator=generator)).softmax(-1).double()
    error = 1e-6
    noise = error * (2 * torch.rand(true.shape, generator=generator, dtype=torch.float64) - 1)
    codes = encode((true + noise).float(), "uint8_cbrt").flatten()
    stored = decode(codes, "uint8_cbrt", torch.full((len(true),), n_tokens)).double()
    allowed = bound(true.flatten(), error, "uint8_cbrt", n_tokens)
    assert bool(((stored - true.flatten()).abs() <= allowed).all())
    assert float(allowed.max()) < 0.03
