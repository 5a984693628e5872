"""What lies where in a teacher store.

The rules on disk are in FORMAT.md; this file and `pipeline.signals` are their one implementation in
code.
"""

from collections.abc import Iterable

from pipeline.signals import SIGNALS
from pipeline.signals.signal import Array

FORMAT_VERSION = 1

MANIFEST_NAME = "manifest.json"
GROUP_NAME = "zarr.json"
GROUP_BYTES = b'{\n  "attributes": {},\n  "zarr_format": 3,\n  "node_type": "group"\n}'
TEACHER_FOLDER = "teacher"
ROWS_FOLDER = "rows"
SIGNAL_FOLDERS = tuple(
    dict.fromkeys(signal.array_name.split("/")[0] for signal in SIGNALS.values())
)
"""Each is a DVC output; an unused one is empty."""
STORE_FOLDERS = (ROWS_FOLDER, TEACHER_FOLDER, *SIGNAL_FOLDERS)

CHECKSUM_BYTES = 4
"""CRC32C behind the raw data of every chunk file."""


def parse_array_name(name: str) -> Array:
    """Return the array that a manifest names.

    Raises:
        ValueError: no such array in this format version.
    """
    for signal in SIGNALS.values():
        array = signal.parse(name)
        if array is not None:
            return array
    raise ValueError(f"'{name}' is not an array of format version {FORMAT_VERSION}")


def array_folder(array: Array, segment: str) -> str:
    """Return the folder of one array of one segment, relative to the store."""
    return f"{array.name}/{segment}"


def metadata_file(array: Array, segment: str) -> str:
    """Return the file with that array's Zarr metadata, relative to the store."""
    return f"{array_folder(array, segment)}/zarr.json"


def chunk_file(array: Array, segment: str) -> str:
    """Return the file with that array's single chunk, relative to the store."""
    return f"{array_folder(array, segment)}/c/" + "/".join("0" for _ in array.dimension_names)


def rows_file(segment: str) -> str:
    """Return a segment's row table, relative to the store."""
    return f"{ROWS_FOLDER}/{segment}.arrow"


def group_folders(arrays: Iterable[Array]) -> set[str]:
    """Return every folder above these arrays that is a Zarr group, without the store's own."""
    parts = [array.name.split("/") for array in arrays]
    return {"/".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)}
