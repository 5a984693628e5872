"""params.yaml of a new project: what the data decide, and nothing lost of the rest."""

import pytest

from pipeline.core.settings import parse_params, parse_section
from pipeline.project.check import check_params
from pipeline.project.data import Columns
from pipeline.project.params import TEMPLATE, Sizes, project_params
from pipeline.text.corpus import DataSettings
from tests.added_lines import added_lines

TEXT = TEMPLATE.read_text(encoding="utf-8")
COLUMNS = Columns("review", "sentiment")


def made(
    n_train: int = 2800,
    max_rows: int = 5000,
    n_layers: int = 6,
    teacher: str | None = None,
    columns: Columns = COLUMNS,
) -> str:
    return project_params(TEXT, columns, teacher, Sizes(n_train, max_rows, n_layers))


def test_only_the_data_section_differs_for_data_of_the_defaults_size() -> None:
    """Catches a default or a comment that a new project loses."""
    text = made()
    assert text.startswith(TEXT[: TEXT.index("  source: docstrings")])
    assert text.endswith(TEXT[TEXT.index("\ntask:\n") :])
    check_params(parse_params(text))
    data = parse_params(text)["data"]
    columns = {"text": "review", "label": "sentiment"}
    assert data == {"source": "files", "path": "data", "columns": columns}


@pytest.mark.parametrize(
    ("n_train", "max_rows", "epochs", "rate"),
    [
        (100, 5000, 10, 4e-4),
        (300, 5000, 9, 4e-4),
        (2600, 5000, 1, 4e-4),
        (67_349, 5000, 1, 4e-4),
        (67_349, 20_000, 1, 2e-4),
        (67_349, 100_000, 1, 1e-4),
    ],
)
def test_training_follows_the_number_of_rows(
    n_train: int, max_rows: int, epochs: int, rate: float
) -> None:
    """Catches ten updates that teach nothing, and thousands at a rate made for a hundred."""
    text = made(n_train, max_rows)
    params = parse_params(text)
    assert params["training"]["epochs"] == params["teacher"]["epochs"] == epochs
    assert params["training"]["learning_rate"] == rate
    assert params["data"].get("max_rows") == ({"train": max_rows} if max_rows < n_train else None)
    check_params(params)
    added_lines(text[text.index("\ncapture:") : text.index("\ntraining:")], TEXT)


def test_another_teacher_is_named_everywhere() -> None:
    """Catches a tokenizer of another model, and layers that this teacher's students do not need."""
    params = parse_params(made(n_layers=12, teacher="org/bert"))
    assert params["teacher"]["checkpoint"] == params["tokenizer"]["checkpoint"] == "org/bert"
    assert params["capture"]["signals"]["attentions"]["layers"] == [4, 8, 12]


@pytest.mark.parametrize("name", ["a, b", "label: x", "null", "y", "评论", 'a "b" {c}', "3", "#"])
def test_columns_of_any_name(name: str) -> None:
    """Catches a name that YAML reads as something else, or that breaks the file."""
    text = made(columns=Columns(name, "label", text_pair=name + "2"))
    columns = parse_section(DataSettings, parse_params(text)["data"], "data").columns
    assert (columns.text, columns.text_pair, columns.label) == (name, name + "2", "label")
