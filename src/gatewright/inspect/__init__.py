"""See inside: are the derivatives right, what does each weight do, what do gates and states do while a network reads.

`record` needs torch; it is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from gatewright.inspect.gradcheck import ComparedDerivative, GradcheckError, GradcheckReport, gradcheck

if TYPE_CHECKING:
    from gatewright.inspect.activity.activations import Activations, LayerActivations
    from gatewright.inspect.activity.observe import observations, observe
    from gatewright.inspect.activity.record import record
    from gatewright.inspect.measures.half_life import HalfLife, half_life
    from gatewright.inspect.measures.saturation import GateSaturation, saturation

Row = ComparedDerivative  # its name in earlier versions
_LAZY = {
    "Activations": "gatewright.inspect.activity.activations",
    "GateSaturation": "gatewright.inspect.measures.saturation",
    "HalfLife": "gatewright.inspect.measures.half_life",
    "LayerActivations": "gatewright.inspect.activity.activations",
    "half_life": "gatewright.inspect.measures.half_life",
    "observations": "gatewright.inspect.activity.observe",
    "observe": "gatewright.inspect.activity.observe",
    "record": "gatewright.inspect.activity.record",
    "saturation": "gatewright.inspect.measures.saturation",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'gatewright.inspect' has no attribute {name!r}")


__all__ = [
    "Activations",
    "ComparedDerivative",
    "GateSaturation",
    "GradcheckError",
    "GradcheckReport",
    "HalfLife",
    "LayerActivations",
    "Row",
    "gradcheck",
    "half_life",
    "observations",
    "observe",
    "record",
    "saturation",
]
