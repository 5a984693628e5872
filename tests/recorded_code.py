"""`python -m tests.recorded_code` records which code each version of a teacher's stage is.

Run it after a change to that code, and raise the stage's version in pipeline/teacher/versions.py
first when the same inputs can give other results.
"""

import json
from typing import Any

from pipeline.core.stamp import RECORDED_CODE, code_of
from pipeline.teacher.versions import EXTRACTION, FINETUNE, GENERATION

STAGES_WITH_VERSION = {"capture": EXTRACTION, "finetune": FINETUNE, "generate": GENERATION}


def record() -> dict[str, Any]:
    """Return what is recorded: [version, code digest] by stage."""
    found = json.loads(RECORDED_CODE.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


if __name__ == "__main__":
    codes = {stage: [version, code_of(stage)] for stage, version in STAGES_WITH_VERSION.items()}
    RECORDED_CODE.write_text(json.dumps(codes, indent=1) + "\n", encoding="utf-8")
