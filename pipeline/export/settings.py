"""The settings of the export stage: section `export` of params.yaml."""

from pydantic import Field, field_validator

from pipeline.core.settings import Section

FILES = {"float32": "model.onnx", "int8": "model_int8.onnx"}
"""The exported file of each format."""


class ExportSettings(Section):
    """Which students are shipped as ONNX files, and how."""

    students: tuple[str, ...] = ()
    """Those of `students` to export; the others cost nothing."""

    int8: bool = True
    """Whether a file of 8-bit weights is tried, too. It is kept where it is worth it."""

    license: str = Field(default="unknown", min_length=1)
    """What the exported model's card says: an identifier of the Hub, such as `apache-2.0`."""

    @field_validator("students")
    @classmethod
    def _names_each_once(cls, students: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in students if students.count(name) > 1})
        if twice:
            raise ValueError(f"names {', '.join(twice)} more than once")
        return students
