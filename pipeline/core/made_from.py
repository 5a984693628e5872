"""A result that knows what it was made from.

DVC decides by files whether a stage must run. Some of its reasons cannot alter the
result (a comment, an option moved elsewhere), and some results cost hours. So a
costly result carries `made_from.json`: the digests of its inputs and of its own
files. When both still hold, the stage has nothing to do.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.core.atomic import write_json
from pipeline.core.fingerprint import digest_folder

RECORD_NAME = "made_from.json"


def is_made_from(folder: Path, inputs: Mapping[str, str]) -> bool:
    """Say whether `folder` holds, undamaged, the result of exactly these inputs.

    `inputs` maps a name for each thing the result depends on to its digest.
    """
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    outputs = digest_folder(folder, without=[RECORD_NAME])
    return bool(record == {"inputs": dict(inputs), "outputs": outputs})


def write_record(folder: Path, inputs: Mapping[str, str]) -> None:
    """Write into a finished folder what it was made from."""
    outputs = digest_folder(folder, without=[RECORD_NAME])
    write_json(folder / RECORD_NAME, {"inputs": dict(inputs), "outputs": outputs})
