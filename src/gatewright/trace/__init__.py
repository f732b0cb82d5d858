"""Traces: one time step in single assignment, with its checker, text form, simplifier and analysis."""

from gatewright.trace.build import trace_cell
from gatewright.trace.check import check
from gatewright.trace.ir import Atom, Equation, Literal, Noise, Trace, Var

__all__ = ["Atom", "Equation", "Literal", "Noise", "Trace", "Var", "check", "trace_cell"]
