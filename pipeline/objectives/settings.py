"""What objectives there are, by the name they have in params.yaml, and their settings.

Everything here can be read and checked without torch; the losses themselves stand in files of
their own, which also say what the settings mean, and are imported when they are built.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.core.errors import SettingsError
from pipeline.objectives.layer_map import FixedLayerMap, LayerMap, LayerPair, resolve
from pipeline.objectives.linear import LinearTemperature, value_at
from pipeline.objectives.needs import Needs, ObjectiveSettings
from pipeline.signals.attentions import ATTENTIONS, CROSS_ATTENTIONS, DECODER_ATTENTIONS, POOLING
from pipeline.signals.cls import CLS, CLS_STATES, MOMENTS
from pipeline.signals.hidden_states import DECODER_HIDDEN_STATES, HIDDEN_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.models import Models
from pipeline.signals.signal import Array, Heads, Signal

if TYPE_CHECKING:
    from pipeline.objectives.objective import Objective


class HardLabelSettings(ObjectiveSettings):
    """Settings of `hard_label`."""

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.hard_label import HardLabel

        return HardLabel()


class SoftTargetSettings(ObjectiveSettings):
    """Settings of `soft_target`."""

    temperature: Annotated[float, Field(gt=0)] | LinearTemperature = 4.0
    """Divides both models' logits; higher shows more of the small probabilities."""
    distance: Literal["kl", "l1", "l2"] = "kl"
    direction: Literal["forward", "reverse", "jensen_shannon"] = "forward"
    """Of `kl` only."""
    other_teachers: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Share of the average that each other teacher has, by the folder of its store; the
    student's own teacher has the rest."""

    accept_top_k_bias: bool = False
    """Where word pieces are predicted, allow a temperature other than 1: all pieces that are not
    stored are softened as one, and so get less of the teacher's probability than they should."""

    @field_validator("other_teachers")
    @classmethod
    def _leave_a_share(cls, shares: dict[str, float]) -> dict[str, float]:
        if sum(shares.values()) >= 1:
            raise ValueError(
                f"the shares add up to {sum(shares.values()):g}; leave some of 1 to the "
                "student's own teacher"
            )
        return shares

    @model_validator(mode="after")
    def _has_a_direction(self) -> Self:
        if self.distance != "kl" and "direction" in self.model_fields_set:
            raise ValueError(f"distance {self.distance} has no direction; take direction out")
        return self

    def needs(self, models: Models) -> Needs:
        """Return that the teachers' logits are read."""
        models.require_classes()
        if models.task.predicts == "piece":
            self._check_pieces()
        return Needs(teacher=models.logits, other_stores=frozenset(self.other_teachers))

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.soft_target import SoftTarget

        return SoftTarget(self)

    def _check_pieces(self) -> None:
        """Refuse what a teacher's few stored pieces do not give.

        Raises:
            SettingsError: a temperature whose bias is not accepted, or other teachers.
        """
        if self.other_teachers:
            raise SettingsError(
                "other_teachers: stores of word pieces cannot be averaged, for each has its "
                "own teacher's likeliest pieces. Take other_teachers out"
            )
        ends = {value_at(self.temperature, progress) for progress in (0.0, 1.0)}
        if ends != {1.0} and not self.accept_top_k_bias:
            raise SettingsError(
                f"temperature: the store has a teacher's likeliest pieces and what all others "
                f"have together, which at temperature {max(ends):g} is no longer what they "
                "would have. Set temperature: 1, or accept_top_k_bias: true"
            )


class LogitMatchSettings(ObjectiveSettings):
    """Settings of `logit_match`."""

    def needs(self, models: Models) -> Needs:
        """Return that the teacher's logits are read."""
        return Needs(teacher=models.logits)

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.logit_match import LogitMatch

        return LogitMatch()


class MatchSettings(ObjectiveSettings, ABC):
    """Settings of what compares one signal of paired layers."""

    signal: ClassVar[Signal]
    layer_map: LayerMap

    def needs(self, models: Models) -> Needs:
        """Return the mapped layers of either model.

        Raises:
            SettingsError: also where the models differ in what is compared.
        """
        self.check(models)
        pairs = self.pairs(models)
        return Needs(
            teacher=frozenset(self.stored(models, theirs) for _, theirs in pairs),
            student=frozenset(self.compared(models, ours) for ours, _ in pairs),
        )

    @abstractmethod
    def check(self, models: Models) -> None:
        """Refuse models that cannot be compared, whatever the layers."""

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; `learned` takes those that were captured."""
        return resolve(self.layer_map, models, self.signal)

    def stored(self, models: Models, layer: int) -> Array:
        """Return the array of the store that has this layer of the teacher."""
        return Array(self.signal, layer)

    def compared(self, models: Models, layer: int) -> Array:
        """Return what is compared of this layer of the student."""
        return Array(self.signal, layer)


class StatesSettings(MatchSettings, ABC):
    """Settings of what compares states, of [CLS] or of tokens."""

    projection: bool = False
    """Whether the student's states go through a learned map; needed where widths differ."""

    def check(self, models: Models) -> None:
        """Refuse states of unequal width without a projection."""
        models.require(self.signal)
        models.require_equal_width(has_projection=self.projection)


class ClsObjectiveSettings(StatesSettings):
    """Settings of `cls`."""

    signal = CLS
    layer_map: LayerMap = "skip"
    normalise: Literal["l2", "standardise", "none"] = "l2"
    """`l2` compares directions only; `standardise` counts in the teacher's deviations."""
    reduction: Literal["mean", "sum"] = "sum"
    """`sum` is the paper's formula, `mean` its authors' code."""

    def needs(self, models: Models) -> Needs:
        """Return that [CLS] states are read, of the student at the mapped layers."""
        needs = super().needs(models)
        if self.normalise != "standardise":
            return needs
        if any(theirs == 0 for _, theirs in self.pairs(models)):
            raise SettingsError(
                "counts in the teacher's deviations, but its [CLS] of layer 0, the embedding "
                "output, is the same in every row. Leave layer 0 out, or set normalise to l2"
            )
        return needs | Needs(teacher=frozenset({MOMENTS}))

    def stored(self, models: Models, layer: int) -> Array:
        """Return the one array of all layers."""
        return CLS_STATES

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.match_layers import MatchCls

        return MatchCls(self, models)


class TokenStatesSettings(StatesSettings, ABC):
    """Settings of what compares states of tokens."""

    layer_map: LayerMap = "uniform"
    distance: Literal["mse", "cosine"] = "mse"

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.match_layers import MatchStates

        return MatchStates(self, models)


class HiddenStatesObjectiveSettings(TokenStatesSettings):
    """Settings of `hidden_states`."""

    signal = HIDDEN_STATES


class DecoderHiddenStatesSettings(TokenStatesSettings):
    """Settings of `decoder_hidden_states`: a row's tokens are those that its decoder is given."""

    signal = DECODER_HIDDEN_STATES


class MapsSettings(MatchSettings, ABC):
    """Settings of what compares attention maps."""

    layer_map: LayerMap = "uniform"
    distance: Literal["mse", "kl"] = "mse"
    heads: Heads = "all"
    """`mean` compares maps averaged over heads; the store's own such maps where it has them."""

    def check(self, models: Models) -> None:
        """Refuse models that differ in their heads, and pooling of another token than [CLS]."""
        models.require(POOLING if self.pools(models) else self.signal)
        ours, theirs = models.student.n_heads, models.teacher.n_heads
        if not self.pools(models) and self.heads == "all" and ours != theirs:
            raise SettingsError(
                f"compares maps of {ours} heads (student) with maps of {theirs} (teacher). "
                "Set heads: mean"
            )
        if self.pools(models) and models.teacher.head_reads != "first":
            raise SettingsError(
                "compares the student's attention pooling with the row of the teacher's first "
                f"token, but the teacher's head reads the {models.teacher.head_reads} token. "
                "Take this objective out"
            )

    def pools(self, models: Models) -> bool:
        """Say whether the weights by which a student pools its tokens stand for its maps."""
        return self.signal == ATTENTIONS and POOLING in models.student.gives

    def stored(self, models: Models, layer: int) -> Array:
        """Return the array of this layer's maps, averaged over heads where that is enough."""
        mean = Array(self.signal, layer, "mean")
        averages = self.heads == "mean" or self.pools(models)
        return mean if averages and mean in models.captured else Array(self.signal, layer)

    def compared(self, models: Models, layer: int) -> Array:
        """Return the student's maps of a layer, or the weights by which it pools."""
        return Array(POOLING) if self.pools(models) else Array(self.signal, layer)

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.match_layers import MatchMaps

        return MatchMaps(self, models)


class AttentionsObjectiveSettings(MapsSettings):
    """Settings of `attentions`."""

    signal = ATTENTIONS


class DecoderAttentionsSettings(MapsSettings):
    """Settings of `decoder_attentions`."""

    signal = DECODER_ATTENTIONS


class CrossAttentionsSettings(MapsSettings):
    """Settings of `cross_attentions`."""

    signal = CROSS_ATTENTIONS


Kernel = Literal["linear", "cosine", "rbf"]
Comparison = Literal["cka", "rows", "mse"]


class SimilaritySettings(ObjectiveSettings):
    """Settings of `similarity`."""

    layer_map: LayerMap = "uniform"
    kernel: Kernel = "linear"
    comparison: Comparison = "cka"
    compares_rows: ClassVar[bool] = True

    def needs(self, models: Models) -> Needs:
        """Return that [CLS] states are read, of the student at the mapped layers."""
        models.require(CLS)
        return Needs(
            teacher=frozenset({CLS_STATES}),
            student=frozenset(Array(CLS, ours) for ours, _ in self.pairs(models)),
        )

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; every layer has a [CLS] state."""
        return resolve(self.layer_map, models, CLS)

    def build(self, models: Models) -> "Objective":
        """Return the loss itself."""
        from pipeline.objectives.similarity import Similarity

        return Similarity(self, models)


class AdversarialSettings(ObjectiveSettings):
    """Settings of `adversarial`."""

    layer_map: FixedLayerMap = "skip"
    hidden_size: int = Field(default=128, ge=1)
    """Width of the discriminators' hidden layer."""
    projection: bool = False
    """Whether the student's states go through a learned map; needed where widths differ."""

    def needs(self, models: Models) -> Needs:
        """Return that logits and [CLS] states are read, of the student at the mapped layers."""
        models.require(CLS)
        models.require_labelled_rows()
        models.require_equal_width(has_projection=self.projection)
        return Needs(
            teacher=frozenset({CLS_STATES, Array(LOGITS)}),
            student=frozenset(Array(CLS, ours) for ours, _ in self.pairs(models)),
        )

    def pairs(self, models: Models) -> list[LayerPair]:
        """Return the mapped layers; every layer has a [CLS] state."""
        return resolve(self.layer_map, models, CLS)

    def build(self, models: Models) -> "Objective":
        """Return the loss with its discriminators, whose weights are torch's random ones."""
        from pipeline.objectives.adversarial import Adversarial

        return Adversarial(self, models)


OBJECTIVES: dict[str, type[ObjectiveSettings]] = {
    "hard_label": HardLabelSettings,
    "soft_target": SoftTargetSettings,
    "logit_match": LogitMatchSettings,
    "cls": ClsObjectiveSettings,
    "hidden_states": HiddenStatesObjectiveSettings,
    "attentions": AttentionsObjectiveSettings,
    "decoder_hidden_states": DecoderHiddenStatesSettings,
    "decoder_attentions": DecoderAttentionsSettings,
    "cross_attentions": CrossAttentionsSettings,
    "similarity": SimilaritySettings,
    "adversarial": AdversarialSettings,
}
