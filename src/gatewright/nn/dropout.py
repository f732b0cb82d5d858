"""Dropout of sequences: a mask for each step, or one for all of them."""

from torch import Tensor, nn
from torch.nn import functional as F

from gatewright.errors import OptionError

PER = ("step", "sequence")


def check_per(per: str) -> None:
    """Raise OptionError unless `per` is one of PER."""
    if per not in PER:
        raise OptionError("dropout has no such mask", expected=" or ".join(map(repr, PER)), got=repr(per))


def drop(values: Tensor, rate: float, training: bool, per: str = "step") -> Tensor:
    """In training, set a share `rate` of `values` (time, batch, features) to 0 and scale up the others.

    per="sequence" draws one mask for each row and feature, used at all steps (Gal & Ghahramani 2016, 1512.05287).
    """
    if per == "step" or not training:
        return F.dropout(values, rate, training)
    return values * F.dropout(values.new_ones(1, *values.shape[1:]), rate, training)


class Dropout(nn.Dropout):
    """torch.nn.Dropout for (time, batch, features), with a new mask at each step or one for the whole sequence."""

    def __init__(self, p: float = 0.5, *, per: str = "step") -> None:
        super().__init__(p)
        check_per(per)
        self.per = per

    def forward(self, input: Tensor) -> Tensor:
        """Apply dropout in training."""
        return drop(input, self.p, self.training, self.per)

    def extra_repr(self) -> str:
        """The options, as torch prints them."""
        return f"p={self.p}" + (f", per={self.per!r}" if self.per != "step" else "")
