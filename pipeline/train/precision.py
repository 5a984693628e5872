"""The number format in which a student's forward runs."""

from contextlib import AbstractContextManager, nullcontext

import torch

from pipeline.train.settings import TrainingSettings


def forward_type(settings: TrainingSettings, device: torch.device) -> torch.dtype:
    """Return the format of matrix products; `auto` is bfloat16 on CUDA, else float32."""
    if settings.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
        settings.precision
    ]


def autocast(settings: TrainingSettings, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which the student's forward runs."""
    dtype = forward_type(settings, device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def make_scaler(settings: TrainingSettings, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps small gradients of float16 from vanishing; of other formats, nothing."""
    is_needed = forward_type(settings, device) == torch.float16
    return torch.amp.GradScaler(device.type, enabled=is_needed)
