"""See inside: are the derivatives right, what does each weight do, what do gates and states do while a network reads.

`record` needs torch; it is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from gatewright.inspect.gradcheck import ComparedDerivative, GradcheckError, GradcheckReport, gradcheck

if TYPE_CHECKING:
    from gatewright.inspect.activity.activations import Activations, LayerActivations
    from gatewright.inspect.activity.observe import observations, observe
    from gatewright.inspect.activity.record import record

Row = ComparedDerivative  # its name in earlier versions
_LAZY = {
    "Activations": "gatewright.inspect.activity.activations",
    "LayerActivations": "gatewright.inspect.activity.activations",
    "observations": "gatewright.inspect.activity.observe",
    "observe": "gatewright.inspect.activity.observe",
    "record": "gatewright.inspect.activity.record",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'gatewright.inspect' has no attribute {name!r}")


__all__ = [
    "Activations",
    "ComparedDerivative",
    "GradcheckError",
    "GradcheckReport",
    "LayerActivations",
    "Row",
    "gradcheck",
    "observations",
    "observe",
    "record",
]
