"""What is compared of a decoder: its states, its maps, and those of its cross-attention."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.core.errors import SettingsError
from pipeline.objectives.objective import LossInputs, Objective, StudentOutputs, TeacherSignals
from pipeline.objectives.settings import OBJECTIVES
from pipeline.signals.attentions import ATTENTIONS, CROSS_ATTENTIONS, DECODER_ATTENTIONS
from pipeline.signals.axis import Side
from pipeline.signals.hidden_states import DECODER_HIDDEN_STATES
from pipeline.signals.models import ENCODER_DECODER_SIGNALS
from pipeline.signals.signal import Array, Heads, Signal
from tests.compared import make_models
from tests.objectives.cases import counts_of

TOKENS, TARGETS = (5, 2, 4), (3, 6, 0)
"""Of each row; the last has nothing to be written."""
N_HEADS, HIDDEN = 2, 6
_PLAIN = make_models(2, 4, hidden_size=HIDDEN, n_heads=N_HEADS)
MODELS = replace(
    _PLAIN,
    student=replace(_PLAIN.student, gives=ENCODER_DECODER_SIGNALS, n_decoder_layers=2),
    teacher=_PLAIN.teacher.model_copy(update={"head_reads": None, "n_decoder_layers": 3}),
)
QUERIES = {ATTENTIONS: TOKENS, DECODER_ATTENTIONS: TARGETS, CROSS_ATTENTIONS: TARGETS}
KEYS = {ATTENTIONS: TOKENS, DECODER_ATTENTIONS: TARGETS, CROSS_ATTENTIONS: TOKENS}
MAPS = (ATTENTIONS, DECODER_ATTENTIONS, CROSS_ATTENTIONS)
LABELS = torch.zeros(0)
UNIFORM = ((1, 1), (2, 3))
"""Layers of a student's decoder of 2 and a teacher's of 3."""


@dataclass(frozen=True)
class Both:
    """Both models' parts of one signal, padded, by layer."""

    student: dict[int, Tensor]
    teacher: dict[int, Tensor]


def mask_of(lengths: tuple[int, ...], n_more: int) -> Tensor:
    return torch.arange(max(lengths) + n_more) < torch.tensor(lengths)[:, None]


def draw_maps(signal: Signal) -> Both:
    """Return random maps; padding, which means nothing, is no number."""
    generator = torch.Generator().manual_seed(3)
    queries, keys = QUERIES[signal], KEYS[signal]

    def draw() -> Tensor:
        maps = torch.full((3, N_HEADS, max(queries), max(keys)), torch.nan)
        for row, (n, m) in enumerate(zip(queries, keys, strict=True)):
            scores = 2 * torch.randn(N_HEADS, n, m, generator=generator)
            if signal == DECODER_ATTENTIONS:
                scores = scores.masked_fill(~torch.ones(n, m, dtype=torch.bool).tril(), -torch.inf)
            maps[row, :, :n, :m] = scores.softmax(-1)
        return maps

    return Both({k: draw() for k in (1, 2)}, {k: draw() for k in (1, 2, 3, 4)})


def flat(maps: Tensor, signal: Signal, *, is_mean: bool = False) -> Tensor:
    """Return maps as a store holds them."""
    maps = maps.mean(1, keepdim=True) if is_mean else maps
    lengths = zip(QUERIES[signal], KEYS[signal], strict=True)
    return torch.cat([maps[row, :, :n, :m].flatten() for row, (n, m) in enumerate(lengths)])


def widened(part: Tensor, *n_more: int) -> Tensor:
    """Return a student's part with more padding at its last axes."""
    pads = [size for n in reversed(n_more) for size in (0, n)]
    return torch.nn.functional.pad(part, pads, value=torch.nan).requires_grad_()


def by_layer(signal: Signal, values: Mapping[int, Tensor], heads: Heads = "all") -> Any:
    return {Array(signal, layer, heads): part for layer, part in values.items()}


def loss_of(
    objective: Objective,
    student: Mapping[Array, Tensor],
    teacher: Mapping[Array, Tensor],
    n_more: int = 0,
) -> Tensor:
    masks: dict[Side, Tensor] = {
        "token": mask_of(TOKENS, n_more),
        "target": mask_of(TARGETS, n_more),
    }
    outputs = StudentOutputs(torch.zeros(0), masks, student)
    signals = TeacherSignals(signals=teacher)
    loss: Tensor = objective(LossInputs(outputs, signals, LABELS, counts_of(LABELS, len(TOKENS))))
    return loss


def build(name: str, **given: Any) -> Objective:
    return OBJECTIVES[name](**given).build(MODELS)


def expected_distance(both: Both, signal: Signal, distance: str, heads: str) -> float:
    """Return what the formulas say, by loops in float64."""
    total = 0.0
    pairs = ((1, 2), (2, 4)) if signal == ATTENTIONS else UNIFORM
    for ours, theirs in pairs:
        for row, (n, m) in enumerate(zip(QUERIES[signal], KEYS[signal], strict=True)):
            if not n:
                continue
            one, other = (
                part[row, :, :n, :m].double() for part in (both.student[ours], both.teacher[theirs])
            )
            if heads == "mean":
                one, other = one.mean(0, keepdim=True), other.mean(0, keepdim=True)
            if distance == "mse":
                total += float((one - other).square().mean())
            else:
                logs = [part.clamp(min=2.0**-24).log() for part in (other, one)]
                total += float((other * (logs[0] - logs[1])).sum(-1).mean())
    return total / len(pairs) / len(TOKENS)


@pytest.mark.parametrize("signal", MAPS, ids=lambda signal: signal.name)
@pytest.mark.parametrize("distance", ["mse", "kl"])
@pytest.mark.parametrize("heads", ["all", "mean"])
def test_maps_are_compared_by_queries_and_keys(signal: Signal, distance: str, heads: str) -> None:
    """Catches cross-attention taken for square maps, and padding that is read."""
    both = draw_maps(signal)
    objective = build(signal.name, distance=distance, heads=heads)
    teacher = by_layer(signal, {k: flat(v, signal) for k, v in both.teacher.items()})
    expected = expected_distance(both, signal, distance, heads)
    assert expected > 0.01
    for n_more in (0, 2):
        maps = {k: widened(v, n_more, n_more) for k, v in both.student.items()}
        loss = loss_of(objective, by_layer(signal, maps), teacher, n_more)
        # Sums of some hundred numbers below 1 in float32.
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
        loss.backward()
        gradient = maps[2].grad
        assert gradient is not None and gradient.isfinite().all() and gradient.any()
    if heads == "mean":
        means = {k: flat(v, signal, is_mean=True) for k, v in both.teacher.items()}
        stored = by_layer(signal, means, "mean")
        again = loss_of(objective, by_layer(signal, both.student), stored)
        assert float(again) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_states_of_targets_are_compared(distance: str) -> None:
    """Catches the encoder's mask, which chooses other tokens than the decoder has."""
    generator = torch.Generator().manual_seed(3)

    def draw() -> Tensor:
        return torch.randn(3, max(TARGETS), HIDDEN, generator=generator)

    ours, theirs = {k: draw() for k in (0, 1, 2)}, {k: draw() for k in (0, 1, 2, 3)}
    total = 0.0
    for one, other in UNIFORM:
        for row, n in enumerate(TARGETS):
            if not n:
                continue
            a, b = ours[one][row, :n].double(), theirs[other][row, :n].double()
            apart = (a - b).square().mean(-1)
            if distance == "cosine":
                apart = 1 - torch.nn.functional.cosine_similarity(a, b, dim=-1)
            total += float(apart.mean()) / len(UNIFORM) / 3
    mask = mask_of(TARGETS, 0)
    teacher = by_layer(DECODER_HIDDEN_STATES, {k: v[mask] for k, v in theirs.items()})
    objective = build("decoder_hidden_states", distance=distance)
    loss = loss_of(objective, by_layer(DECODER_HIDDEN_STATES, ours), teacher)
    assert float(loss) == pytest.approx(total, rel=1e-5)  # float32 of some hundred numbers


OF_DECODER = (DECODER_HIDDEN_STATES, DECODER_ATTENTIONS, CROSS_ATTENTIONS)


@pytest.mark.parametrize("signal", OF_DECODER, ids=lambda signal: signal.name)
def test_what_is_needed_is_of_the_decoder(signal: Signal) -> None:
    """Catches arrays of the encoder read for the decoder, and needs that are lost when joined."""
    objective = OBJECTIVES[signal.name]
    needs = objective().needs(MODELS) | OBJECTIVES["hard_label"]().needs(MODELS)
    assert needs.student == {Array(signal, 1), Array(signal, 2)}
    assert needs.teacher == {Array(signal, 1), Array(signal, 3)}
    with pytest.raises(SettingsError, match="pairs student layer 2 with teacher layer 4, but the "):
        objective(layer_map=((2, 4),)).needs(MODELS)


@pytest.mark.parametrize("name", ["cls", "similarity"])
def test_a_model_with_a_decoder_has_no_cls(name: str) -> None:
    """Catches the first token's state taken for something that a head reads."""
    with pytest.raises(SettingsError) as raised:
        OBJECTIVES[name]().needs(MODELS)
    assert raised.value.faults == (
        "compares [CLS] states, which a transformer student does not have; it gives logits, "
        "attention maps, maps of cross-attention, attention maps of a decoder, hidden states of a "
        "decoder's tokens, hidden states of tokens. Take this objective out",
    )


@pytest.mark.parametrize("signal", OF_DECODER, ids=lambda signal: signal.name)
def test_an_encoder_has_no_decoder_signals(signal: Signal) -> None:
    """Catches an objective whose loss is of nothing."""
    with pytest.raises(SettingsError, match=r"which a transformer student does not have; it gives"):
        OBJECTIVES[signal.name]().needs(_PLAIN)
