"""The smallest backend agrees with the reference over the catalogue: the recipe for a backend leaves nothing out."""

import pytest

from gatewright.cells import CATALOGUE
from gatewright.lang import OPS
from tests.backends.plain_floats import RULES, plain_results
from tests.parity.assertions import assert_parity
from tests.parity.matrix import MODELS, TRANSFORMERS, with_oracle

VARIED = [f"{word}({name})" for name in sorted(MODELS) for word in TRANSFORMERS]


def test_every_op_has_a_rule() -> None:
    assert RULES.keys() == OPS.keys()


@pytest.mark.parametrize("name", [*CATALOGUE, *VARIED])
def test_plain_floats_agree_with_the_reference(name: str) -> None:
    given, want = with_oracle(name, 7, 3, lengths=(3, 0, 7))
    got = plain_results(given, "float64")
    assert_parity(
        got, want, dtype="float64", steps=given.steps, width=given.width, backend="plain floats", cell=given.trace.name
    )
