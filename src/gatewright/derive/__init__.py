"""Derivatives of Traces, as Traces: reverse mode (`vjp`) and forward mode (`jvp`)."""

from gatewright.derive.jvp import jvp
from gatewright.derive.names import adjoint, seed, tangent
from gatewright.derive.vjp import vjp

__all__ = ["adjoint", "jvp", "seed", "tangent", "vjp"]
