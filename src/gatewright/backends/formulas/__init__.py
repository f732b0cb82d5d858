"""The equations of a cell and of its gradient, as LaTeX and as plain text: two tables of rules over one tree."""

from gatewright.backends.formulas import latex, unicode

__all__ = ["latex", "unicode"]
