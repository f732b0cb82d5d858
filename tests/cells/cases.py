"""Which cell, with which options, is held to which step by hand; and numbers to run it on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from gatewright import cells
from gatewright.axes import bind
from gatewright.cells.parallel_in_time import positive
from gatewright.lang import Cell, hard_sigmoid_keras3, hard_sigmoid_theano, relu, sigmoid, softsign, tanh
from gatewright.trace import Trace, trace_cell
from tests.cells import by_hand, by_hand_further

# Odd, and none a multiple of another, so that no wrong axis can go unnoticed.
SIZES = {"input": 5, "hidden": 7, "projection": 3, "context": 4, "input_rank": 2, "hidden_rank": 3}
SQUARE = {**SIZES, "input": SIZES["hidden"]}
STEPS, BATCH = 6, 3

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    cell: Cell
    step: by_hand.Step
    sizes: Mapping[str, int]

    @property
    def trace(self) -> Trace:
        return trace_cell(self.cell)


def case(cell: Cell, step: by_hand.Step, sizes: Mapping[str, int] = SIZES, **options: object) -> Case:
    return Case(cell, partial(step, **options), sizes)


LSTM, PEEPHOLE, PROJECTED, GRU = cells.lstm, cells.lstm_peephole, cells.lstm_projected, cells.gru
ALL = [
    case(cells.elman, by_hand.elman),
    case(cells.elman(activation=relu), by_hand.elman, f=by_hand.relu),
    case(cells.irnn, by_hand.elman, f=by_hand.relu),
    case(cells.antisymmetric_rnn, by_hand.antisymmetric),
    case(
        cells.antisymmetric_rnn(gated=True, epsilon=0.3, gamma=0.2), by_hand.antisymmetric,
        gated=True, epsilon=0.3, gamma=0.2,
    ),
    case(GRU, by_hand.gru),
    case(GRU(reset="after"), by_hand.gru, reset="after"),
    case(GRU(reset="after", recurrent_bias=False), by_hand.gru, reset="after", own_bias=False),
    case(GRU(update="replaces"), by_hand.gru, keeps=False),
    case(GRU(gate=hard_sigmoid_theano), by_hand.gru, gate=by_hand.hard(0.2)),
    case(
        GRU(gate=hard_sigmoid_keras3, activation=relu, reset="after"), by_hand.gru,
        gate=by_hand.hard(1 / 6), f=by_hand.relu, reset="after",
    ),
    case(cells.gru_reset_only, by_hand.gru_reset_only),
    case(cells.gru_update_only, by_hand.gru_update_only),
    case(cells.ligru, by_hand.gru_update_only, f=by_hand.relu),
    case(cells.gru_input_gates, by_hand.gru_input_gates),
    case(cells.mut1, by_hand.mut1),
    case(cells.mut1(project=False), by_hand.mut1, SQUARE, raw=True),
    case(cells.mut2, by_hand.mut2),
    case(cells.mut2(project=False), by_hand.mut2, SQUARE, raw=True),
    case(cells.mut3, by_hand.mut3),
    case(cells.mgu, by_hand.mgu),
    case(cells.janet, by_hand.janet),
    case(cells.janet(beta=0.0), by_hand.janet, beta=0.0),
    case(cells.atr, by_hand.atr),
    case(LSTM, by_hand.lstm),
    case(LSTM(forget_bias=1.0), by_hand.lstm, extra=1.0),
    case(LSTM(coupled=True), by_hand.lstm, coupled=True),
    case(
        LSTM(gate=hard_sigmoid_theano, candidate=relu, output=sigmoid), by_hand.lstm,
        gate=by_hand.hard(0.2), g=by_hand.relu, out=by_hand.sigma,
    ),
    case(LSTM(cell_clip=0.2, forget_bias=2.0), by_hand.lstm, limit=0.2, extra=2.0),
    case(LSTM(candidate=softsign, output=softsign), by_hand.lstm, g=by_hand.soft, out=by_hand.soft),
    case(PEEPHOLE, by_hand.greff),
    case(PEEPHOLE(forget_bias=1.0), by_hand.greff, extra=1.0),
    case(PEEPHOLE(input_gate=False), by_hand.greff, without="i"),
    case(PEEPHOLE(forget_gate=False), by_hand.greff, without="f"),
    case(PEEPHOLE(output_gate=False), by_hand.greff, without="o"),
    case(PEEPHOLE(candidate=cells.identity), by_hand.greff, g=by_hand.same),
    case(PEEPHOLE(output=cells.identity), by_hand.greff, h=by_hand.same),
    case(PEEPHOLE(coupled=True), by_hand.greff, coupled=True),
    case(PEEPHOLE(cell_clip=0.2), by_hand.greff, limit=0.2),
    case(cells.lstm_full_gates, by_hand.full_gates),
    case(PROJECTED, by_hand.lstm_projected),
    case(PROJECTED(cell_clip=0.2, proj_clip=0.1), by_hand.lstm_projected, limit=0.2, narrow=0.1),
    case(
        PROJECTED(peepholes=True, forget_bias=1.0, cell_clip=0.2), by_hand.lstm_projected,
        inner=by_hand.greff, extra=1.0, limit=0.2,
    ),
    case(cells.slstm, by_hand.slstm),
    case(cells.slstm(forget="exp"), by_hand.slstm, forget="exp"),
    case(cells.indrnn, by_hand.indrnn),
    case(cells.indrnn(activation=tanh), by_hand.indrnn, f=np.tanh),
    case(cells.fastrnn, by_hand.fastrnn),
    case(cells.fastgrnn, by_hand.fastgrnn),
    case(cells.fastgrnn_low_rank, by_hand.fastgrnn_low_rank),
    case(cells.ran, by_hand.ran),
    case(cells.scrn, by_hand.scrn),
    case(cells.scrn(alpha=0.5), by_hand.scrn, alpha=0.5),
    case(cells.cornn, by_hand.cornn),
    case(cells.cornn(dt=0.1, gamma=1.0, epsilon=2.0), by_hand.cornn, dt=0.1, gamma=1.0, epsilon=2.0),
    case(cells.lem, by_hand.lem),
    case(cells.lem(dt=0.21), by_hand.lem, dt=0.21),
    case(cells.mingru, by_hand.mingru),
    case(cells.mingru(candidate=positive), by_hand.mingru, g=by_hand.above_zero),
    case(cells.minlstm, by_hand.minlstm),
    case(cells.minlstm(candidate=positive), by_hand.minlstm, g=by_hand.above_zero),
    case(cells.sru, by_hand.sru),
    case(cells.sru(peephole=True, skip="none"), by_hand.sru, peephole=True, skip="none"),
    case(cells.sru(output=tanh, skip="input"), by_hand.sru, SQUARE, g=np.tanh, skip="input"),
    case(cells.qrnn, by_hand.qrnn),
    case(cells.qrnn(pool="f"), by_hand.qrnn, pool="f"),
    case(cells.qrnn(pool="ifo"), by_hand.qrnn, pool="ifo"),
    case(cells.hgrn, by_hand.hgrn),
    case(cells.hgrn(lower_bound=0.4), by_hand.hgrn, bound=0.4),
    case(cells.hgrn(learned_bound=True), by_hand.hgrn, learned=True),
    case(cells.brc, by_hand_further.brc),
    case(cells.nbrc, by_hand_further.nbrc),
    case(cells.cfn, by_hand_further.cfn),
    case(cells.light_ru, by_hand_further.light_ru),
    case(cells.minimal_rnn, by_hand_further.minimal_rnn),
    case(cells.sgrn, by_hand_further.sgrn),
    case(cells.star, by_hand_further.star),
    case(cells.miru1, by_hand_further.miru),
    case(cells.miru1(update=0.3), by_hand_further.miru, update=0.3),
    case(cells.miru2, by_hand_further.miru, reset=0.5),
    case(cells.miru2(update=0.3, reset=0.8), by_hand_further.miru, update=0.3, reset=0.8),
    case(cells.sgu, by_hand_further.sgu),
    case(cells.sgu(gate=hard_sigmoid_keras3), by_hand_further.sgu, gate=by_hand.hard(1 / 6)),
    case(cells.dsgu, by_hand_further.dsgu),
    case(cells.multiplicative_lstm, by_hand_further.multiplicative_lstm),
    case(cells.multiplicative_lstm(product_biases=True), by_hand_further.multiplicative_lstm, biases=True),
    case(cells.mclstm, by_hand_further.mclstm),
    case(cells.original_lstm, by_hand_further.original_lstm),
    case(cells.original_lstm(candidate=tanh, output=tanh), by_hand_further.original_lstm, g=np.tanh, out=np.tanh),
    case(cells.residual_lstm, by_hand_further.residual_lstm),
    case(cells.residual_lstm(shortcut="input"), by_hand_further.residual_lstm, SQUARE, shortcut="input"),
    case(cells.wmclstm, by_hand_further.wmclstm),
    case(cells.wmclstm(memory_bias=True), by_hand_further.wmclstm, biases=True),
    case(cells.nas, by_hand_further.nas),
    case(cells.nas(merge="sum"), by_hand_further.nas, merge="sum"),
    case(cells.rhn, by_hand_further.rhn),
    case(cells.rhn(depth=1), by_hand_further.rhn, depth=1),
    case(cells.rhn(depth=2, coupled=False), by_hand_further.rhn, depth=2, coupled=False),
    case(cells.intersection_rnn, by_hand_further.intersection_rnn),
    case(
        cells.intersection_rnn(project=False, activation=tanh), by_hand_further.intersection_rnn, SQUARE,
        project=False, f=np.tanh,
    ),
    case(cells.tau_gru, by_hand_further.tau_gru),
    case(cells.tau_gru(delay=3), by_hand_further.tau_gru),
    case(cells.unicornn, by_hand_further.unicornn),
    case(cells.unicornn(dt=0.1, alpha=0.0), by_hand_further.unicornn, dt=0.1, alpha=0.0),
    case(cells.trnn, by_hand_further.trnn),
    case(cells.tgru, by_hand_further.tgru),
    case(cells.tlstm, by_hand_further.tlstm),
]  # fmt: skip


def numbers(trace: Trace, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[Arrays, Arrays, Arrays]:
    """Inputs (time, batch, features), parameters, and states to begin with, all of the order of 1."""
    inputs = {v.name: rng.normal(size=(STEPS, BATCH, *bind(v.shape, sizes))) for v in trace.inputs}
    params = {v.name: rng.normal(size=bind(v.shape, sizes)) / np.sqrt(2) for v in trace.params}
    states = {v.name: rng.normal(size=(BATCH, *bind(v.shape, sizes))) for v in trace.states}
    if "n" in states:
        states["n"] = 1 + states["n"] ** 2  # sLSTM's normaliser is never below 1
    return inputs, params, states
