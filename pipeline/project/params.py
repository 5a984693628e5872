"""params.yaml of a new project: this repository's, with what the data and the teacher decide."""

import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.project.data import Columns
from pipeline.project.params_text import lines_of, round_trip

TEMPLATE = Path(__file__).parent / "params.yaml"

_LEAST_UPDATES = 80
"""Of a training, for a student to leave chance; the data of the repository give 88."""
_MOST_EPOCHS = 10
# What some reader of YAML takes for something else than text.
_NOT_TEXT = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


@dataclass(frozen=True)
class Sizes:
    """What the settings depend on."""

    n_train: int
    """Training rows that there are."""
    max_rows: int
    """Training rows to keep at most."""
    n_layers: int
    """Of the teacher."""

    @property
    def n_kept(self) -> int:
        """Training rows that are kept."""
        return min(self.n_train, self.max_rows)


def project_params(text: str, columns: Columns, teacher: str | None, sizes: Sizes) -> str:
    """Return the text of `TEMPLATE` with another `data` section, teacher and training.

    Epochs rise where few rows would give few updates, the students' learning rate falls where
    many rows give many, and the captured layers of attention maps keep their share of the depth.
    """
    yaml = round_trip()
    params = yaml.load(text)
    batch_size = params["training"]["batch_size"]
    epochs = min(_MOST_EPOCHS, math.ceil(_LEAST_UPDATES * batch_size / sizes.n_kept))
    for section in ("teacher", "training"):
        params[section]["epochs"] = max(params[section]["epochs"], epochs)
    n_updates = sizes.n_kept * params["training"]["epochs"] // batch_size
    rate = _learning_rate(n_updates)
    if rate is not None:
        params["training"]["learning_rate"] = rate
    if teacher is not None:
        params["teacher"]["checkpoint"] = params["tokenizer"]["checkpoint"] = teacher
        layers = params["capture"]["signals"]["attentions"]["layers"]
        deepest = layers[-1]
        layers[:] = [layer * sizes.n_layers // deepest for layer in layers]
    file = io.StringIO()
    yaml.dump(params, file)
    lines = file.getvalue().splitlines()
    start, stop = lines_of(yaml.load(file.getvalue()), "data", len(lines))
    lines[start:stop] = [*_data_lines(columns, sizes), ""]
    return "\n".join(lines) + "\n"


def _learning_rate(n_updates: int) -> float | None:
    """Return a student's learning rate for this many updates; None: the template's."""
    if n_updates <= 300:
        return None
    return 2e-4 if n_updates <= 1000 else 1e-4


def _data_lines(columns: Columns, sizes: Sizes) -> list[str]:
    named = {"text": columns.text, "text_pair": columns.text_pair, "label": columns.label}
    flow = ", ".join(f"{key}: {_scalar(name)}" for key, name in named.items() if name is not None)
    lines = [
        "data:",
        "  source: files",
        "  path: data # a folder with train, validation and test files; train alone will do",
        f"  columns: {{{flow}}}",
    ]
    if sizes.n_kept < sizes.n_train:
        reason = f"of {sizes.n_train:,}; without this line all are used"
        lines.append(f"  max_rows: {{train: {sizes.n_kept}}} # {reason}")
    return lines


def _scalar(value: str) -> str:
    """Return a text as it may stand within a flow mapping: plain words, or in quotes."""
    is_word = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value) is not None
    is_plain = is_word and value.lower() not in _NOT_TEXT
    return value if is_plain else json.dumps(value, ensure_ascii=False)
