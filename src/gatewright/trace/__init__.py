"""Traces: one time step in single assignment, with its checker, text form, simplifier and analysis."""

from gatewright.trace.analysis import Split, depends_on_state, flops, parameter_count, reads, shared, split
from gatewright.trace.build import trace_cell
from gatewright.trace.check import check
from gatewright.trace.ir import Atom, Equation, Literal, Noise, Trace, Var
from gatewright.trace.recurrence import Recurrence, recurrence
from gatewright.trace.simplify import simplify, without
from gatewright.trace.text import parse, structural_hash, to_text

__all__ = [
    "Atom",
    "Equation",
    "Literal",
    "Noise",
    "Recurrence",
    "Split",
    "Trace",
    "Var",
    "check",
    "depends_on_state",
    "flops",
    "parameter_count",
    "parse",
    "reads",
    "recurrence",
    "shared",
    "simplify",
    "split",
    "structural_hash",
    "to_text",
    "trace_cell",
    "without",
]
