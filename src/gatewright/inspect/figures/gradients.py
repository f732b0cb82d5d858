"""The figure of gradients in training: the same that `train --watch` leaves in the run's folder."""

from gatewright.tasks.training.gradient_picture import gradient_figure

__all__ = ["gradient_figure"]
