"""`layer.source()`: the code that a layer runs, to be read."""

import pytest
import torch

import gatewright as gw
from gatewright.backends.llvm.jit.target import target_named
from gatewright.errors import OptionError
from gatewright.nn.engine.differentiable import differentiable
from gatewright.schedule.text import to_text


def test_the_three_languages() -> None:
    source = gw.nn.GRU(3, 5).source("llvm")
    assert source.program.startswith('program "gru(reset=\\"after\\")"\n')
    assert "h'(hidden) = add" in source.program
    assert 'define void @"loop"(ptr %"table", i64 %"steps"' in source.ir
    assert "loop:" in source.assembly.splitlines()
    assert "loop0 " in source.layout


def test_all_of_it_as_one_text() -> None:
    source = gw.nn.RNN(3, 5).source()
    text = str(source)
    headings = [line for line in text.splitlines() if line.startswith("; ----")]
    assert headings == [
        "; ---- elman: the program",
        f"; ---- LLVM IR, {source.layout}",
        f"; ---- assembly for host, {target_named().cpu}",
    ]
    for part in (source.program, source.ir, source.assembly):
        assert part.strip() in text
    assert repr(source) == "Source(name='elman')"


def test_it_is_the_code_of_the_layer_that_was_asked_for() -> None:
    layer = gw.nn.LSTM(3, 6, num_layers=2, dtype=torch.float64)
    first, second = layer.source(steps=4, batch=2), layer.source(layer=1, steps=4, batch=2)
    assert "x double>" in first.ir
    assert first.program == second.program
    assert first.ir != second.ir  # the inputs of the second layer are wider
    assert layer.source(steps=100, batch=64).layout != first.layout


def test_the_gradient_has_source_as_well() -> None:
    layer = gw.nn.GRU(3, 5)
    source = layer.source(gradient=True)
    spec = differentiable(layer.trace, layer.sizes(), torch.float32)
    assert source.name == 'd(gru(reset="after"))'
    assert source.program == to_text(spec.whole_gradient.program)
    assert "input saved(r)(hidden)" in source.program
    assert 'define void @"outer_5x3"' in source.ir
    assert "outer_5x3:" in source.assembly.splitlines()


@pytest.mark.parametrize("backend", ["numpy", "torch", "cuda"])
def test_backends_without_code(backend: str) -> None:
    with pytest.raises(OptionError) as raised:
        gw.nn.GRU(3, 5).source(backend)
    assert str(raised.value) == (
        f"there is no source for backend {backend!r}\n"
        "  expected: 'llvm' or 'triton', those that generate code\n"
        f"  got: {backend!r}\n"
        "  do: print(gw.trace.to_text(layer.trace)) shows the equations that every backend runs"
    )


FUSED = "torch.gru runs it (cuDNN on CUDA); masks, resets, gates and second derivatives go operation by operation"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"device": "meta"}, f"torch-fused: the compiled engine cannot run this: the tensors are on meta; {FUSED}"),
        ({"backend": "torch"}, "torch: asked for by name; operation by operation, on any device"),
    ],
    ids=["elsewhere", "by name"],
)
def test_a_layer_that_torch_runs_has_none(options: dict[str, object], why: str) -> None:
    with pytest.raises(OptionError) as raised:
        gw.nn.GRU(3, 5, **options).source()
    assert str(raised.value) == (
        "no code is generated for this layer, so that there is none to show\n"
        "  expected: a layer that the compiled engine runs\n"
        f"  got: {why}"
    )


@pytest.mark.parametrize("layer", [-1, 2])
def test_a_layer_that_is_not_there(layer: int) -> None:
    with pytest.raises(OptionError, match="there is no such layer\n  expected: from 0 to 1\n"):
        gw.nn.GRU(3, 5, num_layers=2).source(layer=layer)


def test_the_equations_of_a_layer_can_be_printed_as_the_error_says() -> None:
    assert "h'(hidden) = " in gw.trace.to_text(gw.nn.GRU(3, 5).trace)
