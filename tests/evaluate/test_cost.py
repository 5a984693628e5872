"""Sizes against files on disk; times against a clock that the models themselves move."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from pipeline.core.errors import DataError
from pipeline.evaluate import cost as cost_module
from pipeline.evaluate.cost import N_SINGLES, N_WARM_UP_REPEATS, Cost, Timed, measure_costs

CPU = torch.device("cpu")
PAD_ID = 9

# Every length once, unsorted; not a multiple of a batch.
EXAMPLES = [[1] * length for length in Random(5).sample(range(1, 41), 40)]


class Clock:
    """Seconds that pass only when a model says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds


class FakeModel(nn.Module):
    """A model that takes as long as it is told to, and remembers what it was given."""

    def __init__(
        self, name: str, clock: Clock, log: list["Call"], seconds: Callable[["Call"], float]
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7))
        self.name, self.clock, self.log, self.seconds = name, clock, log, seconds

    def forward(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> None:
        assert torch.is_inference_mode_enabled()
        assert not self.training
        n_earlier = sum(call.name == self.name for call in self.log)
        call = Call(self.name, n_earlier, input_ids, attention_mask)
        self.log.append(call)
        self.clock.seconds += self.seconds(call)


class Call:
    """One forward of a fake model."""

    def __init__(self, name: str, index: int, ids: torch.Tensor, mask: torch.Tensor) -> None:
        self.name, self.index, self.ids, self.mask = name, index, ids, mask
        self.repeat, self.place = divmod(index, 1 + N_SINGLES + 1)

    @property
    def n_rows(self) -> int:
        return len(self.ids)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cost_module, "perf_counter", clock.now)
    return clock


def measure(
    clock: Clock, seconds: dict[str, Callable[[Call], float]], n_repeats: int = 5
) -> tuple[dict[str, Cost], list[Call]]:
    log: list[Call] = []
    models = {name: FakeModel(name, clock, log, taken) for name, taken in seconds.items()}
    timed = {name: Timed(model, EXAMPLES, PAD_ID) for name, model in models.items()}
    costs = measure_costs(timed, n_repeats=n_repeats, device=CPU)
    return costs, log


def test_latency_and_throughput_have_their_units(clock: Clock) -> None:
    """Catches seconds for milliseconds, batches for examples, and the turns' untimed forward."""

    def seconds(call: Call) -> float:
        if call.place == 0:
            return 50.0
        return 0.004 if call.n_rows == 1 else 0.064

    costs, _ = measure(clock, {"student": seconds})
    assert costs["student"].latency_ms == pytest.approx(4.0)
    assert costs["student"].throughput_per_second == pytest.approx(500.0)
    assert costs["student"].n_parameters == 7
    assert costs["student"].size_bytes == 28


def test_a_disturbed_repeat_does_not_count(clock: Clock) -> None:
    """Catches a mean where the median belongs."""

    def seconds(call: Call) -> float:
        return 1.0 if call.repeat == N_WARM_UP_REPEATS + 1 else 0.002

    costs, _ = measure(clock, {"student": seconds}, n_repeats=3)
    assert costs["student"].latency_ms == pytest.approx(2.0)
    assert costs["student"].throughput_per_second == pytest.approx(32 / 0.002)


def test_an_interrupted_forward_in_every_repeat_does_not_count(clock: Clock) -> None:
    """Catches a mean over the singles of a repeat, which one interruption in eight spoils."""
    costs, _ = measure(clock, {"student": lambda call: 0.5 if call.place == 3 else 0.002})
    assert costs["student"].latency_ms == pytest.approx(2.0)


def test_warm_up_is_not_counted(clock: Clock) -> None:
    """Catches counting the first forwards, which load kernels and fill caches."""

    def seconds(call: Call) -> float:
        return 9.0 if call.repeat < N_WARM_UP_REPEATS else 0.001

    costs, log = measure(clock, {"student": seconds}, n_repeats=1)
    assert costs["student"].latency_ms == pytest.approx(1.0)
    assert {call.repeat for call in log} == set(range(N_WARM_UP_REPEATS + 1))


def test_models_take_turns_on_the_same_examples(clock: Clock) -> None:
    """Catches timing one model after the other, or each on rows of its own."""
    _, log = measure(clock, {"student": lambda _: 0.001, "teacher": lambda _: 0.005})
    turn = 1 + N_SINGLES + 1
    names = [call.name for call in log]
    assert names == (["student"] * turn + ["teacher"] * turn) * (N_WARM_UP_REPEATS + 5)
    of_student = [call for call in log if call.name == "student"]
    of_teacher = [call for call in log if call.name == "teacher"]
    for ours, theirs in zip(of_student, of_teacher, strict=True):
        assert torch.equal(ours.ids, theirs.ids)


def test_every_repeat_spans_the_lengths_and_together_they_use_every_row(clock: Clock) -> None:
    """Catches repeats that differ by their rows' lengths instead of by noise."""
    _, log = measure(clock, {"student": lambda _: 0.001}, n_repeats=8)
    turns = [call for call in log if call.repeat >= N_WARM_UP_REPEATS and call.place > 0]
    singles = [call for call in turns if call.n_rows == 1]
    assert {call.ids.shape[1] for call in singles} == set(range(1, 41))
    for repeat in {call.repeat for call in singles}:
        lengths = [call.ids.shape[1] for call in singles if call.repeat == repeat]
        assert len(lengths) == N_SINGLES
        assert min(lengths) <= 5
        assert max(lengths) >= 36
        assert abs(sum(lengths) / N_SINGLES - 20.5) <= 2


def test_batches_are_padded_to_their_longest_row_and_masked(clock: Clock) -> None:
    """Catches padding to a fixed length, which slows the model down, and an unmasked pad."""
    _, log = measure(clock, {"student": lambda _: 0.001})
    batches = [call for call in log if call.n_rows > 1]
    assert batches
    for call in log:
        lengths = call.mask.sum(dim=1)
        assert call.ids.shape == call.mask.shape == (call.n_rows, int(lengths.max()))
        assert torch.equal(call.ids == 1, call.mask == 1)
        assert torch.equal(call.ids == PAD_ID, call.mask == 0)
        assert call.ids.dtype == call.mask.dtype == torch.int64
    assert {call.n_rows for call in log} == {1, 32}


def test_few_examples_are_used_in_a_circle(clock: Clock) -> None:
    """Catches a batch that is smaller than the throughput assumes."""
    log: list[Call] = []
    model = FakeModel("student", clock, log, lambda _: 0.001)
    timed = {"student": Timed(model, [[1], [1, 1]], PAD_ID)}
    measure_costs(timed, n_repeats=1, device=CPU)
    assert {call.n_rows for call in log} == {1, 32}


@pytest.mark.parametrize(
    ("examples", "text"), [([], "0 of 0 rows"), ([[1], [], [2]], "1 of 3 rows given for it")]
)
def test_examples_without_tokens_are_refused(examples: list[list[int]], text: str) -> None:
    """Catches timing a model on nothing."""
    with pytest.raises(DataError, match=text):
        measure_costs({"a": Timed(nn.Linear(1, 1), examples, PAD_ID)}, n_repeats=1, device=CPU)


def test_a_cuda_device_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches timing the launch of kernels instead of their work."""
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    cost_module._synchronize(torch.device("cuda", 1))
    cost_module._synchronize(CPU)
    assert waited == [torch.device("cuda", 1)]


def tiny_config() -> BertConfig:
    return BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=70,
    )


def tensor_bytes(file: Path) -> int:
    """Return the bytes of a safetensors file after its header."""
    content = file.read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    json.loads(content[8 : 8 + n_header])
    return len(content) - 8 - n_header


@pytest.mark.parametrize("architecture", [BertForSequenceClassification, BertForMaskedLM])
def test_size_is_that_of_the_saved_file(architecture: Any, tmp_path: Path) -> None:
    """Catches counting tied weights twice, or buffers that are not saved."""
    model = architecture(tiny_config()).half()
    model.save_pretrained(tmp_path)
    costs = measure_costs({"model": Timed(model, [[1, 2, 3]], 0)}, n_repeats=1, device=CPU)
    assert costs["model"].size_bytes == tensor_bytes(tmp_path / "model.safetensors")
    assert costs["model"].n_parameters == sum(p.numel() for p in set(model.parameters()))
    assert costs["model"].latency_ms > 0
    assert costs["model"].throughput_per_second > 0


def test_models_share_nothing_but_the_process(clock: Clock) -> None:
    """Catches times or sizes that land under another model's name."""
    costs, _ = measure(clock, {"slow": lambda _: 0.3, "fast": lambda _: 0.1})
    assert list(costs) == ["slow", "fast"]
    assert costs["slow"].latency_ms == pytest.approx(300)
    assert costs["fast"].latency_ms == pytest.approx(100)
