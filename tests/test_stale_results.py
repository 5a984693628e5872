"""What real DVC runs again for an edit of the code, and what it does not.

The tests share one project and run in order.
"""

from pathlib import Path

import pytest

from pipeline.core.stamp import import_closure, stamp_in
from tests.dvc_project import DvcProject, make_dvc_project

pytestmark = pytest.mark.timeout(1200)

EDITS = {
    "report": ("pipeline/report/tables.py", "_N_LABELS_SHOWN = 12", "_N_LABELS_SHOWN = 2"),
    "export@kd-2": ("pipeline/export/settings.py", "model.onnx", "student.onnx"),
    "evaluate@kd-2": (
        "pipeline/metrics/classes.py",
        "return float(np.mean(",
        "return 0.5 * float(np.mean(",
    ),
    "distill@kd-2": ("pipeline/objectives/soft_target.py", "temperature**2", "temperature**3"),
    "select@kd-2": ("pipeline/store/view.py", "sorted(array.name", "list(array.name"),
    "generate": ("pipeline/models/writing.py", "ends[0] + 1", "ends[0]"),
    "finetune": (
        "pipeline/teacher/finetune.py",
        "learning_rate=settings.learning_rate",
        "learning_rate=2 * settings.learning_rate",
    ),
    "augment": ("pipeline/text/augment.py", "_ROWS_AT_ONCE = 1000", "_ROWS_AT_ONCE = 10"),
    "prepare": ("pipeline/text/tokenise.py", "_HISTOGRAM_STEP = 16", "_HISTOGRAM_STEP = 8"),
}
"""An edit that can change a stage's result: file, old text, new text. The last stage first."""

KEPT = ("kept as it is", "kept as they are", "nothing was computed")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """A project that has been reproduced once, with every stage in it."""
    project = make_dvc_project(tmp_path_factory.mktemp("stale") / "project")
    project.change("students", {"kd-2": project.params["students"]["kd-2"]})
    project.change("training.epochs", 1)
    project.change("augmentation.n_copies", 1)
    project.change("export", {"students": ["kd-2"], "int8": False, "license": "mit"})
    project.repro()
    assert "step" in project.counts_by_event() and "forward" in project.counts_by_event()
    return project


def test_words_cost_nothing(project: DvcProject) -> None:
    """Catches a comment, a docstring or a better message that costs a training or a forward."""
    before = project.out_digests()
    code = project.folder / "pipeline"
    packages = [folder for folder in sorted(code.iterdir()) if (folder / "__init__.py").is_file()]
    assert len(packages) > 10
    for package in packages:
        (path, *_) = [path for path in sorted(package.glob("*.py")) if path.stat().st_size]
        path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    reader = code / "store" / "reader.py"
    text = reader.read_text(encoding="utf-8")
    assert text.startswith('"""') and "Error(" in text
    reader.write_text(text.replace('"""', '"""More: ', 1).replace("Run '", "Please run '"))
    assert reader.read_text(encoding="utf-8") != text
    ran = project.repro()
    started = {"prepare", "finetune", "capture", "distill@kd-2", "evaluate@kd-2", "export@kd-2"}
    assert started <= set(ran), "the files' packages are deps of these"
    assert project.counts("step") == [] and project.counts("forward") == []
    assert project.out_digests() == before


@pytest.mark.parametrize("stage", EDITS)
def test_an_edit_of_the_code_runs_its_stage(project: DvcProject, stage: str) -> None:
    """Catches a stale result: DVC runs the stage, which keeps what other code has made."""
    file, old, new = EDITS[stage]
    path = project.folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    assert file in import_closure(f"stages.{stage.split('@')[0]}", project.folder)
    path.write_text(text.replace(old, new), encoding="utf-8")
    stamp = stamp_in(project.folder / "artifacts" / "generated")
    written = stamp.read()
    printed = project.run("dvc", "repro", "--single-item", stage)
    assert f"Running stage '{stage}'" in printed
    assert not [words for words in KEPT if words in printed], printed
    # It is off here, and says nothing else.
    assert (stamp.read() != written) == (stage == "generate")
    path.write_text(text, encoding="utf-8")


def test_a_store_of_other_code_is_refused_and_captured_again_by_force(project: DvcProject) -> None:
    """Catches signals of two kinds in one store, and days of compute thrown away unasked."""
    path = project.folder / "pipeline" / "teacher" / "extract.py"
    text = path.read_text(encoding="utf-8")
    project.repro("capture")
    path.write_text(text + "\nEDITED = True\n", encoding="utf-8")
    before = stored_bytes(project)
    printed = project.fail("dvc", "repro", "--single-item", "capture")
    assert "was captured by other code" in printed and "decant capture --force" in printed
    assert stored_bytes(project) == before
    printed = project.run("env", "DECANT_FORCE=1", "dvc", "repro", "--single-item", "capture")
    assert ", 0 already present" in printed
    assert stored_bytes(project) == before, "the edit alters no signal"
    path.write_text(text, encoding="utf-8")


def stored_bytes(project: DvcProject) -> dict[Path, bytes]:
    """Return what the store's arrays hold."""
    folder = project.folder / "artifacts" / "teacher_store" / "cls"
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_force_runs_what_is_up_to_date(project: DvcProject) -> None:
    """Catches a stamp that cannot be overridden, as `dvc repro --force` could not."""
    project.run("dvc", "repro", "--single-item", "augment")
    command = ("dvc", "repro", "--force", "--single-item", "augment")
    assert "kept as they are" in project.run(*command)
    assert "kept as they are" not in project.run("env", "DECANT_FORCE=1", *command)
