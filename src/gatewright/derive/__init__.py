"""Derivatives of Traces, as Traces: reverse mode (`vjp`) and forward mode (`jvp`)."""

from gatewright.derive.jvp import jvp, tangent
from gatewright.derive.vjp import adjoint, seed, vjp

__all__ = ["adjoint", "jvp", "seed", "tangent", "vjp"]
