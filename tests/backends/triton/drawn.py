"""Random numbers for a trace whose random values are what kernels draw from seeds."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from gatewright.axes import bind
from gatewright.backends.triton.random_values import drawn
from gatewright.trace import Trace
from tests.schedule import running
from tests.schedule.running import Arrays, Given


def seeds_of(trace: Trace, steps: int, batch: int) -> Arrays:
    """Seeds of every random value, the same for all traces that read a value of this name."""
    shape = (steps, batch)
    return {
        noise.var.name: np.random.default_rng(list(noise.var.name.encode())).integers(2**63 - 1, size=shape)
        for noise in trace.noises
    }


def draw(trace: Trace, sizes: Mapping[str, int], steps: int, batch: int, rng: np.random.Generator) -> Given:
    """`running.draw` with the random values that kernels draw from `seeds_of`."""
    given, seeds = running.draw(trace, sizes, steps, batch, rng), seeds_of(trace, steps, batch)
    noises = {
        noise.var.name: drawn(
            torch.from_numpy(seeds[noise.var.name]), bind(noise.var.shape, sizes), noise.probability, torch.float64
        ).numpy()
        for noise in trace.noises
    }
    return replace(given, noises=noises)
