"""How parameters are packed: the names, the shapes, and views that come apart and together again."""

import numpy as np
import pytest

from gatewright import cells, packing
from gatewright.lang import Cell, cell
from gatewright.packing import Packed, layout_of, packed_shape, parts, tensor_name, unpacked
from gatewright.trace import trace_cell

SIZES = {"input": 3, "hidden": 5, "projection": 2, "context": 4, "input_rank": 2, "hidden_rank": 3}


def arrays(cell: Cell, layout: packing.Layout) -> list[np.ndarray]:
    """Packed arrays of numbers that are all different."""
    made, start = [], 0
    for packed in layout:
        shape = packed_shape(packed, trace_cell(cell), SIZES)
        made.append(np.arange(start, start + np.prod(shape, dtype=int), dtype=float).reshape(shape))
        start += made[-1].size
    return made


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_every_parameter_of_every_cell_has_its_place_and_its_shape(name: str) -> None:
    found = cells.get(name)
    trace, layout = trace_cell(found), layout_of(trace_cell(found))
    assert sorted(slot for packed in layout for slot in packed.slots) == sorted(param.name for param in trace.params)
    values = unpacked(layout, arrays(found, layout), trace, SIZES)
    for param in trace.params:
        assert values[param.name].shape == tuple(SIZES[axis] for axis in param.shape)
    numbers = np.concatenate([value.ravel() for value in values.values()])
    assert len(set(numbers)) == numbers.size


def test_spaces_are_packed_in_the_order_of_their_gates() -> None:
    assert layout_of(trace_cell(cells.lstm)) == (
        Packed("W", ("W.i", "W.f", "W.g", "W.o")),
        Packed("U", ("U.i", "U.f", "U.g", "U.o")),
        Packed("b", ("b.i", "b.f", "b.g", "b.o")),
    )
    assert layout_of(trace_cell(cells.fastgrnn_low_rank))[:2] == (Packed("V_x", ("V.x",)), Packed("V_h", ("V.h",)))


def test_shapes() -> None:
    trace = trace_cell(cells.fastgrnn)
    shapes = {packed.name: packed_shape(packed, trace, SIZES) for packed in layout_of(trace)}
    assert shapes == {"W": (5, 3), "U": (5, 5), "b": (10,), "a": (2,)}


def test_names_are_torch_s() -> None:
    packed = Packed("weight_ih", ("W.r",))
    assert tensor_name(packed, 0, False) == "weight_ih_l0"
    assert tensor_name(packed, 2, True) == "weight_ih_l2_reverse"


def test_parts_are_views_of_the_packed_array() -> None:
    trace = trace_cell(cells.fastgrnn)
    for packed, array in zip(layout_of(trace), arrays(cells.fastgrnn, layout_of(trace)), strict=True):
        for name, part in parts(packed, array, trace, SIZES).items():
            assert np.shares_memory(part, array), name
            part[...] = -1.0
        assert (array == -1.0).all()


def test_a_parameter_that_lies_in_two_arrays_is_their_sum() -> None:
    trace = trace_cell(cells.elman)
    layout = (
        Packed("weight_ih", ("W.h",)), Packed("weight_hh", ("U.h",)), Packed("bias_ih", ("b.h",)),
        Packed("bias_hh", ("b.h",)),
    )  # fmt: skip
    given = arrays(cells.elman, layout)
    values = unpacked(layout, given, trace, SIZES)
    assert np.array_equal(values["b.h"], given[2] + given[3])
    assert np.array_equal(values["W.h"], given[0])


def test_a_cell_without_parameters() -> None:
    @cell
    def echo(x, h):
        return 0.5 * h

    assert layout_of(trace_cell(echo)) == ()
    assert unpacked((), [], trace_cell(echo), SIZES) == {}


def test_arrays_and_layout_must_be_of_one_length() -> None:
    trace = trace_cell(cells.elman)
    with pytest.raises(ValueError, match="shorter"):
        unpacked(layout_of(trace), [], trace, SIZES)
