"""The whole pipeline under real DVC and git, on a small project in a temporary folder.

The tests share one project and run in order: each makes a change, looks at what DVC
runs for it, and leaves a finished project behind.
"""

import csv
import json
import re
import shutil

import pytest

from tests.dvc_project import DvcProject, make_dvc_project
from tests.imports import ROOT

pytestmark = pytest.mark.timeout(1200)

GIT_COMMIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m")
UP_TO_DATE = "Data and pipelines are up to date."
STAGE_ONE = ("prepare", "augment", "finetune", "generate", "capture")
STAGE_TWO_PACKAGES = ("objectives", "train", "student", "evaluate")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """A project that has been reproduced once."""
    project = make_dvc_project(tmp_path_factory.mktemp("end-to-end") / "project")
    ran = project.repro()
    assert (ran[0], *sorted(ran[1:4]), ran[4]) == STAGE_ONE
    assert sorted(ran[5:-1]) == [
        f"{stage}@{name}"
        for stage in ("distill", "evaluate", "select")
        for name in ("hard-2", "kd-2")
    ]
    assert ran[-1] == "report"
    return project


def test_counting_counts(project: DvcProject) -> None:
    """The counts of zero below mean nothing if the counter cannot count."""
    assert "stages.finetune" in project.counts("step")
    assert "stages.capture" in project.counts("forward")
    assert {"hard-2", "kd-2"} <= set(project.counts("step"))


def test_report_names_every_student(project: DvcProject) -> None:
    """A report that silently lacks a student would be read as complete."""
    for name in ("report.md", "report.html"):
        report = (project.folder / "reports" / name).read_text(encoding="utf-8")
        assert "hard-2" in report and "kd-2" in report and "eacher" in report


def test_second_run_does_nothing(project: DvcProject) -> None:
    """An output that its stage leaves different from what DVC recorded reruns for ever."""
    assert UP_TO_DATE in project.run("dvc", "repro")


def test_git_stays_clean(project: DvcProject) -> None:
    """Results belong to DVC; only its lock file is for git to keep."""
    assert project.run("git", "status", "--porcelain").split() == ["??", "dvc.lock"]


def test_editing_stage_two_leaves_the_teacher_alone(project: DvcProject) -> None:
    """Any edit to a loss, the loop, a student or a metric must not touch stage one."""
    edited = [
        path
        for package in STAGE_TWO_PACKAGES
        for path in sorted((project.folder / "pipeline" / package).rglob("*.py"))
    ]
    assert len(edited) > 15
    before = {path: path.read_bytes() for path in edited}
    for path in edited:
        path.write_bytes(before[path] + b"\nEDITED = True\n")
    assert UP_TO_DATE in project.run("dvc", "status", *STAGE_ONE)
    status = project.run("dvc", "status")
    assert "distill@kd-2" in status and "evaluate@hard-2" in status
    for path in edited:
        path.write_bytes(before[path])
    assert UP_TO_DATE in project.run("dvc", "status")


def test_a_new_layer_for_a_new_student_trains_only_that_student(project: DvcProject) -> None:
    """The manifest changes for all students, but what the others read does not."""
    before = project.out_digests()
    project.change("capture.signals.attentions.layers", [2, 4])
    project.change(
        "students.attention-2",
        {
            "model": {"n_layers": 2, "warm_start": "every"},
            "objectives": {"soft_target": {}, "attentions": {"layer_map": "uniform"}},
        },
    )
    ran = project.repro()
    assert "capture" in ran and "finetune" not in ran
    assert [name for name in ran if name.startswith("distill")] == ["distill@attention-2"]
    assert set(project.counts("step")) == {"attention-2"}
    after = project.out_digests()
    kept = [path for path in before if path.startswith(("artifacts/students", "artifacts/views"))]
    assert len(kept) == 4
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    logits = "artifacts/teacher_store/logits"
    assert after[logits] == before[logits]


def test_students_train_without_the_teacher(project: DvcProject) -> None:
    """Who has a store and no teacher must be able to train; the command is the README's."""
    shutil.rmtree(project.folder / "artifacts" / "teacher")
    project.change("training.epochs", 1)
    command = re.search(
        r"^dvc (repro --downstream .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M
    )
    assert command is not None
    ran = project.repro(*command[1].split()[1:])
    assert {f"distill@{name}" for name in project.params["students"]} <= set(ran)
    assert not set(STAGE_ONE) & set(ran)
    assert set(project.counts("step")) == set(project.params["students"])
    assert not (project.folder / "artifacts" / "teacher").exists()


def test_a_sweep_runs_only_its_student(project: DvcProject) -> None:
    """Experiments with one number of one student must not cost the others, nor hide from the
    tables and plots that compare them; the commands are the README's."""
    project.run("git", "add", "dvc.lock", "params.yaml")
    project.run(*GIT_COMMIT, "before the sweep")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(
        r"^dvc (exp run --queue -S) '(\S+)=1,2,4,8,16' && dvc (exp run --run-all)$", readme, re.M
    )
    assert command is not None
    temperature = command[2].replace("kd-3", "kd-2")
    workspace = (project.folder / "params.yaml").read_bytes(), project.run("dvc", "status")
    project.run("dvc", *command[1].split(), f"{temperature}=3,8")  # two of five are quick
    output = project.run("dvc", *command[3].split())
    ran = re.findall(r"Running stage '([^']+)'", output)
    assert ran == 2 * ["select@kd-2", "distill@kd-2", "evaluate@kd-2", "report"]
    assert workspace == (
        (project.folder / "params.yaml").read_bytes(),
        project.run("dvc", "status"),
    )
    table = list(csv.DictReader(project.run("dvc", "exp", "show", "--csv").splitlines()))
    rows = [row for row in table if row["Experiment"]]
    assert sorted(float(row[temperature]) for row in rows) == [3, 8]
    for row in rows:
        for name in ("hard-2", "kd-2"):
            score = row[f"reports/metrics/{name}.json:splits.validation.student.accuracy"]
            assert 0 <= float(score) <= 1
    names = project.run("dvc", "exp", "list", "--name-only").split()
    assert len(names) == 2
    curves = ("--targets", "reports/curves/kd-2", "--json")
    plots = json.loads(project.run("dvc", "plots", "diff", *names, *curves))["data"]
    for curve in ("train/loss", "train/soft_target", "train/learning_rate", "validation/accuracy"):
        (plot,) = [
            versions
            for path, versions in plots.items()
            if f"reports/curves/kd-2/{curve}.tsv" in path
        ]
        assert {revision for version in plot for revision in version["revisions"]} == set(names)
    assert "splits.validation.student.accuracy" in project.run("dvc", "metrics", "show")
