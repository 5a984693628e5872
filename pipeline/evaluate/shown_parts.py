"""The JSON files of an evaluation that `evaluate` writes and the report shows."""

from typing import Any

from pydantic import BaseModel, ConfigDict

SIMILARITY_NAME = "similarity.json"
ATTENTIONS_NAME = "attentions.json"
PROVENANCE_NAME = "provenance.json"


def texts_name(split: str) -> str:
    """Return the name of the file with what the models wrote or answered for a split."""
    return f"{split}-texts.arrow"


ABSENT = "absent"
"""The key under which a part that cannot be given has its reason, one line for people."""


class Part(BaseModel):
    """A part of a file. Keys it does not know are left to later versions."""

    model_config = ConfigDict(frozen=True)


class Similarity(Part):
    """CKA of every layer of a student with every layer of its teacher."""

    n_rows: int
    student_layers: tuple[int, ...]
    """Empty for a network of one state."""
    teacher_layers: tuple[int, ...]
    cka: tuple[tuple[float | None, ...], ...]
    """Student's layer by teacher's."""


class MapPair(Part):
    """The maps of two layers for one text, averaged over heads."""

    student_layer: int
    teacher_layer: int
    student: tuple[tuple[float, ...], ...]
    teacher: tuple[tuple[float, ...], ...]


class AttendedText(Part):
    """One text, as both models attend to it."""

    text: str
    text_pair: str | None = None
    """The second text of a row that has two."""
    student_tokens: tuple[str, ...]
    teacher_tokens: tuple[str, ...]
    pairs: tuple[MapPair, ...]


class Attentions(Part):
    """A few texts."""

    texts: tuple[AttendedText, ...]


class Provenance(Part):
    """Where the numbers come from."""

    data: dict[str, Any]
    teacher: dict[str, Any]
    store: dict[str, Any]
    versions: dict[str, str]
