"""Which Programs run on a GPU."""

import pytest

from gatewright import cells
from gatewright.derive import vjp
from gatewright.nn.engine.device_operation import without_loop
from gatewright.schedule.plan import plan
from gatewright.trace import Trace, simplify, trace_cell


def traces_of(name: str) -> tuple[Trace, Trace]:
    step = simplify(trace_cell(cells.CATALOGUE[name]))
    return step, vjp(step)


@pytest.mark.parametrize("name", ["mingru", "minlstm", "sru", "qrnn", "hgrn"])
def test_cells_that_are_parallel_in_time_have_scans_in_place_of_a_loop(name: str) -> None:
    for trace in traces_of(name):
        program = without_loop(plan(trace))
        assert program.loop == ()
        assert any(stage.scans for stage in program.scan)
        assert without_loop(program) is program


@pytest.mark.parametrize("name", ["gru", "lstm", "indrnn"])
def test_other_cells_keep_their_loop(name: str) -> None:
    for trace in traces_of(name)[:1]:
        program = plan(trace)
        assert without_loop(program) is program
