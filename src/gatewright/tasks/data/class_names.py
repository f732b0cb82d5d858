"""Warnings on names of classes that look like mistakes, shown before training."""

import re
from collections.abc import Sequence


def doubtful_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Lines on classes that differ only in capital letters or spaces, and on those that are several classes together.

    `Good` and `good` may be one class that is written in two ways. `a;b` beside `a` and `b` may be two labels of one
    example, but a classifier takes each combination as a class of its own.
    """
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(" ".join(re.split(r"[\s_-]+", name.lower())), []).append(name)
    alike = [" and ".join(map(repr, several)) for several in plain.values() if len(several) > 1]
    several = [name for name in names if len(parts := re.split(r"\s*[;,|]\s*", name)) > 1 and {*parts} & {*names}]
    remarks = {
        "classes that differ only in capital letters or spaces": alike,
        "each combination of labels is a class of its own": [repr(name) for name in several],
    }
    return tuple(f"{remark}: {', '.join(listed[:3])}" for remark, listed in remarks.items() if listed)
