"""What a checkpoint's config.json says of its code, its weights and its labels."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import CheckpointError
from pipeline.models.architecture import load_config, read_architecture
from pipeline.models.checkpoint_config import check_config, names_of_head
from tests.conftest import LABELS, make_checkpoint
from tests.old_names import change_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier whose config.json may be changed."""
    return make_checkpoint(tmp_path / "classifier", n_layers=1)


def test_a_sound_config_passes(folder: Path) -> None:
    """Negative control: what is refused below is refused for its own sake."""
    check_config(folder)
    assert names_of_head(folder) == list(LABELS)
    change_config(folder, auto_map={"AutoTokenizer": ["tokenization.Own", None]})
    check_config(folder)
    assert load_config(folder).model_type == "bert"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"label2id": {"negative": "LABEL_0", "positive": "LABEL_1"}},
            ": label2id has 'LABEL_0' for the label 'negative', where the number of an output "
            "belongs. Number its 2 labels from 0 to 1.",
        ),
        (
            {"id2label": {"negative": 0, "positive": 1}},
            ": id2label has 'negative' for the label 0, where the number of an output belongs. "
            "Number its 2 labels from 0 to 1.",
        ),
        ({"id2label": ["a", "b"]}, ": id2label is ['a', 'b']. Write it as an object."),
        ({"label2id": ["a", "b"]}, ": label2id is ['a', 'b']. Write it as an object."),
        (
            {"label2id": {"negative": 0.5, "positive": True}},
            ": label2id has 0.5 for the label 'negative', where the number of an output belongs. "
            "Number its 2 labels from 0 to 1.",
        ),
        (
            {"id2label": {"0": "negative", "2": "positive"}},
            ": id2label numbers its labels 0, 2. Number them from 0 to 1, as the head's outputs "
            "are.",
        ),
        (
            {"label2id": {"negative": 1, "positive": 2}},
            ": label2id numbers its labels 1, 2. Number them from 0 to 1, as the head's outputs "
            "are.",
        ),
        (
            {"label2id": {"negative": 0, "positive": 0}},
            ": label2id has the number 0 for 'negative' and for 'positive'. Give each label its "
            "own.",
        ),
        (
            {"id2label": {"0": "a", "1": "a"}},
            ": id2label has the name 'a' for more than one output. Give each its own.",
        ),
        ({"id2label": {"0": None, "1": "a"}}, ": id2label has the name None. Give it as text."),
        (
            {"num_labels": 3},
            " has num_labels 3 and an id2label of 2. Correct the one that is wrong.",
        ),
        (
            {"label2id": {"bad": 0, "good": 1}},
            " gives its labels two sets of names: negative, positive in id2label, bad, good in "
            "label2id. Correct the one that is wrong.",
        ),
        (
            {"label2id": {"negative": 0, "neutral": 1, "positive": 2}},
            " gives its labels two sets of names: negative, positive in id2label, negative, "
            "neutral, positive in label2id. Correct the one that is wrong.",
        ),
    ],
)
def test_labels_that_contradict_themselves(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    """Catches a traceback over labels, and answers for one label taken for another."""
    change_config(folder, **changes)
    with pytest.raises(CheckpointError, match=f"^{re.escape(f'{folder}/config.json{reason}')}$"):
        names_of_head(folder)


@pytest.mark.parametrize("number", ["0", 0])
def test_numbers_may_be_text(folder: Path, number: object) -> None:
    """Negative control: JSON's keys are text, and some write the values so."""
    change_config(folder, label2id={"negative": number, "positive": "1"})
    assert names_of_head(folder) == list(LABELS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id2label": ["a", "b"]}, ": id2label is "),
        ({"id2label": {"a": 0}}, ": id2label has 'a' for the label 0"),
        (
            {"auto_map": {"AutoConfig": "modeling.OwnConfig", "AutoModel": "modeling.Own"}},
            " names classes of the checkpoint's own code in auto_map (modeling.OwnConfig), which "
            "is never run. ",
        ),
        (
            {"auto_map": {"AutoModelForSequenceClassification": "modeling.Own"}},
            " names classes of the checkpoint's own code in auto_map (modeling.Own), which",
        ),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
            " says that the weights are quantised (bitsandbytes); models are read in float32",
        ),
    ],
)
def test_a_config_that_transformers_would_misread(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    """Catches a native class run in the place of a checkpoint's own, and tracebacks."""
    change_config(folder, **changes)
    with pytest.raises(CheckpointError) as caught:
        read_architecture(folder)
    assert str(caught.value).startswith(f"{folder}/config.json{reason}")


def test_a_value_of_another_type_is_one_line(folder: Path) -> None:
    """Catches the library's own error, which is none that a caller can catch as another's."""
    change_config(folder, num_hidden_layers="two")
    with pytest.raises(CheckpointError, match=r"can be used: .*num_hidden_layers"):
        load_config(folder)
    (folder / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json holds no JSON object"):
        load_config(folder)
