"""A result that knows what it was made from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.made_from import RECORD_NAME, is_made_from, write_record

INPUTS = {"tokens": "1" * 64, "settings": "2" * 64}


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A finished result of `INPUTS`."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "sub" / "config").write_bytes(b"config")
    write_record(tmp_path, INPUTS)
    return tmp_path


def test_an_untouched_result_is_up_to_date(result: Path) -> None:
    """Catches work of hours done again for nothing, or for the order of the inputs."""
    assert is_made_from(result, INPUTS)
    assert is_made_from(result, dict(reversed(INPUTS.items())))


def test_writing_the_record_again_changes_nothing(result: Path) -> None:
    """Catches a record that counts itself among the outputs."""
    before = (result / RECORD_NAME).read_bytes()
    write_record(result, INPUTS)
    assert (result / RECORD_NAME).read_bytes() == before


@pytest.mark.parametrize(
    "inputs",
    [
        INPUTS | {"tokens": "3" * 64},
        INPUTS | {"code": "3" * 64},
        {"tokens": INPUTS["tokens"]},
        {"tokens": INPUTS["settings"], "settings": INPUTS["tokens"]},
        {},
    ],
    ids=["changed", "added", "removed", "swapped", "none"],
)
def test_another_input_is_noticed(result: Path, inputs: dict[str, str]) -> None:
    """Catches a result of other inputs being kept."""
    assert not is_made_from(result, inputs)


def _truncate_record(result: Path) -> None:
    content = (result / RECORD_NAME).read_bytes()
    (result / RECORD_NAME).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda result: (result / "weights").write_bytes(b"weighty"),
        lambda result: (result / "sub" / "config").unlink(),
        lambda result: (result / "extra").write_bytes(b""),
        lambda result: (result / "weights").rename(result / "weight"),
        lambda result: (result / RECORD_NAME).unlink(),
        lambda result: (result / RECORD_NAME).write_text("[]"),
        _truncate_record,
    ],
    ids=["changed", "missing", "added", "renamed", "no record", "other record", "half a record"],
)
def test_a_damaged_result_is_noticed(result: Path, damage: Callable[[Path], object]) -> None:
    """Catches a damaged or half-deleted result being kept."""
    damage(result)
    assert not is_made_from(result, INPUTS)


def test_a_folder_that_is_not_there_is_not_a_result(tmp_path: Path) -> None:
    """Catches a first run that fails for the lack of a record."""
    assert not is_made_from(tmp_path / "nothing", INPUTS)
