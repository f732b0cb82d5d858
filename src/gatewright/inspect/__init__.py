"""See inside: are the derivatives right, what does each weight do, what do gates and states do while a network reads.

What needs torch is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from gatewright.inspect.gradcheck import ComparedDerivative, GradcheckError, GradcheckReport, gradcheck

if TYPE_CHECKING:
    from gatewright.inspect.activity.activations import Activations, LayerActivations
    from gatewright.inspect.activity.observe import observations, observe
    from gatewright.inspect.activity.record import record
    from gatewright.inspect.gradients.memory import EffectiveMemory, compare_memory, effective_memory
    from gatewright.inspect.gradients.saliency import (
        Attribution,
        LaggedSaliency,
        Saliency,
        integrated_gradients,
        saliency,
        saliency_by_lag,
    )
    from gatewright.inspect.measures.half_life import HalfLife, half_life
    from gatewright.inspect.measures.saturation import GateSaturation, saturation

Row = ComparedDerivative  # its name in earlier versions
_LAZY = {
    "Activations": "gatewright.inspect.activity.activations",
    "Attribution": "gatewright.inspect.gradients.saliency",
    "EffectiveMemory": "gatewright.inspect.gradients.memory",
    "GateSaturation": "gatewright.inspect.measures.saturation",
    "HalfLife": "gatewright.inspect.measures.half_life",
    "LaggedSaliency": "gatewright.inspect.gradients.saliency",
    "LayerActivations": "gatewright.inspect.activity.activations",
    "Saliency": "gatewright.inspect.gradients.saliency",
    "compare_memory": "gatewright.inspect.gradients.memory",
    "effective_memory": "gatewright.inspect.gradients.memory",
    "half_life": "gatewright.inspect.measures.half_life",
    "integrated_gradients": "gatewright.inspect.gradients.saliency",
    "observations": "gatewright.inspect.activity.observe",
    "observe": "gatewright.inspect.activity.observe",
    "record": "gatewright.inspect.activity.record",
    "saliency": "gatewright.inspect.gradients.saliency",
    "saliency_by_lag": "gatewright.inspect.gradients.saliency",
    "saturation": "gatewright.inspect.measures.saturation",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'gatewright.inspect' has no attribute {name!r}")


__all__ = [
    "Activations",
    "Attribution",
    "ComparedDerivative",
    "EffectiveMemory",
    "GateSaturation",
    "GradcheckError",
    "GradcheckReport",
    "HalfLife",
    "LaggedSaliency",
    "LayerActivations",
    "Row",
    "Saliency",
    "compare_memory",
    "effective_memory",
    "gradcheck",
    "half_life",
    "integrated_gradients",
    "observations",
    "observe",
    "record",
    "saliency",
    "saliency_by_lag",
    "saturation",
]
