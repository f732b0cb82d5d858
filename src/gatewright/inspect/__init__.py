"""See inside: are the derivatives right, what does each weight do, what do gates and states do while a network reads.

What needs torch is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from gatewright.inspect.gradcheck import ComparedDerivative, GradcheckError, GradcheckReport, gradcheck

if TYPE_CHECKING:
    from gatewright.inspect.activity.activations import Activations, LayerActivations
    from gatewright.inspect.activity.clamped import Clamp, clamped
    from gatewright.inspect.activity.observe import observations, observe
    from gatewright.inspect.activity.record import record
    from gatewright.inspect.dynamics.copied_input import CopiedInput, copied_input
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
    from gatewright.inspect.dynamics.variables import HeldVariable, find_variable
    from gatewright.inspect.dynamics.watched import (
        GradientTrouble,
        WatchedGradients,
        gradient_troubles,
        watched_gradients,
    )
    from gatewright.inspect.figures.activity import course_figure, gates_figure, half_life_figure, saturation_figure
    from gatewright.inspect.figures.dynamics import (
        copied_input_figure,
        drift_figure,
        eigenvalue_figure,
        lyapunov_figure,
        trajectory_figure,
    )
    from gatewright.inspect.figures.gradients import gradient_figure
    from gatewright.inspect.figures.inputs import memory_figure, saliency_figure
    from gatewright.inspect.figures.pattern import pattern_figure
    from gatewright.inspect.figures.text import text_figure
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
    from gatewright.inspect.measures.mean_and_spread import MeanCourse, mean_and_spread
    from gatewright.inspect.measures.pattern import PatternMatch, UnitPattern, find_pattern
    from gatewright.inspect.measures.saturation import GateSaturation, saturation
    from gatewright.inspect.measures.unit_order import UnitOrder, unit_order

Row = ComparedDerivative  # its name in earlier versions
_LAZY = {
    "Activations": "gatewright.inspect.activity.activations",
    "Attribution": "gatewright.inspect.gradients.saliency",
    "Clamp": "gatewright.inspect.activity.clamped",
    "CopiedInput": "gatewright.inspect.dynamics.copied_input",
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
    "MeanCourse": "gatewright.inspect.measures.mean_and_spread",
    "PatternMatch": "gatewright.inspect.measures.pattern",
    "Saliency": "gatewright.inspect.gradients.saliency",
    "StatePlane": "gatewright.inspect.dynamics.state_space",
    "StateRank": "gatewright.inspect.dynamics.state_space",
    "UnitOrder": "gatewright.inspect.measures.unit_order",
    "UnitPattern": "gatewright.inspect.measures.pattern",
    "WatchedGradients": "gatewright.inspect.dynamics.watched",
    "clamped": "gatewright.inspect.activity.clamped",
    "compare_memory": "gatewright.inspect.gradients.memory",
    "copied_input": "gatewright.inspect.dynamics.copied_input",
    "copied_input_figure": "gatewright.inspect.figures.dynamics",
    "course_figure": "gatewright.inspect.figures.activity",
    "dead_units": "gatewright.inspect.dynamics.state_space",
    "drift": "gatewright.inspect.dynamics.drift",
    "drift_figure": "gatewright.inspect.figures.dynamics",
    "effective_memory": "gatewright.inspect.gradients.memory",
    "eigenvalue_figure": "gatewright.inspect.figures.dynamics",
    "eigenvalues": "gatewright.inspect.dynamics.fixed_points",
    "find_pattern": "gatewright.inspect.measures.pattern",
    "find_variable": "gatewright.inspect.dynamics.variables",
    "fixed_points": "gatewright.inspect.dynamics.fixed_points",
    "gates_figure": "gatewright.inspect.figures.activity",
    "gradient_figure": "gatewright.inspect.figures.gradients",
    "gradient_troubles": "gatewright.inspect.dynamics.watched",
    "half_life": "gatewright.inspect.measures.half_life",
    "half_life_figure": "gatewright.inspect.figures.activity",
    "integrated_gradients": "gatewright.inspect.gradients.saliency",
    "lyapunov_figure": "gatewright.inspect.figures.dynamics",
    "lyapunov_spectrum": "gatewright.inspect.dynamics.lyapunov",
    "mean_and_spread": "gatewright.inspect.measures.mean_and_spread",
    "memory_figure": "gatewright.inspect.figures.inputs",
    "observations": "gatewright.inspect.activity.observe",
    "observe": "gatewright.inspect.activity.observe",
    "pattern_figure": "gatewright.inspect.figures.pattern",
    "record": "gatewright.inspect.activity.record",
    "saliency": "gatewright.inspect.gradients.saliency",
    "saliency_by_lag": "gatewright.inspect.gradients.saliency",
    "saliency_figure": "gatewright.inspect.figures.inputs",
    "saturation": "gatewright.inspect.measures.saturation",
    "saturation_figure": "gatewright.inspect.figures.activity",
    "state_plane": "gatewright.inspect.dynamics.state_space",
    "state_rank": "gatewright.inspect.dynamics.state_space",
    "text_figure": "gatewright.inspect.figures.text",
    "trajectory_figure": "gatewright.inspect.figures.dynamics",
    "unit_order": "gatewright.inspect.measures.unit_order",
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
    "Clamp",
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
    "MeanCourse",
    "PatternMatch",
    "Row",
    "Saliency",
    "StatePlane",
    "StateRank",
    "UnitOrder",
    "UnitPattern",
    "WatchedGradients",
    "clamped",
    "compare_memory",
    "copied_input",
    "copied_input_figure",
    "course_figure",
    "dead_units",
    "drift",
    "drift_figure",
    "effective_memory",
    "eigenvalue_figure",
    "eigenvalues",
    "find_pattern",
    "find_variable",
    "fixed_points",
    "gates_figure",
    "gradcheck",
    "gradient_figure",
    "gradient_troubles",
    "half_life",
    "half_life_figure",
    "integrated_gradients",
    "lyapunov_figure",
    "lyapunov_spectrum",
    "mean_and_spread",
    "memory_figure",
    "observations",
    "observe",
    "pattern_figure",
    "record",
    "saliency",
    "saliency_by_lag",
    "saliency_figure",
    "saturation",
    "saturation_figure",
    "state_plane",
    "state_rank",
    "text_figure",
    "trajectory_figure",
    "unit_order",
    "watched_gradients",
]
