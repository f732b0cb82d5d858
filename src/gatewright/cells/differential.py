"""Cells that are one step of a differential equation."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, sigmoid, tanh

__all__ = ["cornn", "lem", "tau_gru", "unicornn"]


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
    differs="nothing; the paper's delta-t is dz here, its delta-t with a bar is dy; torchrecurrent's LEM is another "
    "function: its y reads the old z",
)
def lem(x, y, z, W, U, b, *, dt=1.0):
    """Two states, each with a time step that is learned for every unit and input, none longer than `dt`."""
    dy = dt * sigmoid(W.dy @ x + U.dy @ y + b.dy)
    dz = dt * sigmoid(W.dz @ x + U.dz @ y + b.dz)
    z = (1 - dz) * z + dz * tanh(W.z @ x + U.z @ y + b.z)
    y = (1 - dy) * y + dy * tanh(W.y @ x + U.y @ z + b.y)
    return y, z


@cell(
    title="Gated recurrent unit with weighted time-delay feedback (tau-GRU)",
    paper="Erichson, Lim & Mahoney 2022, Gated recurrent neural networks with weighted time-delay feedback, "
    "arXiv:2212.00228",
    convention="g = 1 takes the candidate: the opposite of PyTorch's GRU; a weighs the part that sees the old state d; "
    "delay=1 reads the state before h",
    differs="nothing; the delay is tuned for each task in the paper",
    delays={"d": "delay"},
)
def tau_gru(x, h, d, W, U, b, *, delay=1):
    """A step of a delay differential equation: the candidate also sees the state of `delay` steps before h."""
    u = tanh(W.u @ x + U.u @ h + b.u)
    z = tanh(W.z @ x + U.z @ d + b.z)
    g = sigmoid(W.g @ x + U.g @ h + b.g)
    a = sigmoid(W.a @ x + U.a @ h + b.a)
    return (1 - g) * h + g * (u + a * z), h


@cell(
    title="Undamped independent controlled oscillatory RNN (UnICORNN)",
    paper="Rusch & Mishra 2021, UnICORNN: a recurrent model for learning very long time dependencies, ICML, "
    "arXiv:2103.05487",
    convention="the position y is emitted, z is its velocity; the new z moves y; dt * sigmoid(p.c) is each unit's pace",
    differs="nothing; dt and alpha are tuned for each task: the defaults are for permuted MNIST; the authors' code "
    "starts p.y between 0 and 1 and p.c between -0.1 and 0.1",
)
def unicornn(x, y, z, W, b, p, *, dt=0.19, alpha=30.65):
    """Oscillators that see only themselves and the input: `alpha` is their stiffness, `dt` the highest pace."""
    pace = dt * sigmoid(p.c)
    z = z - pace * (tanh(p.y * y + W.y @ x + b.y) + alpha * y)
    y = y + pace * z
    return y, z
