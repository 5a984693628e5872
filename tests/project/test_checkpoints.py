"""Checkpoints of params.yaml that are refused before any stage runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel

from pipeline.core.settings import Section, parse_section
from pipeline.project import checkpoints
from pipeline.project.checkpoints import checkpoint_faults
from pipeline.tasks.task import TaskSettings
from pipeline.teacher.finetune_settings import TeacherSettings
from pipeline.text.corpus import DataSettings
from pipeline.text.tokenise import TokenizerSettings
from tests.conftest import BAD, GOOD, PLAIN, make_checkpoint, make_model, make_tokenizer
from tests.old_names import change_config, change_tensors, copy_of, rename, to_old_name
from tests.train.other_tokens import make_other_tokenizer, make_student_checkpoint
from tests.two_stacks import make_two_stacks

MODELS: dict[str, type[Section]] = {
    "data": DataSettings,
    "task": TaskSettings,
    "tokenizer": TokenizerSettings,
    "teacher": TeacherSettings,
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A sound teacher that may be changed."""
    return make_checkpoint(tmp_path / "base", n_layers=2)


def faults_of(
    teacher: Path | str | None,
    *,
    student: Path | None = None,
    tokenizer: Path | str | None = None,
    max_length: int = 64,
    columns: dict[str, Any] | None = None,
    kind: str = "classification",
    **of_teacher: Any,
) -> list[str]:
    """Return the faults of a params.yaml that names these checkpoints."""
    named = tokenizer or teacher
    values: dict[str, Any] = {
        "data": {"source": "files", "columns": columns or {}},
        "task": {"kind": kind},
        "tokenizer": {"checkpoint": str(named), "max_length": max_length},
        "teacher": of_teacher | ({} if teacher is None else {"checkpoint": str(teacher)}),
    }
    sections = {name: parse_section(model, values[name], name) for name, model in MODELS.items()}
    students = {} if student is None else {"own": {"model": {"checkpoint": str(student)}}}
    faults = checkpoint_faults(sections, students)
    assert not any("\n" in fault for fault in faults)
    return faults


def fault_of(teacher: Path, **options: Any) -> str:
    (fault,) = faults_of(teacher, **options)
    assert fault.startswith("teacher.checkpoint: ")
    return fault.removeprefix("teacher.checkpoint: ")


def test_sound_checkpoints_have_no_fault(tmp_path: Path, base: Path) -> None:
    """Negative control, for a teacher and students with its tokenizer and with another."""
    own = make_student_checkpoint(tmp_path / "own", is_teachers_tokenizer=True)
    other = make_student_checkpoint(tmp_path / "other", n_positions=8)  # its rows are cut
    for student in (None, own, other):
        assert faults_of(base, student=student) == []
    assert faults_of(rename(base, to_old_name), columns={"text_pair": "other"}) == []
    assert faults_of("org/of-the-hub", tokenizer=base) == []
    assert faults_of(base, tokenizer="org/of-the-hub") == []


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_what_is_plain_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Catches seconds for an import of torch before each stage of a plain project."""
    make_tokenizer(tmp_path)
    make_model(name).save_pretrained(tmp_path)
    for slow in ("load_on_meta", "load_config", "read_architecture"):
        monkeypatch.setattr(checkpoints, slow, None)
    assert faults_of(tmp_path) == []
    assert faults_of(checkpoints.BUNDLED, max_length=512) == []
    with pytest.raises(TypeError):
        faults_of(rename(tmp_path, to_old_name))


@pytest.mark.parametrize("is_student", [False, True])
def test_tensors_that_are_not_the_models(tmp_path: Path, base: Path, *, is_student: bool) -> None:
    """Catches a model of random weights, as a teacher or as a student."""
    folder = rename(copy_of(base, tmp_path / "module"), lambda name: f"module.{name}")
    if is_student:
        place = "students.own.model.checkpoint"
        (fault,) = faults_of(base, student=folder)
    else:
        place = "teacher.checkpoint"
        (fault,) = faults_of(folder)
    assert fault.startswith(f"{place}: {folder} lacks 37 of 37 tensors of the bert ")
    assert "such as bert.embeddings.LayerNorm.bias" in fault and "behind 'module.'" in fault


def test_parts_and_other_sizes(tmp_path: Path, base: Path) -> None:
    """Catches a layer, a shard or a width that is missing."""
    part = copy_of(base, tmp_path / "part")
    layer = "bert.encoder.layer.1.output.dense.weight"
    change_tensors(part, lambda tensors: tensors.pop(layer))
    described = "the bert that its config.json describes"
    assert f"lacks 1 of 37 tensors of {described}, such as {layer}. " in fault_of(part)
    wide = change_config(copy_of(base, tmp_path / "wide"), hidden_size=32)
    assert "has tensors of other shapes than the bert that its config.json" in fault_of(wide)
    deep = change_config(copy_of(base, tmp_path / "deep"), num_hidden_layers=4)
    assert "lacks 32 of 69 tensors" in fault_of(deep)
    flat = change_config(copy_of(base, tmp_path / "flat"), num_hidden_layers=1)
    assert "has 16 tensors in its layers that are not of the bert" in fault_of(flat)
    pickled = copy_of(base, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "holds its weights only pickled (pytorch_model.bin)" in fault_of(pickled)
    (base / "config.json").unlink()
    assert fault_of(base, tokenizer=part).endswith(
        "holds no config.json. Name a folder written by save_pretrained."
    )


@pytest.mark.parametrize("kind", ["t5", "bart", "encoder-decoder"])
def test_encoders_with_decoders(tmp_path: Path, kind: str) -> None:
    """Catches a teacher that writes, whose decoder begins at random."""
    make_tokenizer(tmp_path)
    make_two_stacks(kind).save_pretrained(tmp_path)
    options: dict[str, Any] = {
        "kind": "sequence_to_sequence",
        "columns": {"target": "written"},
        "max_length": 32,
    }
    assert faults_of(tmp_path, **options) == []
    change_tensors(
        tmp_path,
        lambda tensors: [tensors.pop(name) for name in list(tensors) if "decoder" in name],
    )
    fault = fault_of(tmp_path, **options)
    assert "lacks " in fault and "decoder" in fault


def test_a_tokenizer_that_is_longer_than_the_embeddings(tmp_path: Path, base: Path) -> None:
    """Catches an index out of range at the first added word, or at padding."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    n_words = len(tokenizer)
    tokenizer.add_tokens([f"word{number}" for number in range(32 - n_words)])
    tokenizer.save_pretrained(base)
    assert faults_of(base) == []
    tokenizer.add_tokens(["one", "more"])
    tokenizer.save_pretrained(base)
    assert fault_of(base) == (
        f"{base}: the tokenizer has token id 33, and the model has embeddings of 32 (vocab_size), "
        "0 to 31. Give it more with resize_token_embeddings and save it, or use the tokenizer that "
        "it was trained with"
    )
    model = BertModel.from_pretrained(base)
    model.resize_token_embeddings(34)
    model.save_pretrained(base)
    assert faults_of(base) == []


def test_a_special_token_that_loading_adds(base: Path) -> None:
    """Catches a padding token that only tokenizer_config.json names, with an id of its own."""
    path = base / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    n_tokens = 5 + len((*PLAIN, *GOOD, *BAD))
    change_config(base, vocab_size=n_tokens)

    def cut(tensors: dict[str, torch.Tensor]) -> None:
        name = "bert.embeddings.word_embeddings.weight"
        tensors[name] = tensors[name][:n_tokens].clone()

    change_tensors(base, cut)
    assert faults_of(base) == []
    path.write_text(json.dumps(config | {"pad_token": "<pad>"}), encoding="utf-8")
    assert f"the tokenizer has token id {n_tokens}, and" in fault_of(base)


def test_a_mask_without_an_embedding_of_a_model_that_writes(tmp_path: Path) -> None:
    """Negative control: BART's checkpoints for summaries are so, and mask nothing."""
    model = make_two_stacks("bart")
    model.resize_token_embeddings(25)
    model.save_pretrained(tmp_path)
    make_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    assert tokenizer.mask_token_id == 25
    tokenizer.save_pretrained(tmp_path)
    options = {"kind": "sequence_to_sequence", "columns": {"target": "written"}}
    assert faults_of(tmp_path, max_length=32, **options) == []
    tokenizer.add_tokens(["word"])
    tokenizer.save_pretrained(tmp_path)
    assert "the tokenizer has token id 26, and" in fault_of(tmp_path, max_length=32, **options)


def test_pairs_need_two_types(tmp_path: Path) -> None:
    """Catches an index out of range at the second text of a pair."""
    make_tokenizer(tmp_path)
    make_model("bert", changes={"type_vocab_size": 1}).save_pretrained(tmp_path)
    assert faults_of(tmp_path) == []
    pairs = {"columns": {"text_pair": "other"}}
    assert "of two texts, the second has tokens of type 1, and the model has embeddings of 1 " in (
        fault_of(tmp_path, **pairs)
    )
    asked = {"kind": "question_answering", "columns": {"question": "asked"}}
    assert "of two texts" in fault_of(tmp_path, **asked)
    change = {"model_input_names": ["input_ids", "attention_mask"]}
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | change), encoding="utf-8")
    assert faults_of(tmp_path, **pairs) == []  # the model is given none then


@pytest.mark.parametrize(
    ("kind", "most"), [("bert", 66), ("roberta", 64), ("mpnet", 64), ("deberta-v2", None)]
)
def test_positions_suffice(tmp_path: Path, kind: str, most: int | None) -> None:
    """Catches rows that are longer than the model reads, positions left to padding included."""
    make_tokenizer(tmp_path)
    make_model(kind, changes={"pad_token_id": 1}).save_pretrained(tmp_path)
    if most is None:
        assert faults_of(tmp_path, max_length=8192) == []
        return
    assert faults_of(tmp_path, max_length=most) == []
    assert fault_of(tmp_path, max_length=most + 1) == (
        f"{tmp_path}: tokenizer.max_length is {most + 1}, and the model reads at most {most}. Set "
        f"tokenizer.max_length to {most} or less, or name another checkpoint"
    )


def test_positions_of_a_student(tmp_path: Path, base: Path) -> None:
    """Catches a student that reads shorter rows than the teacher, where it cannot cut them."""
    own = make_student_checkpoint(tmp_path / "own", is_teachers_tokenizer=True, n_positions=16)
    (fault,) = faults_of(base, student=own)
    assert fault.startswith(
        f"students.own.model.checkpoint: {own}: tokenizer.max_length is 64, and the model reads at "
        "most 16. "
    )


def test_another_tokenizer_than_the_teachers(tmp_path: Path, base: Path) -> None:
    """Catches rows that mean other words to the teacher, found when all are tokenised."""
    other = copy_of(base, tmp_path / "other")
    assert faults_of(base, tokenizer=other) == []
    make_other_tokenizer(other)
    assert fault_of(base, tokenizer=other) == (
        f"{base} has another tokenizer than {other}. Set tokenizer.checkpoint to the teacher's "
        "checkpoint."
    )


def test_labels_of_a_head(tmp_path: Path, base: Path) -> None:
    """Catches labels that contradict themselves; those of no head do not matter."""
    wrong = {"label2id": {"negative": "LABEL_0", "positive": "LABEL_1"}}
    change_config(base, **wrong)
    assert "label2id has 'LABEL_0' for the label 'negative', where the number" in fault_of(base)
    student = make_student_checkpoint(tmp_path / "own", is_teachers_tokenizer=True)
    assert len(faults_of(base, student=change_config(student, **wrong))) == 1  # the teacher's
    BertModel.from_pretrained(base).save_pretrained(tmp_path / "headless")
    make_tokenizer(tmp_path / "headless")
    headless = change_config(tmp_path / "headless", **wrong)
    assert faults_of(headless) == []
    assert "label2id has 'LABEL_0'" in fault_of(headless, epochs=0)


def test_a_config_of_own_code(base: Path) -> None:
    """Catches a native class that computes something else than the checkpoint's own."""
    change_config(base, auto_map={"AutoModel": "modeling.Own"})
    assert "names classes of the checkpoint's own code in auto_map" in fault_of(base)
    change_config(base, auto_map=None, model_type="unheard-of")
    assert "has no config that can be used" in fault_of(base)


def test_the_teacher_of_a_store(tmp_path: Path, base: Path) -> None:
    """Catches a store whose teacher is half there; one without weights is sound."""
    shutil.copytree(base, tmp_path / "store" / "teacher")
    folder = tmp_path / "store" / "teacher"
    options = {"tokenizer": folder, "store": str(tmp_path / "store")}
    assert faults_of(None, **options) == []
    change_tensors(folder, lambda tensors: tensors.pop("bert.embeddings.LayerNorm.weight"))
    (fault,) = faults_of(None, **options)
    assert fault.startswith(f"teacher.store: {folder} lacks 1 of 37 tensors of the bert ")
    (folder / "model.safetensors").unlink()
    assert faults_of(None, **options) == []
    assert faults_of(base, **options) == []
    rename(base, lambda name: f"module.{name}")
    (fault,) = faults_of(base, **options)
    assert fault.startswith(f"teacher.checkpoint: {base} lacks 37 of 37 tensors ")


def test_a_tokenizer_that_cannot_be_used(tmp_path: Path, base: Path) -> None:
    """Catches a traceback over a folder without a tokenizer."""
    bare = tmp_path / "bare"
    BertForSequenceClassification.from_pretrained(base).save_pretrained(bare)
    assert faults_of(bare) != []
    assert all("bare holds no usable tokenizer" in fault for fault in faults_of(bare))
