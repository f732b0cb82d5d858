"""Diagrams of cells as SVG, laid out from the Trace: `gw.diagram`."""

from gatewright.drawing.diagram import Diagram, diagram

__all__ = ["Diagram", "diagram"]
