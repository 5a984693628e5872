"""The table of named layer maps, explicit pairs, and layers that do not exist."""

import re

import pytest

from pipeline.errors import SettingsError
from pipeline.objectives.layer_map import LayerMap, resolve
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
    assert resolve(name, models, lowest=1, captured=()) == list(enumerate(teacher_layers, start=1))


def test_pairs_are_taken_as_given() -> None:
    """Catches pairs that are sorted, swapped or made distinct."""
    pairs = ((6, 1), (1, 12), (1, 0), (0, 0))
    assert resolve(pairs, make_models(6, 12), lowest=0, captured=()) == list(pairs)


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
        resolve(((1, 1), pair), make_models(6, 12), lowest=lowest, captured=())
    assert raised.value.faults == (message,)


@pytest.mark.parametrize("name", ["skip", "last"])
def test_a_student_of_one_layer_has_nothing_left_to_pair(name: LayerMap) -> None:
    """Catches a loss over no layers, which is NaN or a silent zero."""
    message = (
        f"layer map '{name}' has no pair for a student of 1 layers and a teacher of 4; "
        "give pairs [[student, teacher], ...]"
    )
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        resolve(name, make_models(1, 4), lowest=1, captured=())


@pytest.mark.parametrize("name", ["skip", "last", "uniform"])
def test_a_student_deeper_than_its_teacher_needs_pairs(name: LayerMap) -> None:
    """Catches `last` with teacher layers below 1."""
    message = f"layer map '{name}' has no pair for a student of 6 layers and a teacher of 4;"
    with pytest.raises(SettingsError, match=re.escape(message)):
        resolve(name, make_models(6, 4), lowest=1, captured=())


def test_no_pairs_are_refused() -> None:
    """Catches an empty list in params.yaml, which would give a loss over nothing."""
    with pytest.raises(SettingsError, match=r"^layer map '\(\)' has no pair"):
        resolve((), make_models(6, 12), lowest=0, captured=())
