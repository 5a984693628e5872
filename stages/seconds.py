"""How long each stage took, for the report: `artifacts/seconds/STAGE.json`.

DVC does not track these files. Times differ from run to run and decide nothing, so they
must not mark a result as changed.
"""

import json
from time import perf_counter

from pipeline.core.atomic import write_json
from stages.paths import SECONDS


def record_seconds(stage: str, started: float, made: str) -> None:
    """Note the seconds from `started` (of `perf_counter`) until now for a stage, `distill@kd-3`.

    `made` is a digest of the result or of what it was made from. The run that first made
    a result counts: one that ends with the same again leaves the note as it is.
    """
    seconds = perf_counter() - started
    path = SECONDS / f"{stage}.json"
    try:
        is_known = json.loads(path.read_text(encoding="utf-8"))["made"] == made
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        is_known = False
    if not is_known:
        write_json(path, {"stage": stage, "seconds": seconds, "made": made})
