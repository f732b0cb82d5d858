"""The stepped loop on a GPU, with and without graphs: `python -m tests.backends.triton.graphs_on_gpu`.

Every way of launching the same kernels gives the same bits.
"""

from functools import partial

import torch
from torch import Tensor

from gatewright import cells
from gatewright.axes import bind
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.persistent_kernel import PersistentLoop
from gatewright.backends.triton.step_graphs import StepGraphCache
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.schedule.plan import plan
from gatewright.trace import simplify, trace_cell
from tests.backends.triton.checks import Checks

DEVICE = torch.device("cuda")
HIDDEN, BATCH = 300, 20
H = Argument(ArgumentKind.STATE, "h")
PROGRAM = plan(simplify(trace_cell(cells.gru)))
SIZES = {"input": HIDDEN, "hidden": HIDDEN}
PRECISION = KernelPrecision()
Arrays = dict[Argument, Tensor | None]


def arrays_for(loop: SteppedLoop | PersistentLoop, steps: int, seed: int) -> Arrays:
    """Random numbers for everything that a loop reads, and memory for what it writes."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    arrays: Arrays = {}
    for argument in loop.arguments:
        if argument.kind is ArgumentKind.LENGTHS:
            arrays[argument] = None
            continue
        shape = bind(PROGRAM.shapes[argument.name], SIZES)
        leading = {
            ArgumentKind.SEQUENCE: (steps, BATCH), ArgumentKind.STATE: (steps + 1, BATCH), ArgumentKind.START: (BATCH,),
        }.get(argument.kind, ())  # fmt: skip
        numbers = torch.randn(*leading, *shape, generator=generator, device=DEVICE)
        arrays[argument] = numbers / HIDDEN**0.5 if argument.kind is ArgumentKind.SHARED else numbers
    return arrays


def states(loop: SteppedLoop | PersistentLoop, arrays: Arrays, steps: int) -> Tensor:
    """The states after every step."""
    result = arrays[H]
    assert result is not None
    loop.run(arrays, steps, BATCH)
    return result.clone()


def assert_same(got: Tensor, want: Tensor, what: str) -> None:
    """Bit for bit."""
    assert torch.equal(got, want), f"{what}: differs by {(got - want).abs().max().item():.3g}"


def plain(seed: int, steps: int) -> Tensor:
    """The states by a loop whose first run is launched kernel by kernel."""
    loop = SteppedLoop(PROGRAM, SIZES, PRECISION)
    return states(loop, arrays_for(loop, steps, seed), steps)


def check_graphs(loop: SteppedLoop) -> None:
    """Runs of several lengths, whose steps are recorded in the second."""
    for number, (seed, steps) in enumerate([(0, 75), (1, 75), (2, 75), (3, 9), (0, 130)]):
        assert_same(states(loop, arrays_for(loop, steps, seed), steps), plain(seed, steps), f"run {number}")


def check_another_stream(loop: SteppedLoop) -> None:
    """Two runs on a stream of the caller's."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for seed in (4, 5):
            got = states(loop, arrays_for(loop, 20, seed), 20)
            stream.synchronize()
            assert_same(got, plain(seed, 20), "another stream")


def check_two_streams_at_once(loop: SteppedLoop) -> None:
    """Runs that no stream waits for: each stream has a table of addresses and graphs of its own."""
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    for number in range(3):  # the first is launched kernel by kernel, the second is recorded
        results: list[Tensor] = []
        for seed, stream in enumerate(streams, start=10):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                results.append(states(loop, arrays_for(loop, 75, seed), 75))
        torch.cuda.synchronize()
        for seed, got in enumerate(results, start=10):
            assert_same(got, plain(seed, 75), f"two streams at once, run {number}")


def check_a_graph_of_the_caller(loop: SteppedLoop) -> None:
    """The loop becomes part of it."""
    arrays = arrays_for(loop, 20, 6)
    states(loop, arrays, 20)  # compiles the kernels
    result = arrays[H]
    assert result is not None
    want = plain(6, 20)
    result.zero_()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loop.run(arrays, 20, BATCH)
    graph.replay()
    torch.cuda.synchronize()
    assert_same(result, want, "a graph of the caller's")


def check_persistent() -> None:
    """One launch whose programs wait for each other."""
    loop = PersistentLoop(PROGRAM, SIZES, PRECISION)
    difference = (states(loop, arrays_for(loop, 75, 0), 75) - plain(0, 75)).abs().max().item()
    assert difference < 1e-4, f"the persistent form differs by {difference:.3g}"


def main() -> None:
    """Run all checks; the one that might wait for ever is the last."""
    loop, checks = SteppedLoop(PROGRAM, SIZES, PRECISION, graphs=StepGraphCache()), Checks()
    checks.run("graphs of steps", partial(check_graphs, loop))
    checks.run("another stream", partial(check_another_stream, loop))
    checks.run("two streams at once", partial(check_two_streams_at_once, loop))
    checks.run("a graph of the caller's", partial(check_a_graph_of_the_caller, loop))
    checks.run("the persistent form", check_persistent)
    checks.end("the stepped and the persistent loop, in every way of launching them")


if __name__ == "__main__":
    main()
