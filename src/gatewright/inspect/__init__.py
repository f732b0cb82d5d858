"""Look into cells: are their derivatives right?"""

from gatewright.inspect.gradcheck import ComparedDerivative, GradcheckError, GradcheckReport, gradcheck

Row = ComparedDerivative  # its name in earlier versions

__all__ = ["ComparedDerivative", "GradcheckError", "GradcheckReport", "Row", "gradcheck"]
