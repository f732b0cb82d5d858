"""Checks and descriptions of cells: are the derivatives right, what does each weight do."""

from gatewright.inspect.gradcheck import ComparedDerivative, GradcheckError, GradcheckReport, gradcheck

Row = ComparedDerivative  # its name in earlier versions

__all__ = ["ComparedDerivative", "GradcheckError", "GradcheckReport", "Row", "gradcheck"]
