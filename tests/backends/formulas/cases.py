"""The cells whose formulas are kept as golden files: the catalogue, and variations that write what none of it does."""

from gatewright import cells, lang
from gatewright.lang import Cell

GRU, LSTM, ELMAN = cells.get("gru"), cells.get("lstm"), cells.get("elman")

VARIED: dict[str, Cell] = {
    "gru_reset_after": GRU(reset="after"),
    "gru_hard_sigmoid": GRU(gate=lang.hard_sigmoid_theano),
    "layer_norm_gru": lang.layer_norm(GRU),
    "masked_lstm": lang.masked(LSTM),
    "zoneout_lstm": lang.zoneout({"c": 0.5, "h": 0.05})(LSTM),
    "recurrent_dropout_gru": lang.recurrent_dropout(0.25)(GRU),
    "recurrent_dropout_elman_per_step": lang.recurrent_dropout(0.5, per="step")(ELMAN),
    "residual_gru": lang.residual(GRU),
}
CASES: dict[str, Cell] = {**cells.CATALOGUE, **VARIED}
