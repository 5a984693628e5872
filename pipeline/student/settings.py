"""`students.NAME.model`: what a student is and which weights it starts from."""

from typing import Literal

from pydantic import Field

from pipeline.errors import SettingsError
from pipeline.settings import Section


class TransformerSettings(Section):
    """The teacher's architecture with fewer layers."""

    architecture: Literal["transformer"] = "transformer"
    n_layers: int = Field(ge=1)
    warm_start: Literal["first", "every", "none"] | tuple[int, ...] = "first"
    """Teacher layers the student starts from: the `first` ones, `every` N/M-th, a list of
    layer numbers, or `none`. Embeddings and head come along unless it is `none`."""

    def teacher_layers(self, n_teacher: int) -> list[int]:
        """Return the teacher layer (1 to `n_teacher`) each student layer starts from, in order.

        `first` is 1..M, `every` floor(j N / M) for j = 1..M; `none` gives an empty list.

        Raises:
            SettingsError: the teacher has no such layer, or the list has another length.
        """
        n_student = self.n_layers
        if self.warm_start == "none":
            return []
        if isinstance(self.warm_start, str):
            if n_student > n_teacher:
                raise SettingsError(
                    [
                        f"warm_start: '{self.warm_start}' needs {n_student} teacher layers, the "
                        f"teacher has {n_teacher}; use fewer layers, a list, or none"
                    ]
                )
            step = n_teacher if self.warm_start == "every" else n_student
            return [layer * step // n_student for layer in range(1, n_student + 1)]
        layers = list(self.warm_start)
        outside = [layer for layer in layers if not 1 <= layer <= n_teacher]
        if outside or len(layers) != n_student:
            raise SettingsError(
                [
                    f"warm_start: lists teacher layers {', '.join(map(str, layers))} for a student "
                    f"of {n_student} layers; give {n_student} numbers from 1 to {n_teacher}"
                ]
            )
        return layers
