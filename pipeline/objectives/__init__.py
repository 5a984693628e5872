"""The loss terms, by the name they have in params.yaml."""

from pipeline.objectives.adversarial import AdversarialSettings
from pipeline.objectives.attentions import (
    AttentionsObjectiveSettings,
    CrossAttentionsSettings,
    DecoderAttentionsSettings,
)
from pipeline.objectives.cls import ClsObjectiveSettings
from pipeline.objectives.hard_label import HardLabelSettings
from pipeline.objectives.hidden_states import (
    DecoderHiddenStatesSettings,
    HiddenStatesObjectiveSettings,
)
from pipeline.objectives.logit_match import LogitMatchSettings
from pipeline.objectives.objective import ObjectiveSettings
from pipeline.objectives.similarity import SimilaritySettings
from pipeline.objectives.soft_target import SoftTargetSettings

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
