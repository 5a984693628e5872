"""The `capture` section: which signals of the teacher are kept, and how."""

from typing import Literal

from pydantic import Field

from pipeline.core.settings import Section
from pipeline.models.architecture import Architecture
from pipeline.store.pieces import arrays_of_top
from pipeline.store.spec import CLS, Arrays, ArraySpec, Encoding, Heads, SignalName, logits_array
from pipeline.tasks.task import Task

AskedPrecision = Literal["auto", "float32", "bfloat16", "float16"]

DEFAULT_TOP_K = 64

StateEncoding = Literal["float32", "float16", "bfloat16"]


class LogitsSettings(Section):
    """The task head's pre-softmax outputs."""

    encoding: StateEncoding = "float32"
    top_k: int | None = Field(default=None, ge=1)
    """Of a task that predicts word pieces: how many of the largest logits are kept at each place,
    with the log-sum-exp of all; null is 64. Other tasks keep all."""


class ClsSettings(Section):
    """The [CLS] state of every layer, the embedding output included."""

    encoding: StateEncoding = "float16"


class HiddenStateSettings(Section):
    """The states of all tokens."""

    layers: tuple[int, ...] = Field(min_length=1)
    """0 (the embedding output) to the teacher's number of layers."""
    encoding: StateEncoding = "float16"


class AttentionSettings(Section):
    """The attention probabilities."""

    layers: tuple[int, ...] = Field(min_length=1)
    """Teacher layers, 1 to their number."""
    heads: Heads = "all"
    """`mean` keeps one map a layer, averaged over the heads."""
    encoding: Encoding = "float16"
    """`uint8_cbrt` takes half the space of float16."""


class SignalSettings(Section):
    """Which signals are captured; logits always are."""

    logits: LogitsSettings = LogitsSettings()
    cls: ClsSettings | None = ClsSettings()
    """Not captured of a teacher that writes texts: it has none."""
    hidden_states: HiddenStateSettings | None = None
    attentions: AttentionSettings | None = None
    decoder_hidden_states: HiddenStateSettings | None = None
    """Of a teacher that writes texts, as the two that follow."""
    decoder_attentions: AttentionSettings | None = None
    cross_attentions: AttentionSettings | None = None
    """From the decoder's tokens to those that the encoder reads."""

    def arrays(self, task: Task) -> Arrays:
        """Return the arrays that these settings ask for."""
        arrays: Arrays = {}
        if task.predicts == "piece":
            top = arrays_of_top(self.logits.top_k or DEFAULT_TOP_K)
            arrays |= {array: array.encodings[0] for array in top}
            arrays[top.values] = self.logits.encoding
        else:
            arrays[logits_array(task.predicts)] = self.logits.encoding
        if self.cls is not None and not _has_decoder(task):
            arrays[CLS] = self.cls.encoding
        for signal, asked in self._by_layer().items():
            heads = asked.heads if isinstance(asked, AttentionSettings) else "all"
            for layer in sorted(set(asked.layers)):
                arrays[ArraySpec(signal, layer, heads)] = asked.encoding
        return arrays

    def faults(self, task: Task, teacher: Architecture) -> list[str]:
        """Return a line for all that cannot be captured of this teacher, or for this task."""
        top_k = self.logits.top_k or DEFAULT_TOP_K
        faults = []
        if task.predicts != "piece" and self.logits.top_k is not None:
            faults.append(
                f"capture.signals.logits.top_k: all logits of the task {task.kind} are captured, "
                "which are few. Leave it out."
            )
        if task.predicts == "piece" and top_k >= teacher.n_labels:
            faults.append(
                f"capture.signals.logits.top_k: the {top_k} largest logits are asked for, and the "
                f"teacher's vocabulary has {teacher.n_labels:,} word pieces, of which some must be "
                f"left to be the others. Set it to {teacher.n_labels - 1} or less."
            )
        if _has_decoder(task) and self.cls is not None and "cls" in self.model_fields_set:
            faults.append(
                f"capture.signals.cls: no head of a teacher for {task.kind} reads one token's "
                "state. Set it to null."
            )
        return faults + self._layer_faults(teacher)

    def _layer_faults(self, teacher: Architecture) -> list[str]:
        faults = []
        for signal, asked in self._by_layer().items():
            for array in (ArraySpec(signal, layer) for layer in sorted(set(asked.layers))):
                last = array.last_layer(teacher)
                if last < 0:
                    faults.append(
                        f"capture.signals.{signal}: the teacher ({teacher.model_type}) has no "
                        "decoder. Leave it out."
                    )
                    break
                if not array.exists_in(teacher):
                    faults.append(
                        f"capture.signals.{signal}.layers: layer {array.layer} does not exist, "
                        f"the teacher has layers {array.first_layer} to {last}"
                    )
        return faults

    def _by_layer(self) -> dict[SignalName, HiddenStateSettings | AttentionSettings]:
        """Return what is asked for of the signals that have layers."""
        asked: dict[SignalName, HiddenStateSettings | AttentionSettings | None] = {
            "hidden_states": self.hidden_states,
            "decoder_hidden_states": self.decoder_hidden_states,
            "attentions": self.attentions,
            "decoder_attentions": self.decoder_attentions,
            "cross_attentions": self.cross_attentions,
        }
        return {signal: settings for signal, settings in asked.items() if settings is not None}


def _has_decoder(task: Task) -> bool:
    """Whether the teacher writes a text: then it has a decoder, and no [CLS]."""
    return task.writes


class CaptureSettings(Section):
    """The `capture` section."""

    signals: SignalSettings = SignalSettings()
    precision: AskedPrecision = "auto"
    """Number format of the teacher's matrix products. `auto` is an existing store's; for
    a new one bfloat16 on CUDA, float32 on a CPU."""
    segment_rows: int | None = Field(default=None, ge=1)
    """Rows of a segment; null makes its largest array about 128 MiB. Fixed at first capture."""
    warm_start: bool = True
    """Keep the teacher's weights in the store, so that students can start from them."""
