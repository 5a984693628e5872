"""Arrow columns as NumPy arrays, without pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from pipeline.core.arrow import as_numpy, empty_table, in_one


@pytest.mark.parametrize("values", [[1, 2, 3], [0.5, -1.0], [True, False, True], []])
def test_values_are_arrows_own(values: list[float]) -> None:
    """Catches numbers read as another type, or truth values as the bits that hold them."""
    column = pa.array(values) if values else pa.array([], pa.int32())
    expected = column.to_numpy(zero_copy_only=False)
    for found in (as_numpy(column), as_numpy(pa.chunked_array([column[:1], column[1:]]))):
        assert found.dtype == expected.dtype and np.array_equal(found, expected)
    assert np.array_equal(as_numpy(column[1:]), expected[1:])


def test_a_null_is_no_number() -> None:
    """Catches a missing label that becomes a number."""
    with pytest.raises(pa.ArrowException, match="null"):
        as_numpy(pa.array([1, None]))


def test_no_rows_have_the_types_of_some() -> None:
    """Catches empty tables that another reader takes for other columns."""
    schema = pa.schema([("ids", pa.list_(pa.int32())), ("key", pa.binary(16))])
    table = empty_table(schema)
    assert table.schema == schema and len(table) == 0
    for name in schema.names:
        assert len(in_one(table[name])) == 0 and in_one(table[name]).type == schema.field(name).type


def test_pandas_is_not_imported() -> None:
    """Catches half a second in every process for a library that is not used."""
    code = (
        "import sys, pyarrow as pa; from pipeline.core.arrow import as_numpy, in_one; "
        "column = pa.chunked_array([], pa.int32()); as_numpy(column); in_one(column); "
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run((sys.executable, "-c", code), check=True)
