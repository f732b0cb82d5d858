"""Figures of what is measured inside a network, one function a measure: each returns a Matplotlib figure."""
