"""The dvc.yaml and params.yaml that `decant new` writes, made from this repository's own.

`python -m tests.project_template` writes them anew after either has changed.
"""

import io

from ruamel.yaml import YAML

from tests.imports import PACKAGES, ROOT

FOLDER = ROOT / "pipeline" / "project"
STAGE_ONE = ("prepare", "augment", "finetune", "generate", "capture")
_HEAD = """\
# The whole pipeline, run by the installed package.
# requirements.txt pins its version and is a dep of every stage. After an upgrade each stage decides
# by its own code whether it has anything to do; the teacher runs again only where the version of
# its stage was raised.
# The section `runtime` of params.yaml changes only the speed and is no stage's parameter.
# `persist` keeps results that a stage may find to be up to date, or can add to.
"""


def derive_pipeline(dvc_yaml: str) -> str:
    """Return the dvc.yaml of a project that has no code of its own."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 100
    pipeline = yaml.load(dvc_yaml[dvc_yaml.index("stages:\n") :])
    for entry in pipeline["stages"].values():
        stage = entry.get("do", entry)
        stage["cmd"] = stage["cmd"].replace("python -m stages.", "decant ")
        data = [dep for dep in stage["deps"] if dep.split("/")[0] not in PACKAGES]
        stage["deps"] = ["requirements.txt", *data]
    text = io.StringIO()
    yaml.dump(pipeline, text)
    return _HEAD + text.getvalue()


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
