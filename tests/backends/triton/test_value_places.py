"""Rounded copies of what products of a loop read: the same numbers to the bit, and fewer bytes."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from gatewright.backends.triton import persistent_kernel, stepped
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.persistent_kernel import PersistentLoop
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.backends.triton.value_places import copied_arrays
from gatewright.schedule.plan import plan
from tests.backends.triton.staged import MakeLoop, draw_wide, staged, traces

BFLOAT16, FLOAT16 = KernelPrecision("float32", "bfloat16"), KernelPrecision("float32", "float16")
FORMS: dict[str, MakeLoop] = {"stepped": SteppedLoop, "persistent": partial(PersistentLoop, programs=1)}


CASES = (
    ("gru", "stepped", BFLOAT16),
    ("gru", "persistent", BFLOAT16),
    ("lstm_projected", "stepped", FLOAT16),
    ("rhn", "stepped", BFLOAT16),
    ("layer_norm(gru)", "persistent", BFLOAT16),
)


@pytest.mark.parametrize("lengths", [None, (3, 0, 2)], ids=["whole", "ragged"])
@pytest.mark.parametrize(("name", "form", "precision"), CASES)
def test_copies_are_what_products_would_round(
    name: str,
    form: str,
    precision: KernelPrecision,
    lengths: tuple[int, ...] | None,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of states before and after a step, of values of one step, and of what a gradient keeps for its sums."""
    for kind in ("saving", "gradient"):
        given = draw_wide(traces(name)[kind], 3, 3, 12, rng)
        program = plan(given.trace)
        assert copied_arrays(program, precision)
        got = staged(given, program, precision, FORMS[form], lengths)
        with monkeypatch.context() as patched:
            for module in (stepped, persistent_kernel):
                patched.setattr(module, "copied_arrays", lambda *_: frozenset[Argument]())
            want = staged(given, program, precision, FORMS[form], lengths)
        for group, values in want.items():
            for key, value in values.items():  # states beyond the end of a row are NaN
                assert got[group][key].tobytes() == value.tobytes(), (kind, group, key)


def test_only_what_the_loop_writes_and_multiplies_is_copied() -> None:
    program = plan(traces("gru")["step"])  # its reset comes before the product
    kinds = {ArgumentKind.STATE, ArgumentKind.ROW}
    assert {argument.kind for argument in copied_arrays(program, BFLOAT16)} == kinds
    assert copied_arrays(program, KernelPrecision("float32", "float32", "tf32")) == frozenset()
    assert copied_arrays(plan(traces("lstm")["step"]), BFLOAT16) == {Argument(ArgumentKind.STATE, "h")}
    assert copied_arrays(plan(traces("indrnn")["step"]), BFLOAT16) == frozenset()


def test_a_gru_as_text(golden: Callable[[str, str], None]) -> None:
    """What only products read is not stored in float32."""
    loop = SteppedLoop(plan(traces("gru")["step"]), {"input": 40, "hidden": 300}, BFLOAT16)
    golden("triton/gru stepped in bfloat16.txt", loop.texts[1].text)
