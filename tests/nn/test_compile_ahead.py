"""Kernels that are compiled before the first call: that call compiles nothing more."""

import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import gatewright as gw
from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.codegen.module import emit_module
from gatewright.backends.llvm.jit import machine_code
from gatewright.backends.llvm.runtime import engine
from gatewright.errors import OptionError
from gatewright.nn.engine import differentiable


class Model(nn.Module):
    """Layers of two levels and two directions above an embedding, and a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6)
        self.encoder = nn.LSTM(6, 5, 2, bidirectional=True)
        self.cell = nn.GRUCell(10, 7)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        output, _ = self.encoder(self.embedding(symbols))
        return self.cell(output[-1])


def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "compile_module", lambda *_, **__: pytest.fail("a kernel is compiled"))


def test_the_first_call_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    gw.nn.accelerate(model)
    assert gw.nn.compile_ahead(model, (7, 3), (1, 2)) == 2
    no_compiler(monkeypatch)
    for steps, batch in ((7, 3), (1, 2), (1, 9)):
        model(torch.randint(0, 9, (steps, batch))).sum().backward()
        with torch.no_grad():
            model(torch.randint(0, 9, (steps, batch)))


def test_a_gradient_is_written_while_its_forward_run_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(machine_code, "processors", lambda: 2)
    main, threads = threading.current_thread(), list[threading.Thread]()

    def emit(kernels: Kernels) -> str:
        threads.append(threading.current_thread())
        return emit_module(kernels)

    monkeypatch.setattr(engine, "emit_module", emit)
    layer = gw.nn.GRU(3, 29)
    output, _ = layer(torch.randn(5, 2, 3))
    assert [thread is main for thread in threads] == [True, False]
    output.sum().backward()
    assert len(threads) == 2, "nothing is left to write"
    layer(torch.randn(5, 2, 3, requires_grad=True))[0].sum().backward()
    assert len(threads) == 3, "the gradient by the input too has other kernels"


def test_an_error_of_work_ahead_reaches_who_needs_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(machine_code, "processors", lambda: 2)
    threads = list[threading.Thread]()

    def fail(*_: object) -> None:
        threads.append(threading.current_thread())
        raise ArithmeticError("no gradient")

    monkeypatch.setattr(differentiable, "gradient_program", fail)
    output, _ = gw.nn.GRU(3, 31)(torch.randn(5, 2, 3))
    assert [thread is threading.current_thread() for thread in threads] == [False]
    with pytest.raises(ArithmeticError, match="no gradient"):
        output.sum().backward()


def test_parameters_without_a_gradient_and_inputs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = gw.nn.GRU(3, 4)
    layer.weight_hh_l0.requires_grad_(False)
    gw.nn.compile_ahead(layer, (5, 2), input_gradient=False)
    no_compiler(monkeypatch)
    layer(torch.randn(5, 2, 3))[0].sum().backward()
    assert layer.weight_hh_l0.grad is None


def test_without_a_gradient_and_with_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = gw.nn.GRU(3, 4)
    gw.nn.compile_ahead(layer, (5, 2), gradient=False, ragged=True)
    no_compiler(monkeypatch)
    with torch.no_grad():
        output, _ = layer(torch.randn(5, 2, 3), lengths=[5, 2])
    assert output[:2, 1].any()
    assert not output[2:, 1].any()


def test_a_layer_of_a_derived_class_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named(nn.GRU):
        pass

    model = nn.Sequential(Named(3, 4))
    gw.nn.accelerate(model)
    assert gw.nn.compile_ahead(model, (5, 2)) == 1
    no_compiler(monkeypatch)
    assert model(torch.randn(5, 2, 3))[0].shape == (5, 2, 4)


def test_what_the_engine_does_not_run_is_left() -> None:
    model = nn.Sequential(nn.GRU(3, 4), gw.nn.GRU(3, 4, backend="torch"), gw.nn.RNNCell(3, 4, backend="torch"))
    assert gw.nn.compile_ahead(model, (5, 2)) == 0


@pytest.mark.parametrize("extent", [(5,), (5, 0), (5, 2, 3), (5.0, 2)])
def test_what_is_no_extent(extent: tuple[int, ...]) -> None:
    with pytest.raises(OptionError) as raised:
        gw.nn.compile_ahead(gw.nn.GRU(3, 4), extent)
    assert str(raised.value) == (
        "an extent does not say how many steps and rows a call has\n"
        "  expected: (steps, batch), both at least 1\n"
        f"  got: {extent!r}"
    )
