"""Compiled kernels, run on a machine for PTX: what Triton's interpreter cannot show, without a GPU.

The kernels run in processes of their own, because Triton's interpreter is on in this one.
"""

import json

import pytest
import torch

from tests.backends.triton.processes import checked_output
from tests.backends.triton.ptx.compared import CHECKED

RUN = ("-m", "tests.backends.triton.ptx.compared")


@pytest.mark.parametrize("chip", CHECKED)
def test_kernels_give_the_numbers_of_torch(chip: int) -> None:
    early = ["--early"] if chip == 90 else []
    differences = json.loads(checked_output(*RUN, "--chip", str(chip), "--seed", str(chip), *early))
    assert set(differences) == set(CHECKED[chip])
    for name, difference in differences.items():
        *_, operands = name.split(" ")
        limit = torch.finfo(getattr(torch, operands)).eps if operands in ("bfloat16", "float16") else 1e-5
        assert difference < limit, differences


def test_a_barrier_that_is_missing_is_found() -> None:
    with pytest.raises(AssertionError, match="reads what another one stores, with no barrier between"):
        checked_output(*RUN, "gru saving resident", "--without-barrier", "4")
