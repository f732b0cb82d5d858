"""ONNX Runtime, by the ordinary call of its sessions."""

import onnxruntime

from benchmarks.peers.onnx_model import model
from benchmarks.problem import Job, Problem


def forward(problem: Problem, threads: int) -> Job:
    """The output and the final state, as a layer of torch gives them."""
    session = session_of(model(problem), threads)
    feed = {"x": problem.x}
    return Job(lambda: session.run(None, feed), lambda results: {"output": results[0][:, 0]})


def session_of(serialized: bytes, threads: int) -> onnxruntime.InferenceSession:
    """A session on some threads, which rest as soon as a run has ended: the next to be timed needs their processors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
