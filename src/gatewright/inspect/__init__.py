"""Look into cells: are their derivatives right?"""

from gatewright.inspect.gradcheck import GradcheckError, GradcheckReport, Row, gradcheck

__all__ = ["GradcheckError", "GradcheckReport", "Row", "gradcheck"]
