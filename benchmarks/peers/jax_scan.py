"""JAX: the same steps in lax.scan, compiled by XLA; the input's products are outside of the scan."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cells import Arrays
from benchmarks.problem import Job, Problem, Results


class Functions:
    """What the equations of a step are written in, by JAX."""

    sigmoid = staticmethod(jax.nn.sigmoid)
    tanh = staticmethod(jnp.tanh)

    @staticmethod
    def split(values: jax.Array, gates: int) -> list[jax.Array]:
        """The part of each gate."""
        return jnp.split(values, gates, -1)

    @staticmethod
    def normalised(values: jax.Array) -> jax.Array:
        """Mean 0 and variance 1 over the units."""
        centred = values - values.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)


def forward(problem: Problem, threads: int) -> Job:
    """The output."""
    run, x, params = jax.jit(_layer(problem)), jnp.asarray(problem.x), _params(problem)
    return Job(lambda: run(x, params).block_until_ready(), lambda output: {"output": np.asarray(output)})


def training(problem: Problem, threads: int) -> Job:
    """The output and all gradients."""
    layer = _layer(problem)

    @jax.jit
    def run(x: jax.Array, params: dict[str, jax.Array], weight: jax.Array) -> Any:
        output, pull_back = jax.vjp(layer, x, params)
        return output, *pull_back(weight)

    arguments = (jnp.asarray(problem.x), _params(problem), jnp.asarray(problem.weight))
    return Job(lambda: jax.block_until_ready(run(*arguments)), _results)


def _params(problem: Problem) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in problem.params.items()}


def _results(returned: tuple[jax.Array, jax.Array, dict[str, jax.Array]]) -> Results:
    output, by_x, by_params = returned
    results = {"output": np.asarray(output), "d(x)": np.asarray(by_x)}
    return results | {f"d({name})": np.asarray(value) for name, value in by_params.items()}


def _layer(problem: Problem) -> Callable[[jax.Array, dict[str, jax.Array]], jax.Array]:
    cell, shape = problem.cell, problem.shape

    def layer(x: jax.Array, params: dict[str, jax.Array]) -> jax.Array:
        vectors = {name: tuple(jnp.split(params[name], gates)) for name, gates in cell.vectors.items()}
        recurrent, bias = params[cell.recurrent_weight].T, params.get(cell.recurrent_bias or "", 0.0)
        products = x @ params[cell.input_weight].T + params.get(cell.input_bias or "", 0.0)

        def step(states: Arrays, product: jax.Array) -> tuple[Arrays, jax.Array]:
            new = cell.step(Functions, product, states[0] @ recurrent + bias, states, vectors)
            return new, new[0]

        zero = jnp.zeros((shape.batch, shape.hidden), x.dtype)
        return jax.lax.scan(step, (zero,) * cell.states, products)[1]

    return layer
