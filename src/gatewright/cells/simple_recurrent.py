"""Networks without gates."""
# pyright: reportMissingParameterType=false

from gatewright.cells._parts import named
from gatewright.lang import cell, relu, sigmoid, tanh

__all__ = ["antisymmetric_rnn", "elman", "irnn", "rnn"]


@cell(
    title="Elman network",
    paper="Elman 1990, Finding structure in time, Cognitive Science 14(2)",
    convention="one bias: PyTorch's b_ih and b_hh, and the two halves of ONNX's B, are added up to it",
    differs="the paper's units are logistic; tanh and relu are what frameworks offer",
)
def elman(x, h, W, U, b, *, activation=tanh):
    """The simple recurrent network: `activation` is tanh or relu, as in torch.nn.RNN."""
    return activation(W.h @ x + U.h @ h + b.h)


rnn = elman

irnn = named(
    elman(activation=relu),
    "irnn",
    title="IRNN: rectified linear units whose recurrence starts as the identity",
    paper="Le, Jaitly & Hinton 2015, A simple way to initialize recurrent networks of rectified linear "
    "units, arXiv:1504.00941",
    differs="how U.h starts is a matter of the layer and not of the equations: ask it for "
    "init='normal(0.001) + identity'",
)


@cell(
    title="Antisymmetric RNN",
    paper="Chang, Chen, Haber & Chi 2019, AntisymmetricRNN: a dynamical system view on recurrent neural "
    "networks, arXiv:1902.09689",
    convention="U.h is any matrix, of which only the antisymmetric part counts; the gate z, where there is "
    "one, scales the step and keeps nothing",
    differs="epsilon and gamma are tuned for each task in the paper; 0.01 is only a place to begin",
)
def antisymmetric_rnn(x, h, W, U, b, *, epsilon=0.01, gamma=0.01, gated=False):
    """An Euler step of length `epsilon` along an antisymmetric flow that `gamma` damps.

    `gated=True` is the paper's second form: a gate out of the same flow scales the step.
    """
    flow = U.h @ h - U.h.T @ h - gamma * h
    n = tanh(W.h @ x + flow + b.h)
    if gated:
        z = sigmoid(W.z @ x + flow + b.z)
        n = z * n
    return h + epsilon * n
