"""Layers with backend="triton" in graphs and modes of torch, in Triton's interpreter: the numbers of the eager call."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from functorch.compile import aot_function, make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, vmap

import gatewright as gw
from gatewright import cells
from gatewright.errors import OptionError
from gatewright.nn import Recurrent
from gatewright.nn.engine.differentiable import Differentiable, differentiable
from gatewright.nn.graphs import custom_ops
from tests.parity.assertions import assert_parity
from tests.paths import subprocess_environment

INPUT, HIDDEN, STEPS, BATCH = 2, 5, 4, 3


@pytest.fixture(autouse=True)
def _forget_graphs() -> None:
    torch._dynamo.reset()


def layer(cell: Any = "gru", **options: Any) -> Recurrent:
    return Recurrent(cell, INPUT, HIDDEN, **{"dtype": torch.float64, "backend": "triton", **options})


def x(steps: int = STEPS, batch: int = BATCH) -> Tensor:
    return torch.randn(steps, batch, INPUT, dtype=torch.float64)


def results(call: Any, module: nn.Module, values: Tensor, **options: Any) -> list[Tensor]:
    """Everything that a call gives, and its gradients by the input and all parameters."""
    leaf = values.detach().clone().requires_grad_()
    torch.manual_seed(5)
    output, finals = call(leaf, **options)
    finals = list(finals) if isinstance(finals, tuple) else [finals]
    loss = output.square().sum() + sum(final.sin().sum() for final in finals)
    return [part.detach() for part in (output, *finals, *torch.autograd.grad(loss, [leaf, *module.parameters()]))]


def assert_same(got: list[Tensor], want: list[Tensor], steps: int = STEPS, dtype: str = "float64") -> None:
    assert_parity(got, want, dtype=dtype, steps=steps)


class GraphRecorder:
    """A compiler of AOTAutograd that keeps its graphs, forward ones first, and runs them as they are."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def keep(self, graph: torch.fx.GraphModule, _: Any) -> Any:
        self.graphs.append(graph)
        return make_boxed_func(graph.forward)


def keys_of(graph: torch.fx.GraphModule) -> list[dict[str, Any]]:
    """The first lines of the keys of all operators in a graph."""
    target = torch.ops.gatewright.run.default
    return [json.loads(node.args[0].partition("\n")[0]) for node in graph.graph.nodes if node.target is target]


MARKS = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 1, 1]]).T.bool()
COMPILED: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "two levels, both directions": ("gru", {"num_layers": 2, "bidirectional": True}, {}),
    "lengths": ("lstm", {"bidirectional": True}, {"lengths": torch.tensor([0, 4, 2])}),
    "lengths and resets": (gw.layer_norm(cells.gru), {}, {"lengths": [4, 2, 3], "resets": MARKS}),
    "a scan and a mask": ("sru", {}, {"mask": MARKS}),
    "dropout and zoneout": (gw.zoneout(0.4)(cells.lstm), {"num_layers": 2, "dropout": 0.3}, {}),
}


@pytest.mark.parametrize("case", COMPILED)
def test_a_compiled_layer_is_the_layer(case: str) -> None:
    cell, settings, options = COMPILED[case]
    module, values, recorder = layer(cell, **settings), x(), GraphRecorder()
    backend = aot_autograd(fw_compiler=recorder.keep, bw_compiler=recorder.keep)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    assert_same(results(compiled, module, values, **options), results(module, module, values, **options))
    forward, backward = map(keys_of, recorder.graphs)
    assert [head["engine"] for head in (*forward, *backward)] == ["triton"] * 2 * len(module.packed_cells)
    assert all(head["saves"] for head in forward)  # what the gradient reads


def test_gates_without_a_gradient() -> None:
    module, values = layer(bidirectional=True), x()
    with torch.no_grad():
        want = module(values, return_gates=True, lengths=[4, 2, 1])
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        assert_parity(compiled(values, return_gates=True, lengths=[4, 2, 1]), want, dtype="float64", steps=STEPS)


def test_one_graph_serves_every_number_of_steps_and_rows() -> None:
    module, counter = layer(), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    for steps, batch in ((7, 4), (9, 3), (12, 6), (3, 2)):
        values, lengths = x(steps, batch), torch.arange(batch) % (steps + 1)
        want = results(module, module, values, lengths=lengths)
        assert_same(results(compiled, module, values, lengths=lengths), want, steps)
    assert counter.frame_count == 1


@pytest.mark.parametrize("extent", [(0, BATCH), (STEPS, 0), (1, 1)])
def test_nothing_to_compute(extent: tuple[int, int]) -> None:
    module, values = layer("lstm"), x(*extent)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    assert_same(results(compiled, module, values), results(module, module, values), 1)


def test_a_gradient_of_a_gradient_within_a_graph() -> None:
    module, values = layer(), x().requires_grad_()
    compiled = torch.compile(module, fullgraph=True, backend="eager")  # AOTAutograd has no second derivatives

    def derivatives(call: Any) -> list[Tensor]:
        (gradient,) = torch.autograd.grad(call(values)[0].square().sum(), values, create_graph=True)
        leaves = [values, *module.parameters()]
        return list(torch.autograd.grad(gradient.square().sum(), leaves, allow_unused=True, materialize_grads=True))

    assert_same(derivatives(compiled), derivatives(module))


def test_a_compiled_vmap() -> None:
    module, elements = layer(), torch.stack([x(), x()])
    call = vmap(lambda values: module(values)[0])
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    got, want = (with_gradients(one(elements), module) for one in (compiled, call))
    assert_same(got, want)


def with_gradients(output: Tensor, module: nn.Module) -> list[Tensor]:
    return [output.detach(), *torch.autograd.grad(output.square().sum(), list(module.parameters()))]


def test_a_compiled_derivative_by_transform_is_refused_by_name() -> None:
    module = layer()
    call = torch.func.grad(lambda values: module(values)[0].sum())
    with pytest.raises(Exception, match="got: torch.compile is tracing a derivative by torch.func"):
        torch.compile(call, fullgraph=True, backend="aot_eager")(x())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    module, values = layer(dtype=torch.float32), x().float()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=dtype):
        got, want = results(compiled, module, values), results(module, module, values)
    for mine, other in zip(got, want, strict=True):
        assert torch.equal(mine, other)


# Export


RUN = """
import sys, torch, gatewright.nn
values, want = torch.load(sys.argv[1])
got = torch.export.load(sys.argv[2]).module()(*values)
print(all(map(torch.equal, got, want)))
"""


def test_an_exported_program_runs_in_a_process_that_never_saw_the_layer(tmp_path: Path) -> None:
    module = layer("lstm_peephole", bidirectional=True)

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = module

        def forward(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
            output, finals = self.layer(values, lengths=lengths)
            return (output, *finals)

    steps, batch = torch.export.Dim("steps", min=1, max=4096), torch.export.Dim("batch", min=1, max=512)
    shapes = {"values": {0: steps, 1: batch}, "lengths": {0: batch}}
    arguments = x(9, 5), torch.tensor([9, 0, 3, 4, 1])
    with torch.no_grad():
        want = Flat()(*arguments)
        program = torch.export.export(Flat(), (x(), torch.tensor([4, 2, 0])), dynamic_shapes=shapes)
        assert all(map(torch.equal, program.module()(*arguments), want))
    assert [head["engine"] for head in keys_of(program.graph_module)] == ["triton", "triton"]
    torch.save((arguments, want), tmp_path / "numbers.pt")
    torch.export.save(program, tmp_path / "program.pt2")
    command = [sys.executable, "-c", RUN, str(tmp_path / "numbers.pt"), str(tmp_path / "program.pt2")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=subprocess_environment())
    assert finished.stdout.split() == ["True"], finished.stderr


def test_a_program_that_cannot_run_here_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    program = torch.export.export(layer(), (x(),)).module()
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(OptionError) as raised:
        program(x())
    assert str(raised.value) == (
        "a graph holds kernels for 'gru' that cannot run here\n"
        "  expected: a GPU, with triton installed\n"
        "  got: Triton's kernels run on a GPU; on a CPU only in Triton's interpreter, with TRITON_INTERPRET=1\n"
        "  do: compile or export the model where it is to run"
    )
    with pytest.raises(OptionError) as raised:
        custom_ops.check_device(spec_of("gru", engine="llvm"), torch.device("cuda"))
    assert str(raised.value).partition("\n")[2] == (
        "  expected: tensors on the CPU\n"
        "  got: the tensors are on cuda\n"
        "  do: compile or export the model where it is to run"
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torch_jit_trace_holds_the_kernels_too() -> None:
    module = layer()
    traced = torch.jit.trace(module, x())
    values = x(7, 2)
    assert_parity(traced(values)[0], module(values)[0], dtype="float64", steps=7)
    assert str(traced.inlined_graph).count("gatewright::run") == 1


# Modes


def test_aot_autograd_by_itself() -> None:
    module, values = layer(), x().requires_grad_()
    names, tensors = zip(*module.named_parameters(), strict=True)
    recorder = GraphRecorder()

    def call(values: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(module, dict(zip(names, parameters, strict=True)), (values,))[0]

    compiled = aot_function(call, fw_compiler=recorder.keep, bw_compiler=recorder.keep)
    got, want = (with_gradients(one(values, *tensors), module) for one in (compiled, call))
    assert_same(got, want)
    assert [len(keys_of(graph)) for graph in recorder.graphs] == [1, 1]


@pytest.mark.parametrize("backend", ["triton", "llvm", "auto"])
def test_fake_tensors_have_the_shapes_and_dtypes_of_the_results(backend: str) -> None:
    options = {"lengths": torch.tensor([4, 2, 0]), "return_gates": True}
    real = layer(bidirectional=True, backend=backend)(x(), **options)
    with FakeTensorMode() as mode:
        module = layer(bidirectional=True, backend=backend)
        fake = module(x(), **{**options, "lengths": mode.from_tensor(options["lengths"])})
        (fake[0].sum() + fake[1].sum()).backward()
        assert [parameter.grad.shape for parameter in module.parameters()] == [p.shape for p in module.parameters()]
    for mine, other in zip((*fake[:2], *fake[2].values()), (*real[:2], *real[2].values()), strict=True):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)


# The operator


def spec_of(cell: Any, engine: Any = "triton", products: Any = None) -> Differentiable:
    module = layer(cell)
    return differentiable(module.trace, module.sizes(), torch.float64, engine=engine, products=products)


@pytest.mark.parametrize("saves", [False, True])
@pytest.mark.parametrize("cell", ["gru", "sru"])
def test_the_operation_holds_to_the_rules_of_operations(cell: str, saves: bool) -> None:
    spec = spec_of(cell)
    shapes = {state.name: (BATCH, HIDDEN) for state in spec.trace.states} | {"x": (STEPS, BATCH, INPUT)}
    shapes |= {param.name: tuple(spec.sizes[axis] for axis in param.shape) for param in spec.trace.params}
    values = [torch.randn(shapes[name], dtype=torch.float64).requires_grad_() for name in spec.operands]
    key = custom_ops.key_of(spec, saves)
    done = torch.library.opcheck(torch.ops.gatewright.run.default, (key, values))
    assert set(done.values()) == {"SUCCESS"}
    for result in custom_ops.run_op(key, values):  # none keeps more memory than its own
        assert result.untyped_storage().nbytes() == result.nbytes


@pytest.mark.parametrize("products", [None, "bfloat16", "float16", "tf32", "tf32x3"])
def test_a_key_is_read_as_it_was_written(products: str | None) -> None:
    key = custom_ops.key_of(spec_of("gru", products=products), saves=True)
    read = custom_ops.operation(key)
    assert (read.spec.engine, read.spec.products) == (read.ran.engine, read.ran.products) == ("triton", products)
    assert custom_ops.key_of(read.spec, read.saves) == key
