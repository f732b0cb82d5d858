"""See inside: are the derivatives right, what does each weight do, what do gates and states do while a network reads.

What needs torch is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from gatewright.inspect.gradcheck import ComparedDerivative, GradcheckError, GradcheckReport, gradcheck

if TYPE_CHECKING:
    from gatewright.inspect.activity.activations import Activations, LayerActivations
    from gatewright.inspect.activity.observe import observations, observe
    from gatewright.inspect.activity.record import record
    from gatewright.inspect.dynamics.drift import Drift, drift
    from gatewright.inspect.dynamics.fixed_points import FixedPoints, JacobianEigenvalues, eigenvalues, fixed_points
    from gatewright.inspect.dynamics.lyapunov import LyapunovSpectrum, lyapunov_spectrum
    from gatewright.inspect.dynamics.state_space import (
        DeadUnits,
        StatePlane,
        StateRank,
        dead_units,
        state_plane,
        state_rank,
    )
    from gatewright.inspect.dynamics.variables import CopiedInput, HeldVariable, copied_input, find_variable
    from gatewright.inspect.dynamics.watched import (
        GradientTrouble,
        WatchedGradients,
        gradient_troubles,
        watched_gradients,
    )
    from gatewright.inspect.figures.dynamics import (
        copied_input_figure,
        drift_figure,
        eigenvalue_figure,
        lyapunov_figure,
        trajectory_figure,
    )
    from gatewright.inspect.figures.gradients import gradient_figure
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
    "CopiedInput": "gatewright.inspect.dynamics.variables",
    "DeadUnits": "gatewright.inspect.dynamics.state_space",
    "Drift": "gatewright.inspect.dynamics.drift",
    "EffectiveMemory": "gatewright.inspect.gradients.memory",
    "FixedPoints": "gatewright.inspect.dynamics.fixed_points",
    "GateSaturation": "gatewright.inspect.measures.saturation",
    "GradientTrouble": "gatewright.inspect.dynamics.watched",
    "HalfLife": "gatewright.inspect.measures.half_life",
    "HeldVariable": "gatewright.inspect.dynamics.variables",
    "JacobianEigenvalues": "gatewright.inspect.dynamics.fixed_points",
    "LaggedSaliency": "gatewright.inspect.gradients.saliency",
    "LayerActivations": "gatewright.inspect.activity.activations",
    "LyapunovSpectrum": "gatewright.inspect.dynamics.lyapunov",
    "Saliency": "gatewright.inspect.gradients.saliency",
    "StatePlane": "gatewright.inspect.dynamics.state_space",
    "StateRank": "gatewright.inspect.dynamics.state_space",
    "WatchedGradients": "gatewright.inspect.dynamics.watched",
    "compare_memory": "gatewright.inspect.gradients.memory",
    "copied_input": "gatewright.inspect.dynamics.variables",
    "copied_input_figure": "gatewright.inspect.figures.dynamics",
    "dead_units": "gatewright.inspect.dynamics.state_space",
    "drift": "gatewright.inspect.dynamics.drift",
    "drift_figure": "gatewright.inspect.figures.dynamics",
    "effective_memory": "gatewright.inspect.gradients.memory",
    "eigenvalue_figure": "gatewright.inspect.figures.dynamics",
    "eigenvalues": "gatewright.inspect.dynamics.fixed_points",
    "find_variable": "gatewright.inspect.dynamics.variables",
    "fixed_points": "gatewright.inspect.dynamics.fixed_points",
    "gradient_figure": "gatewright.inspect.figures.gradients",
    "gradient_troubles": "gatewright.inspect.dynamics.watched",
    "half_life": "gatewright.inspect.measures.half_life",
    "integrated_gradients": "gatewright.inspect.gradients.saliency",
    "lyapunov_figure": "gatewright.inspect.figures.dynamics",
    "lyapunov_spectrum": "gatewright.inspect.dynamics.lyapunov",
    "observations": "gatewright.inspect.activity.observe",
    "observe": "gatewright.inspect.activity.observe",
    "record": "gatewright.inspect.activity.record",
    "saliency": "gatewright.inspect.gradients.saliency",
    "saliency_by_lag": "gatewright.inspect.gradients.saliency",
    "saturation": "gatewright.inspect.measures.saturation",
    "state_plane": "gatewright.inspect.dynamics.state_space",
    "state_rank": "gatewright.inspect.dynamics.state_space",
    "trajectory_figure": "gatewright.inspect.figures.dynamics",
    "watched_gradients": "gatewright.inspect.dynamics.watched",
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
    "CopiedInput",
    "DeadUnits",
    "Drift",
    "EffectiveMemory",
    "FixedPoints",
    "GateSaturation",
    "GradcheckError",
    "GradcheckReport",
    "GradientTrouble",
    "HalfLife",
    "HeldVariable",
    "JacobianEigenvalues",
    "LaggedSaliency",
    "LayerActivations",
    "LyapunovSpectrum",
    "Row",
    "Saliency",
    "StatePlane",
    "StateRank",
    "WatchedGradients",
    "compare_memory",
    "copied_input",
    "copied_input_figure",
    "dead_units",
    "drift",
    "drift_figure",
    "effective_memory",
    "eigenvalue_figure",
    "eigenvalues",
    "find_variable",
    "fixed_points",
    "gradcheck",
    "gradient_figure",
    "gradient_troubles",
    "half_life",
    "integrated_gradients",
    "lyapunov_figure",
    "lyapunov_spectrum",
    "observations",
    "observe",
    "record",
    "saliency",
    "saliency_by_lag",
    "saturation",
    "state_plane",
    "state_rank",
    "trajectory_figure",
    "watched_gradients",
]
