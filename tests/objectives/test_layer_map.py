"""The table of named layer maps, explicit pairs, and layers that do not exist."""

import re

import pytest
import torch

from pipeline.core.errors import SettingsError
from pipeline.objectives.layer_map import LayerMap, resolve
from pipeline.objectives.own_weights import PairWeights
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS
from pipeline.signals.hidden_states import HIDDEN_STATES
from pipeline.signals.signal import Array
from tests.compared import make_models


@pytest.mark.parametrize(
    ("name", "n_teacher", "n_student", "teacher_layers"),
    [
        ("skip", 12, 6, [2, 4, 6, 8, 10]),
        ("last", 12, 6, [7, 8, 9, 10, 11]),
        ("uniform", 12, 6, [2, 4, 6, 8, 10, 12]),
        ("skip", 6, 3, [2, 4]),
        ("last", 6, 3, [4, 5]),
        ("uniform", 6, 3, [2, 4, 6]),
        ("skip", 4, 3, [1, 2]),
        ("last", 4, 3, [2, 3]),
        ("uniform", 4, 3, [1, 2, 4]),
        ("uniform", 12, 1, [12]),
        ("skip", 4, 4, [1, 2, 3]),
        ("last", 4, 4, [1, 2, 3]),
        ("uniform", 4, 4, [1, 2, 3, 4]),
    ],
)
def test_named_maps(
    name: LayerMap, n_teacher: int, n_student: int, teacher_layers: list[int]
) -> None:
    """Catches a map that is off by one: Patient KD's numbers cannot be repeated with it."""
    models = make_models(n_student, n_teacher)
    assert resolve(name, models, ATTENTIONS) == list(enumerate(teacher_layers, start=1))


def test_pairs_are_taken_as_given() -> None:
    """Catches pairs that are sorted, swapped or made distinct."""
    pairs = ((6, 1), (1, 12), (1, 0), (0, 0))
    assert resolve(pairs, make_models(6, 12), HIDDEN_STATES) == list(pairs)


@pytest.mark.parametrize(
    ("pair", "lowest", "message"),
    [
        (
            (4, 14),
            0,
            "layer map pairs student layer 4 with teacher layer 14, but the teacher has hidden "
            "states 0..12 (0 is the embedding output)",
        ),
        (
            (7, 12),
            0,
            "layer map pairs student layer 7 with teacher layer 12, but the student has hidden "
            "states 0..6 (0 is the embedding output)",
        ),
        (
            (-1, 12),
            0,
            "layer map pairs student layer -1 with teacher layer 12, but the student has hidden "
            "states 0..6 (0 is the embedding output)",
        ),
        (
            (0, 2),
            1,
            "layer map pairs student layer 0 with teacher layer 2, but the student has attention "
            "maps 1..6",
        ),
        (
            (1, 13),
            1,
            "layer map pairs student layer 1 with teacher layer 13, but the teacher has attention "
            "maps 1..12",
        ),
    ],
)
def test_layers_that_do_not_exist_are_refused(
    pair: tuple[int, int], lowest: int, message: str
) -> None:
    """Catches a negative index that silently means the last layer, and a KeyError in step 1."""
    with pytest.raises(SettingsError) as raised:
        resolve(((1, 1), pair), make_models(6, 12), ATTENTIONS if lowest else HIDDEN_STATES)
    assert raised.value.faults == (message,)


@pytest.mark.parametrize("name", ["skip", "last"])
def test_a_student_of_one_layer_has_nothing_left_to_pair(name: LayerMap) -> None:
    """Catches a loss over no layers, which is NaN or a silent zero."""
    message = (
        f"layer map '{name}' has no pair for a student of 1 layers and a teacher of 4; "
        "give pairs [[student, teacher], ...]"
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        resolve(name, make_models(1, 4), ATTENTIONS)


@pytest.mark.parametrize("name", ["skip", "last", "uniform"])
def test_a_student_deeper_than_its_teacher_needs_pairs(name: LayerMap) -> None:
    """Catches `last` with teacher layers below 1."""
    message = f"layer map '{name}' has no pair for a student of 6 layers and a teacher of 4;"
    with pytest.raises(SettingsError, match=re.escape(message)):
        resolve(name, make_models(6, 4), ATTENTIONS)


def test_no_pairs_are_refused() -> None:
    """Catches an empty list in params.yaml, which would give a loss over nothing."""
    with pytest.raises(SettingsError, match=r"^layer map '\(\)' has no pair"):
        resolve((), make_models(6, 12), HIDDEN_STATES)


@pytest.mark.parametrize(
    ("n_student", "captured", "expected"),
    [
        (2, (3, 6), [(1, 3), (1, 6), (2, 3), (2, 6)]),
        (1, (6,), [(1, 6)]),
        (1, (1, 2, 3), [(1, 1), (1, 2), (1, 3)]),
        (8, (6,), [(layer, 6) for layer in range(1, 9)]),  # deeper than its teacher
    ],
)
def test_learned_pairs_every_layer_with_every_captured_one(
    n_student: int, captured: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    """Catches pairs in another order than the weights', and a deep student that is refused."""
    maps = [Array(ATTENTIONS, layer) for layer in captured]
    models = make_models(n_student, 6, captured=maps)
    assert resolve("learned", models, ATTENTIONS) == expected


def test_learned_takes_the_embedding_output_where_it_was_captured() -> None:
    """Catches layer 0 of attention maps, and hidden states of layer 0 that are refused."""
    captured = [Array(signal, k) for signal in (HIDDEN_STATES, ATTENTIONS) for k in (0, 6)]
    models = make_models(1, 6, captured=captured)
    assert resolve("learned", models, HIDDEN_STATES) == [(1, 0), (1, 6)]
    with pytest.raises(SettingsError, match=r"pairs student layer 1 with teacher layer 0, but the"):
        resolve("learned", models, ATTENTIONS)


def test_learned_needs_a_captured_layer() -> None:
    """Catches a loss over nothing, where the store has no such signal."""
    with pytest.raises(SettingsError, match="and none was; list layers under capture"):
        resolve("learned", make_models(2, 6), ATTENTIONS)


def test_one_layer_learns_from_one_layer() -> None:
    """Catches a division by the number of layers minus one."""
    models = make_models(1, 1, captured=[Array(ATTENTIONS, 1)])
    for name in ("uniform", "learned"):
        assert resolve(name, models, ATTENTIONS) == [(1, 1)]


def test_only_transformers_have_an_embedding_output() -> None:
    """Catches a layer 0 that a student without Transformer layers does not have."""
    pairs = ((0, 0),)
    assert resolve(pairs, make_models(1, 4), HIDDEN_STATES) == [(0, 0)]
    network = make_models(1, 4, gives=frozenset({CLS}))
    assert resolve(((1, 0),), network, HIDDEN_STATES) == [(1, 0)]
    with pytest.raises(SettingsError) as raised:
        resolve(pairs, network, HIDDEN_STATES)
    assert raised.value.faults == (
        "layer map pairs student layer 0 with teacher layer 0, but the student has hidden states "
        "1..1",
    )


LEARNED = [(1, 2), (1, 4), (1, 6), (2, 2), (2, 4), (2, 6)]
LOSSES = torch.tensor([3.0, 1.0, 2.0, 0.5, 4.0, 5.0])


def test_fixed_pairs_count_the_same() -> None:
    """Catches weights where nothing is to be learned."""
    weights = PairWeights(LEARNED, is_learned=False)
    assert weights.n_taught == 6 and not list(weights.parameters())
    assert float(weights.mean(LOSSES)) == pytest.approx(15.5 / 6, rel=2**-22)  # six additions


def test_learned_weights_are_equal_at_first() -> None:
    """Catches random weights, by which two equal trainings would differ."""
    weights = PairWeights(LEARNED, is_learned=True)
    assert weights.n_taught == 2
    found = float(weights.mean(LOSSES).detach())
    assert found == pytest.approx(15.5 / 6, rel=2**-22)


def test_learned_weights_of_a_student_layer_sum_to_one() -> None:
    """Catches a softmax over all pairs or over student layers: equal losses would change."""
    weights = PairWeights(LEARNED, is_learned=True)
    assert weights.scores is not None
    with torch.no_grad():
        weights.scores.copy_(torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]]))
    losses = LOSSES.clone().requires_grad_()
    equal = torch.tensor([7.0, 7.0, 7.0, 1.0, 1.0, 1.0])
    assert float(weights.mean(equal).detach()) == pytest.approx(4.0, rel=2**-22)
    shares = torch.autograd.grad(weights.mean(losses), losses)[0].view(2, 3)
    assert (shares > 0).all()
    torch.testing.assert_close(shares.sum(1), torch.full((2,), 0.5))  # a mean over two layers
    assert shares[0].argmax() == 0 and shares[1].argmax() == 0


def test_learned_weights_go_to_what_is_easiest() -> None:
    """Catches a sign by which the hardest pair would win."""
    weights = PairWeights(LEARNED, is_learned=True)
    assert weights.scores is not None
    (gradient,) = torch.autograd.grad(weights.mean(LOSSES), [weights.scores])
    # Descent raises the score of the smallest loss of each student layer the most.
    assert (-gradient).argmax(1).tolist() == [1, 0]
    # By hand: share (1/3) x (loss - the layer's mean) / 2 layers; means are 2 and 19/6.
    expected = torch.tensor([[1.0, -1.0, 0.0], [-8 / 3, 5 / 6, 11 / 6]]) / 6
    torch.testing.assert_close(gradient, expected)
