"""A learned linear map from a student's states to a teacher's, where their widths differ.

    h' = W h,   W (teacher hidden, student hidden), one for each student layer

Jiao et al. 2020 (TinyBERT), 1909.10351, equation 8, with one W for all layers. It is
trained with the student and not part of its checkpoint.
"""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.objectives.models import Models


class Projection(nn.Module):
    """The maps of some student layers, or none of them: then states stay as they are."""

    def __init__(self, models: Models, layers: Iterable[int], *, is_learned: bool) -> None:
        super().__init__()
        widths = models.student.hidden_size, models.teacher.hidden_size
        self.maps = nn.ModuleDict(
            {str(layer): nn.Linear(*widths, bias=False) for layer in sorted(set(layers))}
            if is_learned
            else {}
        )

    def forward(
        self, states: Float[Tensor, "*batch student_hidden"], layer: int
    ) -> Float[Tensor, "*batch teacher_hidden"]:
        """Return the states of one student layer in the teacher's width, in float32."""
        own = states.float()
        if not self.maps:
            return own
        projected: Tensor = self.maps[str(layer)](own)
        return projected
