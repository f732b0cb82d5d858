"""Options of any layer that may be set between calls."""

from gatewright.nn.engine.checkpointed import Checkpoint
from gatewright.nn.engine.differentiable import OperandDtype
from gatewright.nn.options import check_checkpoint, check_products


class CallOptions:
    """How the calls of a layer are computed, and in which precision."""

    _products: OperandDtype = None
    _checkpoint: Checkpoint = None

    @property
    def products(self) -> OperandDtype:
        """The dtype that operands of products are rounded to; None for that of the layer. Setting it raises
        OptionError, or OptionTypeError, for what is no such dtype."""
        return self._products

    @products.setter
    def products(self, products: OperandDtype) -> None:
        check_products(products)
        self._products = products

    @property
    def checkpoint(self) -> Checkpoint:
        """Whether, or for how many steps at a time, saved values are computed again. Setting it raises OptionError, or
        OptionTypeError, for what is no number of steps."""
        return self._checkpoint

    @checkpoint.setter
    def checkpoint(self, checkpoint: Checkpoint) -> None:
        check_checkpoint(checkpoint)
        self._checkpoint = checkpoint
