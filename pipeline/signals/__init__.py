"""The signals that a store can hold, by name; in this order they are set and summarised."""

from pipeline.signals.attentions import ATTENTIONS, CROSS_ATTENTIONS, DECODER_ATTENTIONS
from pipeline.signals.cls import CLS, CLS_MOMENTS
from pipeline.signals.hidden_states import DECODER_HIDDEN_STATES, HIDDEN_STATES
from pipeline.signals.logits import LOGITS, TOKEN_LOGITS
from pipeline.signals.signal import Signal
from pipeline.signals.top_logits import LOG_SUM_EXP, TARGET_LOGITS, TOP_LOGITS, TOP_PIECES

SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        LOGITS,
        TOKEN_LOGITS,
        TOP_LOGITS,
        TOP_PIECES,
        LOG_SUM_EXP,
        TARGET_LOGITS,
        CLS,
        CLS_MOMENTS,
        HIDDEN_STATES,
        DECODER_HIDDEN_STATES,
        ATTENTIONS,
        DECODER_ATTENTIONS,
        CROSS_ATTENTIONS,
    )
}
