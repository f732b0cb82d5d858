"""Tests use what a module offers: none reaches for the private names of another."""

import pytest

from tests.meta.private_names import private_names
from tests.paths import ROOT


def test_no_test_uses_private_names_of_other_modules() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, text in private_names(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    "use",
    [
        "from gatewright.trace.ir import _Row",
        "stream._layers",
        "self.layer._memory",
        "monkeypatch.setattr(module, '_LIMIT', 3)",
        "monkeypatch.setattr('gatewright.threads._LIMIT', 3)",
        "getattr(pool, '_calls')",
    ],
)
def test_a_private_name_is_found(use: str) -> None:
    assert list(private_names(f"\n{use}\n")) == [(2, use)]


@pytest.mark.parametrize(
    "use",
    ["self._layers", "cls._made", "layer.__dict__", "torch._C._use_count(a)", "row._replace(a=1)", "_own = 1", "a[_]"],
)
def test_what_is_no_private_name_of_others_is_left_alone(use: str) -> None:
    assert list(private_names(use)) == []
