"""What the page says around its tables."""

HEAD = """
# Benchmarks

How long Gatewright takes on a processor, beside other software that runs recurrent networks there: on {threads}, in
float32, measured on {date}. The page is made from one measurement, [benchmarks.json](benchmarks.json). Do not change
it by hand. On a machine that does nothing else, these commands measure again and write the page:

```sh
pip install -c constraints.txt -e '.[bench]'
{command}
python -m benchmarks.report runs/benchmarks/benchmarks.json
```

## How to read the tables

T is the number of steps, B of rows in the batch, I of inputs, H of hidden units. Times are in the unit of the title.

| column | meaning |
| --- | --- |
| x best | the time of the fastest other software, divided by Gatewright's: above 1, Gatewright is faster |
| x torch | the same for `torch.nn` alone |
| peak | Gatewright's share of the arithmetic that the processor can do at most |
| differs, fails, absent | software that gives other results, raises an error, or is not installed; it is not timed |

## How it is measured

- **Peers** are the other software: `torch.nn`'s layers; ONNX Runtime (by `session.run`) and OpenVINO, both with one
  ONNX operator, which have the GRU, the LSTM and the simple network, and do not train; and JAX, with the products of
  all inputs, then `lax.scan`, all in one `jit`. JAX, and a loop over torch's operations, run every cell, as written
  in `benchmarks/cells.py`.
- **Gatewright** is called as its users call it: `gw.nn.GRU`, or `gw.nn.Recurrent` with a cell.
- **Equal results first.** All get the same weights, input and gradient of the output. Results and gradients are
  compared with a loop in float64 that was written by hand. They must agree to 2e-5 of their largest number.
- **Forward** is a call without gradients. **A training step** is a forward and a backward run, with the gradients of
  the input, all weights and all biases.
- **In turn.** In every round each software is timed once, and the order rotates. A sample is a millisecond of calls,
  or one call if it lasts longer, after calls that are not counted. The tables show the medians of the rounds. The
  quartiles are in the JSON file.
- **The same threads for all.** The process may use as many processors as it has threads; this also limits JAX. torch,
  ONNX Runtime, OpenVINO and Gatewright are also told the number. OpenVINO is set to float32 and low latency. ONNX
  Runtime's threads rest between runs, so that they take no time from what is timed next.
- **Weights.** torch.nn, JAX and Gatewright must expect that weights changed since the last call; their times include
  the work for that. In ONNX Runtime and OpenVINO weights are constants, prepared when the model is loaded.
- **Operations** are those of the matrix products: 2 G H (I + H) a step and row for a cell with G gates, and three
  times as many in training. The functions of the gates are not counted.
- **The peak** is the rate of fused multiplications and additions in registers, by code that does nothing else. It is
  measured in the same rounds as everything else. The peak of several threads is that of one thread, times the ratio
  of both when they are measured alone.

## The machine
"""

GOALS = """
What Gatewright is built to reach, and whether it did in this run. "bound" is an upper limit for this processor, from
rates that were measured in the same run: matrix products at the peak, or, for a batch of one row, reading the recurrent
matrix once a step at the speed of a plain loop, whichever takes longer. The functions of the gates, the softmax and
Adam are not counted, so the bound itself cannot be reached. A goal above its bound is out of reach on this machine.
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
products at the peak, whichever is longer. Each timed call follows one of the same length that is not counted: a virtual
machine passes memory that is free for some seconds on to its host, and the next long call would wait to get it back.
""",
    ),
    "recurrent_part": (
        "The loop of cells parallel in time",
        """
The same cells: what the layer takes a step, and how fast its loop over time moves the bytes that it reads and writes,
each value once. The loop is timed among the other passes of a call, with what they have left in the caches. "of a copy"
is the share of the speed of a copy from memory to memory on as many threads, measured just before. "of the bound"
compares a layer with its products at the peak and then its loops at that speed.
""",
    ),
    "serial": (
        "Long sequences",
        """
The same for cells with a matrix product in the loop: a step is not to take longer, however many there are.
""",
    ),
}
