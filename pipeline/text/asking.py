"""How word pieces are asked for, where a task predicts them: what `tokens.json` says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tasks.task import LabelKind
from pipeline.text.decoder_start import decoder_start
from pipeline.text.masking_settings import MaskingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Asking:
    """How a table's rows ask for word pieces, if they do."""

    masking: MaskingSettings | None = None
    """Of a masked LM."""
    decoder_start: int | None = None
    """The token that a decoder begins with, of a sequence to sequence."""

    def described(self) -> dict[str, Any]:
        """Return what `tokens.json` says of it: nothing for all other tasks."""
        if self.masking is not None:
            return {"masking": self.masking.model_dump()}
        return {} if self.decoder_start is None else {"decoder_start": self.decoder_start}


def asking_of(
    label_kind: LabelKind,
    masking: MaskingSettings,
    checkpoint: Path,
    tokenizer: "PreTrainedTokenizerFast",
) -> Asking:
    """Return how rows with labels of this kind ask for pieces of a checkpoint's tokenizer.

    Raises:
        SettingsError: nothing says with which token a decoder begins.
    """
    if label_kind == "masked":
        return Asking(masking=masking)
    if label_kind == "target_text":
        return Asking(decoder_start=decoder_start(checkpoint, tokenizer))
    return Asking()
