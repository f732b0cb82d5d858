"""What things are called in a result."""

from typing import Any

Record = dict[str, Any]
"""One measurement as a result keeps it."""

FORWARD, TRAINING, GRADIENT = "forward", "training", "gradient"

OURS = "Gatewright"
TORCH, ONNX_RUNTIME, OPENVINO, JAX = "torch.nn", "ONNX Runtime", "OpenVINO", "JAX"
LIBRARIES = (TORCH, ONNX_RUNTIME, OPENVINO, JAX)
TORCH_COMPILE = "torch.compile"
LOOP, EAGER = "torch loop", "torch eager"
OUR_GRU = "Gatewright GRU"

STEP, KERNEL = "Gatewright step", "Gatewright kernel"
RUN, BOUND, TORCH_CELL = "ONNX Runtime run", "ONNX Runtime bound", "torch.nn.GRUCell"

FLOAT32, BFLOAT16, INT8, TORCH_INT8 = "float32", "bfloat16", "int8", "torch.ao int8"

LAYER, MACHINE, PLAIN = "layer", "FMA", "plain loop"
