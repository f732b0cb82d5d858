"""One program, run with torch.nn's layers and with ours: equal results, or an error of the type that torch's is of.

Each row is a function of the module that the layers are taken from.
"""

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, rnn
from torch.utils.checkpoint import checkpoint

import gatewright as gw
from gatewright.errors import GatewrightError

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:dropout|.*dropout:UserWarning"),
]
Program = Callable[[Any], Any]


def x(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*(shape or (5, 2, 3)), dtype=dtype, generator=torch.Generator().manual_seed(2))


def packed() -> rnn.PackedSequence:
    return rnn.pack_sequence([x(2, 3), x(5, 3), x(3, 3)], enforce_sorted=False)


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(*shape, dtype=dtype)


def output_of(layer: Any) -> Callable[[Tensor], Tensor]:
    return lambda values: layer(values)[0]


def changed(layer: Any, change: Callable[[Any], Any]) -> Any:
    """The layer after something was done to it."""
    change(layer)
    return layer


def with_attribute(layer: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


def saved(layer: Any) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def gradients(layer: Any, *given: Any, **options: Any) -> Any:
    output, last = layer(*given, **options)
    data = output.data if isinstance(output, rnn.PackedSequence) else output
    loss = data.square().sum() + sum(s.cos().sum() for s in (last if isinstance(last, tuple) else (last,)))
    return torch.autograd.grad(loss, list(layer.parameters()))


def trained(layer: Any) -> Any:
    optimizer = torch.optim.AdamW(layer.parameters(), 0.1, fused=False)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x())[0].square().mean().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
        optimizer.step()
    return list(layer.parameters())


def replicated(layer: Any) -> Any:
    """As torch.nn.DataParallel makes one for each device."""
    replica = layer._replicate_for_data_parallel()
    for name, parameter in layer.named_parameters():
        setattr(replica, name, parameter.clone())
    replica._parameters.clear()
    for name, parameter in layer.named_parameters():
        replica.__dict__[name] = parameter.detach() * 2
    return replica(x())


def hooked(layer: Any) -> Any:
    seen: list[str] = []
    layer.register_forward_pre_hook(lambda module, given: seen.append("pre"))
    layer.register_forward_hook(lambda module, given, result: seen.append(f"post {len(result)}"))
    layer.register_full_backward_hook(lambda module, gained, given: seen.append(f"back {len(given)}"))
    layer(x().requires_grad_())[0].sum().backward()
    return seen


def warned(program: Callable[[], Any]) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program()
    return [one.category for one in caught]


def per_sample(layer: Any) -> Any:
    parameters = dict(layer.named_parameters())

    def loss(parameters: Any, one: Tensor) -> Tensor:
        return torch.func.functional_call(layer, parameters, (one[:, None],))[0].sum()

    return torch.func.vmap(torch.func.grad(loss), (None, 1))(parameters, x())


def states(layer: Any) -> Any:
    """What is counted, listed and kept of a module."""
    return {
        "names": [name for name, _ in layer.named_parameters()],
        "state": {name: tuple(value.shape) for name, value in layer.state_dict().items()},
        "modules": len(list(layer.modules())),
        "text": repr(layer),
    }


CONSTRUCTED: dict[str, Program] = {
    f"{kind} {options}": lambda lib, kind=kind, options=options: (
        states(layer := getattr(lib, kind)(3, 4, **options)),
        layer(x()),
        list(layer.parameters()),
    )
    for kind, more in {
        "RNN": [{"nonlinearity": "relu"}, {"nonlinearity": "tanh", "bidirectional": True}],
        "GRU": [{"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False}],
        "LSTM": [{"proj_size": 2}, {"proj_size": 2, "num_layers": 2, "bidirectional": True, "bias": False}],
    }.items()
    for options in ({}, *more)
}
ATTRIBUTES: dict[str, Program] = {
    "mode": lambda lib: [lib.GRU(3, 4).mode, lib.LSTM(3, 4).mode, lib.RNN(3, 4).mode, lib.RNN(3, 4, 1, "relu").mode],
    "options": lambda lib: [
        getattr(lib.LSTM(3, 4, 2, dropout=0.5, proj_size=2), name) for name in nn.RNNBase.__constants__
    ],
    "nonlinearity": lambda lib: [lib.RNN(3, 4).nonlinearity, lib.RNNCell(3, 4).nonlinearity],
    "all_weights": lambda lib: lib.LSTM(3, 4, 2, bidirectional=True).all_weights,
    "_all_weights": lambda lib: lib.LSTM(3, 4, 2, bidirectional=True, proj_size=2)._all_weights,
    "_flat_weights": lambda lib: lib.GRU(3, 4, 2)._flat_weights,
    "_flat_weights_names": lambda lib: lib.GRU(3, 4, 2)._flat_weights_names,
    "flatten_parameters": lambda lib: lib.GRU(3, 4).flatten_parameters(),
    "expected hidden size": lambda lib: lib.LSTM(3, 4, 2, proj_size=2).get_expected_hidden_size(x(), None),
    "expected cell size": lambda lib: lib.LSTM(3, 4, 2, proj_size=2).get_expected_cell_size(x(), None),
    "expected size, packed": lambda lib: lib.GRU(3, 4).get_expected_hidden_size(x(), torch.tensor([7, 2])),
    "check_input": lambda lib: lib.GRU(3, 4).check_input(x(5, 2, 7), None),
    "check_input of a dtype": lambda lib: lib.GRU(3, 4).check_input(x().double(), None),
    "check_hidden_size": lambda lib: lib.GRU(3, 4).check_hidden_size(zeros(1, 2, 5), (1, 2, 4)),
    "check_forward_args": lambda lib: lib.GRU(3, 4).check_forward_args(x(), zeros(1, 2, 4), None),
    "check_forward_args of LSTM": lambda lib: lib.LSTM(3, 4).check_forward_args(x(), (zeros(1, 2, 4),) * 2, None),
    "permute_hidden": lambda lib: lib.GRU(3, 4).permute_hidden(x(1, 2, 4), torch.tensor([1, 0])),
    "permute_hidden of LSTM": lambda lib: lib.LSTM(3, 4).permute_hidden((x(1, 2, 4),) * 2, torch.tensor([1, 0])),
    "RNNBase": lambda lib: [isinstance(getattr(lib, k)(3, 4), nn.RNNBase) for k in ("RNN", "GRU", "LSTM")],
    "RNNCellBase": lambda lib: [isinstance(getattr(lib, k)(3, 4), nn.RNNCellBase) for k in ("RNNCell", "GRUCell")],
    "training": lambda lib: [lib.GRU(3, 4).training, lib.GRU(3, 4).eval().training],
}
WRONG_OPTIONS: dict[str, Program] = {
    "no hidden size": lambda lib: lib.GRU(3),
    "hidden_size 0": lambda lib: lib.GRU(3, 0),
    "hidden_size negative": lambda lib: lib.GRU(3, -1),
    "hidden_size a float": lambda lib: lib.GRU(3, 4.0),
    "hidden_size a text": lambda lib: lib.GRU(3, "4"),
    "hidden_size of NumPy": lambda lib: lib.GRU(3, np.int64(4)),
    "input_size 0": lambda lib: lib.GRU(0, 4),
    "input_size None": lambda lib: lib.GRU(None, 4),
    "num_layers 0": lambda lib: lib.GRU(3, 4, 0),
    "num_layers a text": lambda lib: lib.GRU(3, 4, "2"),
    "bias a number": lambda lib: lib.GRU(3, 4, bias=1),
    "batch_first a number": lambda lib: lib.GRU(3, 4, batch_first=0),
    "dropout above 1": lambda lib: lib.GRU(3, 4, dropout=1.5),
    "dropout True": lambda lib: lib.GRU(3, 4, dropout=True),
    "dropout 1": lambda lib: lib.GRU(3, 4, 2, dropout=1)(x()),
    "nonlinearity": lambda lib: lib.RNN(3, 4, nonlinearity="x"),
    "proj_size negative": lambda lib: lib.LSTM(3, 4, proj_size=-1),
    "proj_size too large": lambda lib: lib.LSTM(3, 4, proj_size=4),
    "unknown": lambda lib: lib.GRU(3, 4, peephole=True),
    "cell of no units": lambda lib: lib.GRUCell(3, 0)(zeros(2, 3), zeros(2, 0)),
    "cell of no inputs": lambda lib: lib.LSTMCell(0, 4)(zeros(2, 0)),
    "cell of a negative size": lambda lib: lib.GRUCell(3, -1),
}
WRONG_ARGUMENTS: dict[str, Program] = {
    "features": lambda lib: lib.GRU(3, 4)(x(5, 2, 7)),
    "features, packed": lambda lib: lib.GRU(2, 4)(packed()),
    "one axis": lambda lib: lib.GRU(3, 4)(x(3)),
    "four axes": lambda lib: lib.LSTM(3, 4)(x(5, 2, 1, 3)),
    "dtype": lambda lib: lib.GRU(3, 4)(x().double()),
    "integers": lambda lib: lib.GRU(3, 4)(x().long()),
    "rows of the state": lambda lib: lib.GRU(3, 4)(x(), zeros(1, 3, 4)),
    "layers of the state": lambda lib: lib.GRU(3, 4)(x(), zeros(2, 2, 4)),
    "units of the state": lambda lib: lib.LSTM(3, 4)(x(), (zeros(1, 2, 4), zeros(1, 2, 3))),
    "axes of the state": lambda lib: lib.GRU(3, 4)(x(), zeros(2, 4)),
    "axes of the states": lambda lib: lib.LSTM(3, 4)(x(), (zeros(2, 4),) * 2),
    "axes of a state of one row": lambda lib: lib.GRU(3, 4)(x(5, 3), zeros(1, 1, 4)),
    "state of a packed sequence": lambda lib: lib.GRU(3, 4)(packed(), zeros(1, 2, 4)),
    "dtype of the state": lambda lib: lib.GRU(3, 4)(x(), zeros(1, 2, 4, dtype=torch.float64)),
    "no input": lambda lib: lib.GRU(3, 4)(),
    "unknown": lambda lib: lib.GRU(3, 4)(x(), hidden=None),
    "cell: features": lambda lib: lib.GRUCell(3, 4)(x(2, 5)),
    "cell: axes": lambda lib: lib.GRUCell(3, 4)(x(2, 2, 3)),
    "cell: state": lambda lib: lib.LSTMCell(3, 4)(x(2, 3), (zeros(3, 4), zeros(3, 4))),
    "cell: dtype": lambda lib: lib.RNNCell(3, 4)(x(2, 3).double()),
}
CALLED: dict[str, Program] = {
    "packed": lambda lib: lib.LSTM(3, 4, 2, bidirectional=True)(packed()),
    "packed with states": lambda lib: lib.GRU(3, 4)(packed(), x(1, 3, 4)),
    "one row": lambda lib: lib.LSTM(3, 4, batch_first=True)(x(5, 3), (x(1, 4), x(1, 4))),
    "no rows": lambda lib: lib.GRU(3, 4)(x(5, 0, 3)),
    "states in a list": lambda lib: lib.LSTM(3, 4)(x(), [x(1, 2, 4), x(1, 2, 4)]),
    "by name": lambda lib: lib.GRU(3, 4)(input=x(), hx=None),
    "strides": lambda lib: [
        (o := lib.GRU(3, 4, batch_first=True)(x()))[0].stride(),
        o[0].is_contiguous(),
        o[1].stride(),
    ],
    "not contiguous": lambda lib: lib.GRU(3, 4)(x(3, 2, 5).transpose(0, 2)),
    "of one step": lambda lib: lib.GRU(3, 4)(x(1, 2, 3)),
    "positional": lambda lib: lib.RNN(3, 4, 2, "relu", False, True, 0.0, True)(x()),
    "cells": lambda lib: [getattr(lib, kind)(3, 4)(x(2, 3)) for kind in ("RNNCell", "GRUCell", "LSTMCell")],
    "dropout": lambda lib: [lib.LSTM(3, 4, 3, dropout=0.5).eval()(x()), lib.LSTM(3, 4, 3, dropout=0.0)(x())],
}
DTYPES: dict[str, Program] = {
    **{
        str(dtype): lambda lib, dtype=dtype: lib.GRU(3, 4, dtype=dtype)(x().to(dtype))
        for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.complex64)
    },
    "double()": lambda lib: lib.LSTM(3, 4).double()(x().double()),
    "half()": lambda lib: lib.LSTM(3, 4).half()(x().half()),
    "to(bfloat16)": lambda lib: gradients(lib.LSTM(3, 4).to(torch.bfloat16), x().bfloat16()),
    "meta": lambda lib: lib.GRU(3, 4, device="meta")(x().to("meta"))[0].shape,
    "to_empty": lambda lib: states(lib.GRU(3, 4, device="meta").to_empty(device="cpu")),
    "default dtype": lambda lib: [p.dtype for p in lib.GRU(3, 4).type(torch.float64).parameters()],
}
AUTOGRAD: dict[str, Program] = {
    "gradients": lambda lib: gradients(lib.LSTM(3, 4, 2, bidirectional=True), x()),
    "gradients, packed": lambda lib: gradients(lib.GRU(3, 4), packed()),
    "frozen": lambda lib: lib.GRU(3, 4).requires_grad_(False)(x())[0].requires_grad,
    "partly frozen": lambda lib: [
        p.grad is None
        for p in changed(
            changed(lib.GRU(3, 4), lambda m: m.weight_hh_l0.requires_grad_(False)), lambda m: m(x())[0].sum().backward()
        ).parameters()
    ],
    "no_grad": lambda lib: torch.no_grad()(lib.GRU(3, 4).__call__)(x())[0].requires_grad,
    "inference_mode": lambda lib: torch.inference_mode()(lib.GRU(3, 4).__call__)(x())[0].is_inference(),
    "twice": lambda lib: (loss := lib.GRU(3, 4)(x())[0].sum(), loss.backward(), loss.backward()),
    "checkpoint": lambda lib: checkpoint(lib.GRU(3, 4), x().requires_grad_(), use_reentrant=False)[0],
    "training": lambda lib: trained(lib.GRU(3, 4, 2)),
    "hooks": lambda lib: hooked(lib.GRU(3, 4)),
    "output in place": lambda lib: lib.GRU(3, 4)(x())[0].mul_(2).sum().backward(),
    "jvp": lambda lib: torch.func.jvp(output_of(lib.GRU(3, 4)), (x(),), (x(),)),
    "jacrev": lambda lib: torch.func.jacrev(output_of(lib.RNN(3, 4)))(x(2, 1, 3)),
    "per sample": lambda lib: per_sample(lib.LSTM(3, 4)),
    "batched": lambda lib: torch.autograd.functional.jacobian(output_of(lib.GRU(3, 4)), x(2, 1, 3), vectorize=True),
}
TOOLS: dict[str, Program] = {
    "deepcopy": lambda lib: copy.deepcopy(changed(lib.GRU(3, 4), lambda m: m(x())))(x()),
    "pickle": lambda lib: pickle.loads(pickle.dumps(lib.GRU(3, 4).share_memory()))(x()),
    "torch.save": lambda lib: saved(lib.LSTM(3, 4, 2))(x()),
    "strict loading": lambda lib: lib.GRU(3, 4).load_state_dict(lib.GRU(3, 4, 2).state_dict()),
    "loading": lambda lib: lib.GRU(3, 4).load_state_dict(lib.GRU(3, 4, 2).state_dict(), strict=False),
    "loading other shapes": lambda lib: lib.GRU(3, 4).load_state_dict(lib.GRU(3, 5).state_dict()),
    "assign": lambda lib: changed(
        lib.GRU(3, 4), lambda m: m.load_state_dict({n: p + 1 for n, p in m.state_dict().items()}, assign=True)
    )(x()),
    "a new parameter": lambda lib: with_attribute(lib.GRU(3, 4), weight_hh_l0=nn.Parameter(x(12, 4)))(x()),
    "functional_call": lambda lib: torch.func.functional_call(lib.GRU(3, 4), {"weight_hh_l0": x(12, 4)}, (x(),)),
    "weight_norm": lambda lib: gradients(parametrizations.weight_norm(lib.GRU(3, 4), "weight_hh_l0"), x()),
    "old weight_norm": lambda lib: gradients(nn.utils.weight_norm(lib.GRU(3, 4), "weight_hh_l0"), x()),
    "orthogonal": lambda lib: parametrizations.orthogonal(lib.RNN(3, 4), "weight_hh_l0")(x()),
    "removed parametrization": lambda lib: changed(
        parametrizations.weight_norm(lib.GRU(3, 4), "weight_hh_l0"),
        lambda m: parametrize.remove_parametrizations(m, "weight_hh_l0"),
    )(x()),
    "vector of parameters": lambda lib: nn.utils.parameters_to_vector(lib.GRU(3, 4).parameters()),
    "replicas": lambda lib: replicated(lib.GRU(3, 4)),
    "apply": lambda lib: lib.GRU(3, 4).apply(lambda m: [nn.init.ones_(p) for p in m.parameters()])(x()),
    "reset_parameters": lambda lib: list(
        changed(lib.GRU(3, 4), lambda m: (torch.manual_seed(9), m.reset_parameters())).parameters()
    ),
    "dropout warning": lambda lib: warned(lambda: lib.GRU(3, 4, dropout=0.5)),
    "in a Sequential": lambda lib: list(nn.Sequential(nn.Linear(3, 3), lib.GRU(3, 4)).state_dict()),
}
GROUPS = {
    "constructed": CONSTRUCTED, "attributes": ATTRIBUTES, "wrong options": WRONG_OPTIONS,
    "wrong arguments": WRONG_ARGUMENTS, "called": CALLED, "dtypes": DTYPES, "autograd": AUTOGRAD, "tools": TOOLS,
}  # fmt: skip
PROGRAMS = [
    pytest.param(program, id=f"{group}: {name}") for group, rows in GROUPS.items() for name, program in rows.items()
]


def outcome(program: Program, home: Any) -> Any:
    """What a program gives, or the error that it raises; every layer is drawn from the same seed."""
    torch.manual_seed(7)
    try:
        return program(home)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:  # compared below
        return error


TOLERANCES = {torch.float32: (1e-5, 2e-6), torch.float64: (1e-5, 2e-6)}
"""Relative and absolute: narrow dtypes are rounded at other places than torch rounds them."""
TOLERANCES |= {dtype: (2 * torch.finfo(dtype).eps,) * 2 for dtype in (torch.bfloat16, torch.float16)}


def check_equal(got: Any, want: Any) -> None:
    if isinstance(want, Exception):
        assert isinstance(got, type(want)), f"{got!r} where torch raises {want!r}"
    elif isinstance(want, Tensor):
        assert (got.dtype, got.requires_grad) == (want.dtype, want.requires_grad)
        # What no tolerance is given for, torch's own functions run.
        relative, absolute = TOLERANCES.get(want.dtype, (0.0, 0.0))
        torch.testing.assert_close(got, want, rtol=relative, atol=absolute)
    elif isinstance(want, dict):
        assert list(got) == list(want)
        check_equal(list(got.values()), list(want.values()))
    elif isinstance(want, tuple | list):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            check_equal(one, other)
    else:
        assert got == want


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_as_with_torchs(program: Program) -> None:
    want, got = (outcome(program, home) for home in (nn, gw.nn))
    check_equal(got, want)
    if isinstance(got, GatewrightError):
        assert isinstance(want, Exception)


MORE: dict[str, Program] = {
    "no steps": lambda lib: lib.GRU(3, 4)(x(0, 2, 3))[0].shape == (0, 2, 4),
    "a number for a yes": lambda lib: lib.GRU(3, 4, bidirectional=1)(x())[0].shape == (5, 2, 8),
    "skip_init": lambda lib: nn.utils.skip_init(lib.GRU, 3, 4)(x())[0].shape == (5, 2, 4),
    "gradients in batches through torch.func.vmap": lambda lib: (
        torch.autograd.grad(
            torch.func.vmap(output_of(layer := lib.GRU(3, 4)))(x(1, 5, 2, 3)),
            layer.weight_ih_l0,
            torch.ones(3, 1, 5, 2, 4),
            is_grads_batched=True,
        )[0].shape
        == (3, 12, 3)
    ),
}


@pytest.mark.parametrize("program", MORE.values(), ids=MORE)
def test_what_runs_here_and_not_there(program: Program) -> None:
    assert isinstance(outcome(program, nn), Exception)
    assert outcome(program, gw.nn) is True


NAMES = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")


@pytest.mark.parametrize("home", [torch.nn, torch.nn.modules.rnn], ids=["torch.nn", "torch.nn.modules.rnn"])
def test_ours_can_be_put_in_the_place_of_torchs_by_name(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {name: getattr(home, name) for name in NAMES}
    for name in (*NAMES, "RNNBase", "RNNCellBase"):
        monkeypatch.setattr(home, name, getattr(gw.nn, name, gw.nn.GRU))
    for name in NAMES:
        torch.manual_seed(7)
        ours = getattr(home, name)(3, 4)
        torch.manual_seed(7)
        given = x(2, 3) if name.endswith("Cell") else x()
        assert type(ours) is getattr(gw.nn, name)
        check_equal(ours(given), theirs[name](3, 4)(given))
        check_equal(copy.deepcopy(ours)(given), saved(ours)(given))
    model = nn.Sequential(theirs["LSTM"](3, 4), gw.nn.GRU(4, 4))
    assert str(gw.nn.accelerate(model)) == "0 (LSTM): swapped, llvm: compiled for this processor"
