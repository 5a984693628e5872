"""A store of five rows."""

from pathlib import Path

import pytest

from tests.store.small_store import Sample, new_sample


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A store of two segments with five rows."""
    sample = new_sample(tmp_path / "store")
    sample.add([3, 1])
    sample.add([2, 4, 1])
    return sample
