"""Every elementwise op has a rule; what is none is a stage's own affair."""

from gatewright.backends.llvm.emit.rules import RULES
from gatewright.lang.ops import ELEMENTWISE, Op


def test_there_is_a_rule_for_every_elementwise_op() -> None:
    assert set(RULES) == ELEMENTWISE | {Op.EXPAND, Op.RELABEL}
