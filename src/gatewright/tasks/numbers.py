"""Numbers as a person reads them."""


def spell(value: float) -> str:
    """A measure in four figures."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.3e}"


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
