"""params.yaml as a whole: the shipped one is right, and every fault of a wrong one is named."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.settings import read_params
from pipeline.models.encoder_decoder import ENCODER_DECODERS
from pipeline.objectives.settings import OBJECTIVES
from pipeline.project.check import check_params
from tests.conftest import make_checkpoint
from tests.imports import ROOT
from tests.old_names import change_config

MODEL = {"n_layers": 3}
LABELS_ALONE = {"hard_label": {}}


@pytest.fixture(scope="module")
def six_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny teacher as deep as the shipped one, whose digest takes no time."""
    return make_checkpoint(tmp_path_factory.mktemp("check") / "teacher", n_layers=6)


@pytest.fixture
def params(six_layers: Path) -> dict[str, Any]:
    """The project's own params.yaml, with the tiny teacher."""
    params = read_params(ROOT / "params.yaml")
    params["teacher"]["checkpoint"] = params["tokenizer"]["checkpoint"] = str(six_layers)
    params["tokenizer"]["max_length"] = 64
    return params


def faults_of(params: dict[str, Any]) -> list[str]:
    """Return the lines with which `params` are refused, without the file's name."""
    with pytest.raises(SettingsError) as caught:
        check_params(params)
    assert all(fault.startswith("params.yaml: ") for fault in caught.value.faults)
    return [fault.removeprefix("params.yaml: ") for fault in caught.value.faults]


def test_the_shipped_params_have_no_fault() -> None:
    """Catches a default params.yaml that its own check refuses, or a teacher of another depth."""
    params = read_params(ROOT / "params.yaml")
    check_params(params)
    params["capture"]["signals"]["attentions"]["layers"].append(7)
    assert faults_of(params) == [
        "capture.signals.attentions.layers: layer 7 does not exist, the teacher has layers 1 to 6"
    ]


def test_every_fault_of_every_section_is_named(params: dict[str, Any]) -> None:
    """Catches a rule that is not checked, or is checked only when nothing else is wrong."""
    params["trainning"] = {"epochs": 3}
    params["data"] |= {"max_row": {"train": 9}, "validation_share": 1.5}
    params["data"]["columns"]["txt"] = "text"
    params["tokenizer"]["max_length"] = "128"
    params["capture"]["signals"]["attentions"]["layers"] = [2, 9]
    params["evaluation"]["splits"] = ["train"]
    params["export"]["students"] = ["cold", "kd-9"]
    params["runtime"]["device"] = "gpu"
    params["students"] = {
        "a b": {"model": MODEL, "objectives": LABELS_ALONE},
        "cold": {"model": MODEL, "objectives": {"soft_target": {"temperature": 0}}},
        "spelt": {"model": {"n_layer": 3}, "objectives": {"soft_targt": {}}},
        "far": {"model": {"n_layers": 4}, "objectives": {"cls": {"layer_map": [[4, 14]]}}},
        "zero": {"model": MODEL, "objectives": {"attentions": {"layer_map": [[0, 2]]}}},
        "blind": {"model": MODEL, "objectives": {"attentions": {"layer_map": [[1, 3], [2, 2]]}}},
        "deep": {"model": {"n_layers": 7}, "objectives": LABELS_ALONE},
        "listed": {"model": MODEL | {"warm_start": [1, 2]}, "objectives": LABELS_ALONE},
        "own": {"model": MODEL, "objectives": LABELS_ALONE, "training": {"epochs": 0, "sed": 1}},
        "idle": {"model": MODEL, "objectives": {"hard_label": None}},
        "more": {"model": MODEL, "objectives": LABELS_ALONE, "augmented": True},
        "empty": None,
    }
    assert sorted(faults_of(params)) == sorted(
        [
            "trainning: unknown key; did you mean 'training'?",
            "data.max_row: unknown key; did you mean 'max_rows'?",
            "data.validation_share: should be less than 1, got 1.5",
            "data.columns.txt: unknown key; did you mean 'text'?",
            "tokenizer.max_length: should be a valid integer, got '128'",
            "capture.signals.attentions.layers: layer 9 does not exist, the teacher has layers "
            "1 to 6",
            "evaluation.splits.0: should be 'validation' or 'test', got 'train'",
            "export.students: there is no student 'kd-9'; add it under students, or take it out "
            "here",
            "runtime.device: should be 'auto', 'cpu' or 'cuda', got 'gpu'",
            "students.a b: a student's name is made of letters, digits, '-' and '_'",
            "students.cold.objectives.soft_target.temperature: should be greater than 0, got 0",
            "students.spelt.model.n_layer: unknown key; did you mean 'n_layers'?",
            "students.spelt.objectives.soft_targt: unknown key; did you mean 'soft_target'?",
            "students.far.objectives.cls: layer map pairs student layer 4 with teacher layer 14, "
            "but the teacher has hidden states 0..6 (0 is the embedding output)",
            "students.zero.objectives.attentions: layer map pairs student layer 0 with teacher "
            "layer 2, but the student has attention maps 1..3",
            "students.blind.objectives.attentions needs attentions/03, but capture.signals asks "
            "only for logits, cls, attentions/02, attentions/09; add them there",
            "students.deep.model.warm_start: 'first' needs 7 teacher layers, the teacher has 6; "
            "use fewer layers, a list, or none",
            "students.listed.model.warm_start: lists teacher layers 1, 2 for a student of 3 "
            "layers; give 3 numbers from 1 to 6",
            "students.own.training.epochs: should be greater than or equal to 1, got 0",
            "students.own.training.sed: unknown key; did you mean 'seed'?",
            "students.idle.objectives: choose at least one objective: " + ", ".join(OBJECTIVES),
            "students.more.augmented: there are no augmented rows, because augmentation.n_copies "
            "is 0; raise it, or set this to false",
            "students.empty.model: missing; give it a value",
            "students.empty.objectives: missing; give it a value",
        ]
    )


def test_a_signal_that_is_not_captured_at_all_is_named(params: dict[str, Any]) -> None:
    """Catches an objective whose whole signal is missing passing where a layer would not."""
    params["capture"]["signals"] = {"cls": None}
    student = {"model": MODEL, "objectives": {"cls": {}, "attentions": {}, "soft_target": {}}}
    params["students"] = {"kd": student}
    assert faults_of(params) == [
        "students.kd.objectives.cls needs cls, but capture.signals asks only for logits; "
        "add them there",
        "students.kd.objectives.attentions needs attentions/02, attentions/04, attentions/06, "
        "but capture.signals asks only for logits; add them there",
    ]


def test_a_wrong_name_where_names_or_lists_fit_is_one_fault(params: dict[str, Any]) -> None:
    """Catches one misspelt name told twice, in the words of Python's types."""
    params["students"] = {
        "kd": {
            "model": MODEL | {"warm_start": "frist"},
            "objectives": {"cls": {"layer_map": "skp"}},
        }
    }
    faults = faults_of(params)
    assert [fault.split(":")[0] for fault in faults] == [
        "students.kd.objectives.cls.layer_map",
        "students.kd.model.warm_start",
    ]
    assert "'skip', 'last', 'uniform' or 'learned'" in faults[0] and "'skp'" in faults[0]
    assert "'first', 'every', 'heads' or 'none'" in faults[1] and "'frist'" in faults[1]


@pytest.mark.parametrize("students", [None, {}, ["kd"], 3])
def test_students_are_needed(params: dict[str, Any], students: object) -> None:
    """Catches a pipeline without students, or a traceback for a list of them."""
    params["students"] = students
    assert faults_of(params) == ["students: name at least one student"]


def test_a_name_that_yaml_reads_as_a_number_is_refused(params: dict[str, Any]) -> None:
    """Catches a student that no stage finds, as its key is a number, and a bare TypeError."""
    params["students"] = {3: {"model": MODEL, "objectives": LABELS_ALONE}}
    params[1] = {}  # type: ignore[index]  # the fault that is tested for
    faults = faults_of(params)
    assert [fault.split(":")[0] for fault in faults] == ["1", "students.3"]


def test_texts_that_nobody_writes_are_named(params: dict[str, Any]) -> None:
    """Catches a student of the teacher's texts, found to be without any after the capture."""
    params["generation"] = {"splits": ["validation"]}
    params["students"] = {
        "a": {"model": MODEL, "objectives": LABELS_ALONE, "targets": "teacher"},
    }
    assert faults_of(params) == [
        "generation.splits: a classification writes no texts; set it to []",
        "students.a.targets: 'teacher' needs the teacher's own texts of the training rows; add "
        "train to generation.splits, or set this to data",
    ]


def test_what_writes_texts_is_not_exported(params: dict[str, Any]) -> None:
    """Catches an export that is refused after hours of training."""
    params["task"] = {"kind": "sequence_to_sequence"}
    params["export"]["students"] = list(params["students"])[:1]
    (fault,) = [fault for fault in faults_of(params) if fault.startswith("export.")]
    assert "which one ONNX file does not hold" in fault
    assert fault.endswith("and leave this list empty")


def test_a_teacher_that_cannot_do_the_task_is_named(params: dict[str, Any]) -> None:
    """Catches a translation that is checked, prepared and only then found to have no decoder."""
    params["task"] = {"kind": "sequence_to_sequence"}
    params["data"]["source"] = "files"
    params["data"]["columns"] = {"text": "german", "target": "english"}
    teacher = params["teacher"]["checkpoint"]
    assert faults_of(params) == [
        f"teacher.checkpoint: {teacher}: a model of type 'bert' has no decoder beside an encoder, "
        f"which a sequence_to_sequence needs. Use one of {', '.join(ENCODER_DECODERS)}."
    ]


def test_names_that_are_no_tags_are_named(params: dict[str, Any]) -> None:
    """Catches parts of speech scored as entities, found out once the teacher is trained."""
    params["data"] |= {"source": "files", "labels": ["O", "B-PER", "PERSON"]}
    params["task"] = {"kind": "token_classification"}

    def of_labels() -> list[str]:
        return [fault for fault in faults_of(params) if fault.startswith("data.labels")]

    (fault,) = of_labels()
    assert fault.startswith("data.labels: 'PERSON' does not say where an entity begins")
    assert fault.endswith("set task.metrics to [accuracy, macro_f1]")
    params["task"]["metrics"] = ["accuracy", "macro_f1"]
    params["students"] = {}
    assert of_labels() == []


def test_a_checkpoint_that_contradicts_itself_is_named(
    params: dict[str, Any], tmp_path: Path
) -> None:
    """Catches checkpoints that are looked at by the stage that loads them, and not before."""
    teacher = make_checkpoint(tmp_path / "own", n_layers=6)
    params["teacher"]["checkpoint"] = params["tokenizer"]["checkpoint"] = str(teacher)
    check_params(params)
    change_config(teacher, max_position_embeddings=32)
    (fault,) = faults_of(params)
    assert fault.startswith(f"teacher.checkpoint: {teacher} has tensors of other shapes than the ")
