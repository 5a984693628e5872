"""The dvc.yaml and params.yaml that `decant new` writes, made from this repository's own.

`python -m tests.project_template` writes them anew after either has changed.
"""

import re

from tests.imports import PACKAGES, ROOT

FOLDER = ROOT / "pipeline" / "project"
STAGE_ONE = ("prepare", "augment", "finetune", "generate", "capture")
_HEAD = """\
# The whole pipeline, run by the installed package.
# requirements.txt pins its version and is a dep of every stage that follows the teacher, so that
# an upgrade trains again the students that come out differently, and never the teacher.
# The section `runtime` of params.yaml changes only the speed and is no stage's parameter.
# `persist` keeps results that a stage may find to be up to date, or can add to.
"""


def derive_pipeline(dvc_yaml: str) -> str:
    """Return the dvc.yaml of a project that has no code of its own."""
    body = dvc_yaml[dvc_yaml.index("stages:\n") :]
    lines, stage = [_HEAD.rstrip("\n")], ""
    for line in body.splitlines():
        if name := re.fullmatch(r"  (\w+):", line):
            stage = name[1]
        if re.match(rf" +- ({'|'.join(PACKAGES)})/", line):
            continue
        lines.append(line.replace("cmd: python -m stages.", "cmd: decant "))
        if line.endswith(" deps:") and stage not in STAGE_ONE:
            lines.append(line.replace("deps:", "  - requirements.txt"))
    return "\n".join(lines) + "\n"


def derive() -> dict[str, str]:
    """Return both files' texts by their names in the package."""
    # DVC takes every file called dvc.yaml in this repository for a pipeline to run.
    return {
        "pipeline.yaml": derive_pipeline((ROOT / "dvc.yaml").read_text(encoding="utf-8")),
        "params.yaml": (ROOT / "params.yaml").read_text(encoding="utf-8"),
    }


if __name__ == "__main__":
    for name, text in derive().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
