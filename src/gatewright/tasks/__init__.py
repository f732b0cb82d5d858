"""What a network is trained on and for: data, recipes, training, generation and comparison.

`gw.tasks.train`, `gw.tasks.open` and `gw.tasks.resume` give a `gw.tasks.Run`, which answers. They load torch when they
are first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewright.tasks.run import Run, resume, train
    from gatewright.tasks.run import open_run as open

__all__ = ["Run", "open", "resume", "train"]

_NAMES = {"Run": "Run", "open": "open_run", "resume": "resume", "train": "train"}


def __getattr__(name: str) -> Any:
    """Load what trains and answers when it is first asked for, so that recipes are listed without torch."""
    if name in _NAMES:
        from gatewright.tasks import run

        return getattr(run, _NAMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
