"""What the page says around its tables."""

HEAD = """
# Benchmarks

How long Gatewright takes on a processor, beside other software that runs recurrent nets there: on {threads}, in
float32, measured on {date}. This page is made of one result, [benchmarks.json](benchmarks.json), and is not to be
changed by hand. On a machine that does nothing else, these commands measure again and make the page anew:

```sh
pip install -c constraints.txt -e '.[bench]'
{command}
python -m benchmarks.report runs/benchmarks/benchmarks.json
```

## How it is measured

- **Peers.** `torch.nn`'s layers. ONNX Runtime, by `session.run`, and OpenVINO, both from one ONNX model with one
  operator; they know the GRU, the LSTM and the simple network, and do not train. JAX, with the input's products
  before `lax.scan` and all of it in one `jit`; it runs any cell, as somebody has written it, here in
  `benchmarks/cells.py`. So does a loop over the steps in torch.
- **Gatewright** is called as its users call it: `gw.nn.GRU`, or `gw.nn.Recurrent` with a cell.
- **Equal results first.** All get the same weights, the same input and the same gradient by the output. What they
  give, in training with all gradients, is held to a loop written by hand that runs in float64: each result has to
  agree to 2e-5 of its largest number. A peer that differs is not timed, and its column says "differs"; one that
  raises an error "fails", one that is not installed is "absent".
- **Forward** is a call without gradients. **A training step** is a forward and a backward run, with the gradients
  by the input, all weights and all biases.
- **In turn.** Each peer is timed once in every round, and who begins a round goes last in the next. A sample is a
  millisecond of calls, or one call that lasts longer; other calls, which are not counted, go before it. The tables
  show the medians of the rounds; the quartiles are in the result.
- **The same threads for all.** The process may run on as many processors as it has threads, which binds XLA as
  well. torch, ONNX Runtime, OpenVINO and Gatewright are told the number besides. OpenVINO is set to float32 and to
  a short latency. ONNX Runtime's threads are told to rest between runs, so that they take no time from the next
  peer.
- **Weights** may have changed since the last call for torch.nn, JAX and Gatewright, whose calls include whatever
  they do to lay them out, or to see that they are the same. In ONNX Runtime and OpenVINO they are constants, laid
  out when the model was loaded.
- **Operations** are those of the matrix products: 2 G H (I + H) a step and row for a cell with G gates, and three
  times as many in training. The functions of the gates are not counted.
- **The peak** is that of fused multiplications and additions in registers, by code that does nothing else. It is
  measured in the same rounds as the peers: a share of it holds for the speed that the processor had then. That of
  several threads is as many times that of one as when it was measured alone.

T are steps, B rows, I inputs, H hidden units. "x best" is the time of the fastest peer as a multiple of
Gatewright's, "x torch" that of `torch.nn`: above 1, Gatewright is faster. "peak" is Gatewright's share of the peak.

## The machine
"""

GOALS = """
What Gatewright is built to reach, and whether it did in this run. "bound" is the most that the processor allows by
rates measured in the same run: products at the peak, and for one row the recurrent matrix read in every step as fast
as a plain loop reads it; a matrix in fewer bits is so many times smaller. The functions of the gates, the softmax and
Adam are not in it, so that it cannot be reached whole. A goal above its bound is out of reach on this machine.
"""

SECTIONS = {
    "forward": ("GRU, forward", 'The GRU of PyTorch, `gw.cells.gru(reset="after")`, which all peers have.'),
    "training": ("GRU, training step", "The same layer with its gradients, beside those peers that train."),
    "cells": (
        "Other cells",
        """
The LSTM and the simple network of `torch.nn`, an LSTM with peepholes, a GRU with layer norm, and a cell of one's
own that no library has: `swing` in `benchmarks/cells.py`, five lines written for this page. The loop in torch is
the faster one of that written by hand and `backend="torch"`.
""",
    ),
    "step": (
        "One step of a stream",
        """
`stream.step(x)` of `gw.stream`, called from Python, beside ONNX Runtime's `session.run` with the state handed in
and back ("ORT run"), its `run_with_iobinding`, for which all memory is bound beforehand ("ORT bound"), and
`torch.nn.GRUCell`. "kernel" is a step without Python: 1000 steps in one compiled call, `stream.run`, over 1000; it
includes the copies of a step's input and output. "run / step" is the time of ONNX Runtime's `run` as a multiple of
the step's.
""",
    ),
    "single_row": (
        "One row",
        """
A step of one row reads its recurrent matrix and does little else. The table has the rate at which a GRU reads it,
beside a plain loop of products that only streams a matrix of the same size. "forward" and "backward" are shares of
that loop's rate; the gradient is that by the input alone, which reads one matrix a step as well. A call of 100 steps is
taken from one of 500, which leaves the loop.
""",
    ),
    "narrow_weights": (
        "Matrices in fewer bits",
        """
`stream.run` of a GRU of one row with `weights="float32"`, `"bfloat16"` and `"int8"`, and torch.ao's dynamic
quantisation of `torch.nn.GRU`, which has one scale for a whole matrix. "off" is the largest difference to float64
within 100 steps, as a share of the largest output. ONNX Runtime has no GRU in int8.
""",
    ),
    "single_cells": (
        "One call of a cell",
        """
`gw.nn.RNNCell`, `GRUCell` and `LSTMCell` by the compiled engine beside torch.nn's, with as many inputs as units: one
step of some rows at a call, as in reinforcement learning.
""",
    ),
    "threads": (
        "Threads",
        """
The same layer on one thread and on several, in turn. "the machine" is what the code for the peak gains in the same
rounds: less than the number of threads where processors share what they compute with, or where others use them.
""",
    ),
    "two_threads": (
        "GRU on two threads",
        "The tables of the GRU once more, with two threads for everybody, measured by a process of its own.",
    ),
    "compile": (
        "Compiling and importing",
        """
Each number comes from processes of its own: what the first forward and backward run of a layer takes longer than a
later one, with an empty cache ("compiled") and with the code that another process left there ("from disk").
Tracing, deriving, scheduling, LLVM and loading are all in it. T,B,I,H = 35,32,256,256.
""",
    ),
    "linear": (
        "Parallel in time",
        """
Cells without a matrix product in the loop. "x shortest" is the time a step takes as a multiple of that at the
fewest steps: it stays at 1 where the whole time grows linearly with T. "GB/s" counts the bytes that must move in
any case: forward the input is read and the output written; backward the input, the output and its gradient are read
and the gradient by the input is written. "of a copy" is the share of the speed of a copy from memory to memory. "of
the bound" compares the time with the least that the machine needs: for these bytes at that speed, or for the matrix
products at the peak, whichever is longer.
""",
    ),
    "serial": (
        "Long sequences",
        """
The same for cells with a matrix product in the loop: a step is not to take longer, however many there are.
""",
    ),
}
