"""Cells that are one step of a differential equation."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, sigmoid, tanh

__all__ = ["cornn", "lem"]


@cell(
    title="Coupled oscillatory RNN (coRNN)",
    paper="Rusch & Mishra 2021, Coupled oscillatory recurrent neural network (coRNN): an accurate and "
    "(gradient) stable architecture for learning long time dependencies, arXiv:2010.00951",
    convention="the position y is emitted, z is its velocity; the new z moves y, the old z is damped",
    differs="nothing; dt, gamma and epsilon are tuned for each task: the defaults are for sequential MNIST",
)
def cornn(x, y, z, W, U, b, *, dt=0.042, gamma=2.7, epsilon=4.7):
    """Driven oscillators: `gamma` is their stiffness, `epsilon` their damping, `dt` the step."""
    force = tanh(W.z @ x + U.y @ y + U.z @ z + b.z)
    z = z + dt * (force - gamma * y - epsilon * z)
    y = y + dt * z
    return y, z


@cell(
    title="Long expressive memory (LEM)",
    paper="Rusch, Mishra, Erichson & Mahoney 2022, Long expressive memory for sequence modeling, arXiv:2110.04744",
    convention="the state y is emitted; a gate of 1 (times dt) takes the candidate; y reads the new z",
    differs="nothing; the paper's delta-t is dz here, its delta-t with a bar is dy",
)
def lem(x, y, z, W, U, b, *, dt=1.0):
    """Two states, each with a time step that is learned for every unit and input, none longer than `dt`."""
    dy = dt * sigmoid(W.dy @ x + U.dy @ y + b.dy)
    dz = dt * sigmoid(W.dz @ x + U.dz @ y + b.dz)
    z = (1 - dz) * z + dz * tanh(W.z @ x + U.z @ y + b.z)
    y = (1 - dy) * y + dy * tanh(W.y @ x + U.y @ z + b.y)
    return y, z
