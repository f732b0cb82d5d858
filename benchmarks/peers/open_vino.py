"""OpenVINO, from the same ONNX model."""

import openvino
from openvino import properties
from openvino.properties import hint

from benchmarks.peers.onnx_model import model
from benchmarks.problem import Job, Problem


def forward(problem: Problem, threads: int) -> Job:
    """The output and the final state, both left in OpenVINO's own memory."""
    core = openvino.Core()
    settings = {
        properties.inference_num_threads: threads,
        properties.num_streams: 1,
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.inference_precision: openvino.Type.f32,
        hint.enable_cpu_pinning: False,  # which processors there are is settled for the whole process
    }
    request = core.compile_model(core.read_model(model(problem)), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(problem.x, shared_memory=True))
    return Job(
        lambda: request.infer(share_outputs=True),
        lambda _: {"output": request.get_output_tensor(0).data[:, 0].copy()},
    )
