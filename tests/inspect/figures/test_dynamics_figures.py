"""Figures say what is in them: labels, and as many marks as there are values."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.tasks.picture import picture
from tests.inspect.dynamics.test_fixed_points import linear_layer, tanh_layer


def shown(figure: Any) -> list[str]:
    """The titles of a figure's axes; it can be drawn."""
    assert picture(figure).startswith(b"\x89PNG")
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def points_of(axes: Any) -> int:
    return sum(len(collection.get_offsets()) for collection in axes.collections)


def test_eigenvalues() -> None:
    figure = gw.inspect.eigenvalue_figure(gw.inspect.eigenvalues(linear_layer(np.diag([1.5, 0.5, -0.2])), np.zeros(3)))
    assert shown(figure)[0].startswith("Eigenvalues of one step; largest modulus 1.500")
    assert points_of(figure.axes[0]) == 3
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "inside: dies out",
        "on or outside: stays or grows",
    ]


def test_lyapunov() -> None:
    spectrum = gw.inspect.lyapunov_spectrum(linear_layer(np.diag([2.0, 0.5])), np.zeros((30, 2)))
    figure = gw.inspect.lyapunov_figure(spectrum)
    assert shown(figure) == ["Lyapunov spectrum", "Whether it has levelled off; dark: the largest"]
    assert len(figure.axes[1].lines) == 3  # two exponents, and zero


def test_trajectories() -> None:
    layer = tanh_layer([[2.0, 0.0], [0.0, 2.0]])
    activations = gw.inspect.record(layer, torch.randn(12, 3, 2, dtype=torch.float64), lengths=[12, 5, 0])
    points = gw.inspect.fixed_points(layer, np.zeros(2), starts=100)
    plane = gw.inspect.state_plane(activations)
    figure = gw.inspect.trajectory_figure(plane, [points], names=["still"], values=np.ones((12, 3)), label="bit")
    assert shown(figure) == ["l0: paths of the state, and its fixed points"]
    assert points_of(figure.axes[0]) == 17 + len(points)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["still: stable", "still: unstable"]
    assert figure.axes[1].get_ylabel() == "bit"
    assert shown(gw.inspect.trajectory_figure(plane)) == ["l0: paths of the state"]


def test_drift() -> None:
    activations = gw.inspect.record(nn.GRU(3, 4), torch.arange(60.0).view(20, 1, 3))
    figure = gw.inspect.drift_figure(gw.inspect.drift(activations, 5)[0])
    assert shown(figure) == ["l0: state h by step", "Units outside their range in training"]


def test_copied_inputs() -> None:
    activations = gw.inspect.record(nn.GRU(3, 4), torch.randn(9, 1, 3))
    gate = activations.layer().gates["z"][:, 0]
    figure = gw.inspect.copied_input_figure(gw.inspect.copied_input(activations, 2), gate, symbols=list("abcdefghi"))
    assert shown(figure) == ["Gate z", "Share of the input of step 2 in the state"]
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == list("cdefghi")
