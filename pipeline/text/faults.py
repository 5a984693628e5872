"""Columns of a table that cannot be used, and why: it matters only where one is asked for."""

import json
from collections.abc import Mapping

import pyarrow as pa

_KEY = b"decant.faults"


def with_faults(table: pa.Table, faults: Mapping[str, str]) -> pa.Table:
    """Return the table with a message for each column, or part of one, that cannot be used.

    A part is named with dots, as in `data.columns`.
    """
    if not faults:
        return table
    metadata = dict(table.schema.metadata or {})
    return table.replace_schema_metadata({**metadata, _KEY: json.dumps(dict(faults)).encode()})


def fault_of(table: pa.Table, column: str) -> str | None:
    """Return why a column, what it is a part of, or a part of it cannot be used, or None."""
    faults: dict[str, str] = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    for name, message in faults.items():
        if f"{column}.".startswith(f"{name}.") or name.startswith(f"{column}."):
            return message
    return None
