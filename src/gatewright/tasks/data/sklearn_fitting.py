"""scikit-learn's linear models, fitted with a bounded number of iterations."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def bounded_iterations() -> Generator[None]:
    """Within this, a fit that reaches its number of iterations does not warn: nearly converged is good enough."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
