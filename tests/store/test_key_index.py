"""Keys are found where they are, and nowhere else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.store.stored_rows import KeyIndex

# Few distinct halves, so that many keys share their first eight bytes.
Halves = st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\0" * 7 + b"\1", b"\1" + b"\0" * 7])
Keys = st.tuples(Halves, Halves).map(b"".join)


def as_keys(keys: list[bytes]) -> NDArray[np.void]:
    """Return keys as the reader passes them."""
    return np.array(keys, dtype="V16")


@given(kept=st.lists(Keys, unique=True), wanted=st.lists(Keys))
def test_keys_are_found_as_in_a_dict(kept: list[bytes], wanted: list[bytes]) -> None:
    """Catches a neighbour that is taken for the key, and a comparison that ends at a zero byte."""
    positions = {key: position for position, key in enumerate(kept)}
    index = KeyIndex(as_keys(kept))
    assert index.find(as_keys(wanted)).tolist() == [positions.get(key, -1) for key in wanted]
    assert index.n_repeated() == 0


@given(keys=st.lists(Keys))
def test_repeated_keys_are_counted(keys: list[bytes]) -> None:
    """Catches a damaged store whose key leads to any one of two rows."""
    assert KeyIndex(as_keys(keys)).n_repeated() == len(keys) - len(set(keys))
