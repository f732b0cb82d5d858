"""Derivatives of Traces, as Traces: reverse mode (`vjp`) and forward mode (`jvp`)."""

from gatewright.derive.jvp import jvp
from gatewright.derive.vjp import vjp
from gatewright.trace.names import adjoint, seed, tangent

__all__ = ["adjoint", "jvp", "seed", "tangent", "vjp"]
