"""No test of this project is written in one of the known ways that cannot fail."""

import ast

import pytest

from tests.meta.weaknesses import RULES, weaknesses
from tests.paths import ROOT

TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))

WEAK = {
    "try:\n    check()\nexcept Exception:\n    pass": "an `except` that does nothing hides the failure",
    "for n in range(3):\n    try:\n        check()\n    except:\n        continue": "an `except`",
    "try:\n    check()\nexcept ValueError:\n    ...": "an `except` that does nothing",
    "with contextlib.suppress(AssertionError):\n    check()": "suppress(AssertionError) hides the failure",
    "assert (np.nan_to_num(a) == np.nan_to_num(b)).all()": "nan_to_num makes a NaN look right",
    "assert np.allclose(a, b, equal_nan=True)": "equal_nan lets two failures agree",
    "assert np.allclose(a, b, atol=0.01)": "atol=0.01 is too loose to fail",
    "torch.testing.assert_close(a, b, rtol=1e-1, atol=0)": "rtol=0.1 is too loose to fail",
    "assert a == pytest.approx(b, abs=1)": "abs=1 is too loose to fail",
    "np.allclose(a, b)": "the answer of allclose is not asserted",
    "torch.equal(a, b)": "the answer of equal is not asserted",
    "a == b": "a comparison without `assert`",
    "for a, b in zip(got, want):\n    assert a == b": "zip without strict=True truncates",
    "for a, b in zip(got, want, strict=False):\n    assert a == b": "zip without strict=True truncates",
    "assert (a == b, 'they differ')": "asserts what is always true",
    "assert True": "asserts what is always true",
    "@pytest.mark.skip\ndef test_it():\n    assert a": "mark.skip: skip where a condition holds",
    "@pytest.mark.xfail(reason='later')\ndef test_it():\n    assert a": "mark.xfail: skip",
    "def test_it():\n    pytest.skip()\n    assert a": "a skip without a reason",
    "def test_it():\n    layer(x)": "test_it has no assertion",
    "class TestIt:\n    async def test_it(self):\n        layer(x)": "test_it has no assertion",
    "def test_it():\n    if not data:\n        return\n    assert data": "test_it returns early",
}

SOUND = """
def test_raises():
    with pytest.raises(ValueError, match="shape"):
        layer(x)

def test_leaves_it_to_a_helper():
    assert_parity(a, b, dtype="float32", steps=3)

def test_with_a_function_inside():
    def loss(w):
        return w * w
    assert gradcheck(loss, w)

@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_tolerance():
    assert a == pytest.approx(b, rel=1e-6)
    assert [n for n, _ in zip(a, b, strict=True)]

def read():
    try:
        return int(text)
    except ValueError:
        return None
"""


@pytest.mark.parametrize("source", WEAK)
def test_a_weak_test_is_found(source: str) -> None:
    found = [text for _, text in weaknesses(source)]
    assert len(found) == 1
    assert found[0].startswith(WEAK[source])


def test_sound_tests_are_left_alone() -> None:
    assert weaknesses(SOUND) == []


def test_every_rule_has_a_weak_test_above() -> None:
    nodes = [node for source in WEAK for node in ast.walk(ast.parse(source))]
    assert [rule.__name__ for rule in RULES if not any(list(rule(node)) for node in nodes)] == []


def test_this_project_has_no_weak_tests() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in TEST_FILES
        for line, text in weaknesses(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "\n".join(found)
