"""Training steps in JAX: lax.scan over the steps with the input's product before it, Adam of optax, all in one `jit`.

Flax's cells have no second bias, which torch's optimiser moves as well; so the layers are written out, with torch.nn's
parameters.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.cells import CELLS
from benchmarks.network_step.cases import NetworkCase
from benchmarks.network_step.job import NetworkJob
from benchmarks.peers.jax_scan import Functions

Params = Mapping[str, jax.Array]
_RAN = {"float32": "float32", "bfloat16": "products of bfloat16 with sums in float32"}


def jax_scan(case: NetworkCase, dtype: str) -> NetworkJob:
    """A job whose step waits until its loss and parameters are there."""
    optimiser = optax.adam(1e-3)
    params = {name: jnp.asarray(value) for name, value in case.weights.items()}
    held: list[Any] = [params, optimiser.init(params)]
    inputs, targets = jnp.asarray(case.inputs_of_batch), jnp.asarray(case.targets)

    @jax.jit
    def update(params: Params, state: Any, inputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, Any, Any]:
        loss, gradients = jax.value_and_grad(_loss)(params, case, dtype, inputs, targets)
        updates, state = optimiser.update(gradients, state, params)
        return loss, optax.apply_updates(params, updates), state

    def step() -> jax.Array:
        loss, *held[:] = jax.block_until_ready(update(held[0], held[1], inputs, targets))
        return loss

    return NetworkJob(step, _RAN[dtype])


def _loss(params: Params, case: NetworkCase, dtype: str, inputs: jax.Array, targets: jax.Array) -> jax.Array:
    def product(values: jax.Array, name: str) -> jax.Array:
        weight = params[name].T
        if dtype == "bfloat16":
            values, weight = values.astype(jnp.bfloat16), weight.astype(jnp.bfloat16)
        return jnp.matmul(values, weight, preferred_element_type=jnp.float32)

    values = params["embedding.weight"][inputs] if case.vocabulary else inputs
    cell = CELLS[case.layer.lower()]
    below = product(values, "recurrent.weight_ih_l0") + params["recurrent.bias_ih_l0"]

    def step(states: tuple[jax.Array, ...], of_input: jax.Array) -> Any:
        of_state = product(states[0], "recurrent.weight_hh_l0") + params["recurrent.bias_hh_l0"]
        states = cell.step(Functions, of_input, of_state, states, {})
        return states, states[0]

    zero = jnp.zeros((case.batch, case.hidden))
    output = jax.lax.scan(step, (zero,) * cell.states, below)[1]
    scores = product(output if case.every_step else output[-1], "head.weight") + params["head.bias"]
    if case.loss == "cross entropy":
        return optax.softmax_cross_entropy_with_integer_labels(scores, targets).mean()
    return ((scores - targets) ** 2).mean()
