"""What changes only the speed: the `runtime` section, which no stage has as a parameter."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.errors import SettingsError
from pipeline.core.settings import Section

if TYPE_CHECKING:
    import torch


class RuntimeSettings(Section):
    """The `runtime` section."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_tokens: int = Field(default=4096, ge=1)
    """Padded tokens in one forward of the teacher; a longer single row still goes alone."""
    processes: int = Field(default=1, ge=1)
    """Processes of this machine that `capture` and `distill` run in; on CUDA, one a device."""
    seconds_between_saves: float = Field(default=60.0, ge=0)
    """How often `distill` keeps its state on disk, from which a killed training goes on."""


def pick_device(settings: RuntimeSettings, local_rank: int = 0) -> "torch.device":
    """Return the device to compute on; `auto` is CUDA where there is one.

    Processes of one machine take its CUDA devices in turn.

    Raises:
        SettingsError: CUDA is asked for and there is none.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not has_cuda:
        raise SettingsError("runtime.device: 'cuda', but torch sees no CUDA device; use auto")
    if not has_cuda or settings.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())
