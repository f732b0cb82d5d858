"""The dtypes in which the engine computes a call of a layer, and those of its results.

- float32 and float64 stay what they are. With the layer's option `products="bfloat16"` float32 products have bfloat16
  operands.
- Under torch.autocast products have operands of its dtype; the results have the dtypes that torch.nn's layers give.
  Products in int8 stay what they are.
- A layer and its input in bfloat16 or float16 are computed in float32. Results are rounded once.

Sums, gates and states are float32 in all of these. On a CPU there are no products in float16: those operands stay
float32. On a GPU float32 products are in tf32 where torch allows it for recurrent layers (`tf32_is_allowed`), or in
tf32x3 where the layer's `products` asks for it: three products of tf32 numbers, which give nearly float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewright.backends.llvm.emit.vector_type import Products
from gatewright.backends.triton.chips import OnChip
from gatewright.nn.engine.differentiable import DTYPES, OperandDtype
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.torch_fused import same_equations

NARROW = (torch.bfloat16, torch.float16)


class Precision(NamedTuple):
    """The dtypes of a call.

    - `dtype`: of the arrays that kernels read and write.
    - `products`: that operands of products are rounded to.
    - `results`: of each state, or of a matrix product. The output and the gates of a layer have that of the first.
    """

    dtype: torch.dtype
    products: OperandDtype
    results: tuple[torch.dtype, ...]

    def as_computed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors in the dtype of the kernels' arrays; autograd follows."""
        return [tensor.to(self.dtype) for tensor in tensors]

    @property
    def note(self) -> str:
        """What a plan says of it; empty where there is nothing to say."""
        products = f"products in {self.products or 'float32'}"
        if self.results and self.results[0] in NARROW:
            return f"{products}, results in {_name(self.results[0])}"
        return products if self.products else ""


def precision_of(
    layer: LayerInterface, like: Tensor | OnChip, states: Sequence[Tensor] = (), *, packed: bool = False
) -> Precision | str:
    """The dtypes of a call with such an input, perhaps `packed`, and such initial states; or why the engine has none
    for it.
    """
    dtype, results = like.dtype, (like.dtype,) * len(layer.state_shapes)
    on_gpu = runs_on_gpu(layer, like)
    if is_autocast(like.device):
        precision = _under_autocast(layer, like, states, packed=packed)
        if layer.products == "int8" and not isinstance(precision, str):
            return precision._replace(products="int8")
        return precision
    if dtype in NARROW:
        return Precision(torch.float32, _products_in(dtype, on_gpu=on_gpu), results)
    if dtype not in DTYPES:
        return f"the dtype is {_name(dtype)}"
    products = layer.products if dtype == torch.float32 else None
    if products is None and dtype == torch.float32 and like.device.type == "cuda" and tf32_is_allowed():
        products = "tf32"
    return Precision(dtype, products, results)


def products_beyond_torch(layer: LayerInterface, like: Tensor | OnChip) -> OperandDtype:
    """The dtype that the layer's option asks for on a GPU, and that torch's functions do not round operands to; None
    where they compute what was asked for."""
    if like.device.type != "cuda" or like.dtype != torch.float32 or is_autocast(like.device):
        return None
    return None if layer.products == "tf32" and tf32_is_allowed() else layer.products


def is_autocast(device: torch.device) -> bool:
    """Whether autocast is on for a device; never on one that knows none, such as meta."""
    return device.type in ("cpu", "cuda") and torch.is_autocast_enabled(device.type)


def runs_on_gpu(layer: LayerInterface, like: Tensor | OnChip) -> bool:
    """Whether kernels for a GPU would run a layer, there or in the interpreter."""
    return like.device.type == "cuda" or layer.backend == "triton"


@torch.compiler.assume_constant_result
def tf32_is_allowed() -> bool:
    """Whether torch's recurrent layers may multiply float32 numbers in tf32, as they may by default.

    torch.backends.cudnn.rnn.fp32_precision decides, and so does the older torch.backends.cudnn.allow_tf32.
    """
    of_layers = getattr(torch.backends.cudnn, "rnn", None)
    precision = getattr(of_layers, "fp32_precision", None)  # older versions of torch have the older switch alone
    return torch.backends.cudnn.allow_tf32 if precision is None else precision == "tf32"


def precision_of_product(operands: Sequence[Tensor]) -> Precision | None:
    """The dtypes in which the engine multiplies these operands; None where it has none for them, or torch refuses
    them."""
    dtypes = {operand.dtype for operand in operands}
    if torch.is_autocast_enabled("cpu"):
        narrow = torch.get_autocast_dtype("cpu")
        if narrow not in NARROW or not dtypes <= {torch.float32, *NARROW}:
            return None
        return Precision(torch.float32, products_in(narrow), (narrow,))
    dtype = operands[0].dtype
    if len(dtypes) > 1:
        return None
    if dtype in NARROW:
        return Precision(torch.float32, products_in(dtype), (dtype,))
    return Precision(dtype, None, (dtype,)) if dtype in DTYPES else None


def _under_autocast(
    layer: LayerInterface, like: Tensor | OnChip, states: Sequence[Tensor], *, packed: bool
) -> Precision | str:
    device = like.device.type
    narrow = torch.get_autocast_dtype(device)
    parameter = next(iter(layer.parameters()), like)
    if narrow not in NARROW:
        return f"autocast is on, to {_name(narrow)}"
    for dtype in (like.dtype, parameter.dtype):
        if dtype not in (torch.float32, *NARROW):
            return f"autocast is on, and the dtype is {_name(dtype)}"
    starts = states if len(states) == len(layer.state_shapes) else [like] * len(layer.state_shapes)
    # A step adds products in the narrow dtype to a state in its own.
    results = [torch.promote_types(narrow, state.dtype) for state in starts]
    fused = same_equations(layer)
    if fused and device == "cuda":  # cuDNN's function is called with everything converted
        results = [narrow] * len(results)
    elif fused and fused.name != "gru":
        ends_in_product = fused.name != "lstm" or fused.projection
        by_onednn = fused.name == "lstm" and narrow == torch.bfloat16 and not packed and not fused.projection
        if by_onednn:
            results = [narrow] * len(results)
        elif ends_in_product:
            results[0] = narrow
    return Precision(torch.float32, _products_in(narrow, on_gpu=runs_on_gpu(layer, like)), tuple(results))


def products_in(dtype: torch.dtype) -> Products:
    """What the CPU engine rounds operands of products to for a caller who asks for this narrow dtype."""
    return "bfloat16" if dtype == torch.bfloat16 else None


def _products_in(dtype: torch.dtype, *, on_gpu: bool) -> OperandDtype:
    return "float16" if on_gpu and dtype == torch.float16 else products_in(dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
