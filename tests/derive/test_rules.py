"""Every op's rule against central differences, once and twice; and every rule, made wrong, is seen to be."""

from collections.abc import Callable

import pytest

from gatewright.backends import numpy_ref
from gatewright.derive import rules, vjp
from gatewright.inspect import GradcheckReport, gradcheck
from gatewright.lang import OPS, Op
from gatewright.trace import trace_cell
from tests.derive.one_op import CASES, Case

FLOWING = [
    (op, index)
    for op in OPS
    for index in range(OPS[op].arity)
    if op not in (Op.SIGN, Op.LESS) and (op, index) != (Op.WHERE, 0)
]  # the operands that something flows back to
NO_FLOW = [(Op.SIGN, 0), (Op.LESS, 0), (Op.LESS, 1), (Op.WHERE, 0)]


def check(case: Case) -> GradcheckReport:
    return gradcheck(case.cell, steps=2, batch=2, input_size=3, hidden_size=4, autograd=False)


def test_every_op_has_a_rule_and_a_case() -> None:
    assert rules.RULES.keys() == set(Op) == {case.op for case in CASES}
    assert set(Op) >= rules.LINEAR


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
def test_a_rule_agrees_with_differences(case: Case) -> None:
    assert case.op in {equation.op for equation in trace_cell(case.cell).equations}
    check(case).raise_if_failed()


@pytest.fixture
def change_rule(monkeypatch: pytest.MonkeyPatch) -> Callable[[Op, rules.Rule], None]:
    """Put another rule in the place of an op's for the rest of the test; nothing derived before is used again."""
    monkeypatch.setattr(numpy_ref, "derivative", vjp)
    return lambda op, rule: monkeypatch.setitem(rules.RULES, op, rule)


@pytest.mark.parametrize(("op", "index"), FLOWING)
@pytest.mark.parametrize("mistake", ["a factor", "a sign", "nothing"])
def test_a_wrong_rule_is_seen(op: Op, index: int, mistake: str, change_rule: Callable[[Op, rules.Rule], None]) -> None:
    right = rules.RULES[op]
    wrong = {"a factor": lambda flow: 1.0001 * flow, "a sign": lambda flow: -1.0 * flow, "nothing": lambda flow: None}

    def rule(*args: object, **attrs: object) -> rules.Adjoints:
        flows = right(*args, **attrs)
        return tuple(wrong[mistake](flow) if at == index else flow for at, flow in enumerate(flows))

    change_rule(op, rule)
    assert _is_seen(op), f"no case of {op} sees that the flow to operand {index} is wrong by {mistake}"


@pytest.mark.parametrize(("op", "index"), NO_FLOW)
def test_a_flow_where_there_is_none_is_seen(op: Op, index: int, change_rule: Callable[[Op, rules.Rule], None]) -> None:
    right = rules.RULES[op]

    def rule(g: object, *args: object, **attrs: object) -> rules.Adjoints:
        return tuple(g if at == index else flow for at, flow in enumerate(right(g, *args, **attrs)))

    change_rule(op, rule)
    assert _is_seen(op)


def _is_seen(op: Op) -> bool:
    return any(not check(case).passed for case in CASES if case.op is op)
