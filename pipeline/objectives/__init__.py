"""The loss terms, by the name they have in params.yaml."""

from pipeline.objectives.attentions import AttentionsObjectiveSettings
from pipeline.objectives.cls import ClsObjectiveSettings
from pipeline.objectives.hard_label import HardLabelSettings
from pipeline.objectives.logit_match import LogitMatchSettings
from pipeline.objectives.objective import ObjectiveSettings
from pipeline.objectives.soft_target import SoftTargetSettings

OBJECTIVES: dict[str, type[ObjectiveSettings]] = {
    "hard_label": HardLabelSettings,
    "soft_target": SoftTargetSettings,
    "logit_match": LogitMatchSettings,
    "cls": ClsObjectiveSettings,
    "attentions": AttentionsObjectiveSettings,
}
