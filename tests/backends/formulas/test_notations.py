"""Both notations, piece by piece: every operation, no parentheses but those that are needed, names, numbers."""

import pytest

from gatewright.backends.formulas import latex, unicode
from gatewright.backends.formulas.tree import Apply, Form, Mark, Name, Number, StepIndex, Tree
from gatewright.backends.formulas.typeset import write
from gatewright.lang.ops import OPS, Op

VECTOR, MATRIX = ("hidden",), ("hidden", "hidden")
H, Z, N = (Name(letter, VECTOR, StepIndex.NOW) for letter in "hzn")
BEFORE = Name("h", VECTOR, StepIndex.BEFORE)
U, S = Name("U.r", MATRIX), Name("a.zeta")


@pytest.mark.parametrize("rules", [latex.RULES, unicode.RULES], ids=["latex", "unicode"])
def test_every_operation_has_a_row(rules: dict[Op | Form, object]) -> None:
    assert set(rules) == {*OPS, *Form}


def op(name: Op | Form, *args: Tree, shape: tuple[str, ...] = VECTOR, **attrs: float | str) -> Apply:
    return Apply(name, args, shape, tuple(attrs.items()))


def add(a: Tree, b: Tree) -> Apply:
    return op(Op.ADD, a, b)


def sub(a: Tree, b: Tree) -> Apply:
    return op(Op.SUB, a, b)


def mul(a: Tree, b: Tree) -> Apply:
    return op(Op.MUL, a, b)


def div(a: Tree, b: Tree) -> Apply:
    return op(Op.DIV, a, b)


def neg(a: Tree) -> Apply:
    return op(Op.NEG, a)


TREES = [
    (add(add(H, Z), N), "hₜ + zₜ + nₜ", "h_t + z_t + n_t"),
    (add(H, add(Z, N)), "hₜ + zₜ + nₜ", "h_t + z_t + n_t"),
    (sub(sub(H, Z), N), "hₜ − zₜ − nₜ", "h_t - z_t - n_t"),
    (sub(H, sub(Z, N)), "hₜ − (zₜ − nₜ)", "h_t - (z_t - n_t)"),
    (sub(H, add(Z, N)), "hₜ − (zₜ + nₜ)", "h_t - (z_t + n_t)"),
    (mul(H, mul(Z, N)), "hₜ ⊙ zₜ ⊙ nₜ", r"h_t \odot z_t \odot n_t"),
    (mul(add(H, Z), N), "(hₜ + zₜ) ⊙ nₜ", r"(h_t + z_t) \odot n_t"),
    (add(mul(H, Z), N), "hₜ ⊙ zₜ + nₜ", r"h_t \odot z_t + n_t"),
    (mul(sub(Number(1.0), Z), N), "(1 − zₜ) ⊙ nₜ", r"(1 - z_t) \odot n_t"),
    (mul(Number(2.0), H), "2 hₜ", "2 h_t"),
    (mul(H, Number(2.0)), "hₜ · 2", r"h_t \cdot 2"),
    (mul(Number(-2.0), H), "(−2) hₜ", "(-2) h_t"),
    (mul(Number(1 / 6), H), "(1/6) hₜ", r"\tfrac{1}{6} h_t"),
    (mul(Number(2.0), Number(3.0)), "2 · 3", r"2 \cdot 3"),
    (mul(S, H), "a_ζ · hₜ", r"a_\zeta \cdot h_t"),
    (neg(mul(H, Z)), "−hₜ ⊙ zₜ", r"-h_t \odot z_t"),
    (neg(add(H, Z)), "−(hₜ + zₜ)", "-(h_t + z_t)"),
    (mul(H, neg(Z)), "hₜ ⊙ (−zₜ)", r"h_t \odot (-z_t)"),
    (sub(H, neg(Z)), "hₜ − (−zₜ)", "h_t - (-z_t)"),
    (mul(div(H, Z), N), "(hₜ / zₜ) ⊙ nₜ", r"\frac{h_t}{z_t} \odot n_t"),
    (div(mul(H, Z), N), "hₜ ⊙ zₜ / nₜ", r"\frac{h_t \odot z_t}{n_t}"),
    (div(H, mul(Z, N)), "hₜ / (zₜ ⊙ nₜ)", r"\frac{h_t}{z_t \odot n_t}"),
    (add(div(H, Z), N), "hₜ / zₜ + nₜ", r"\frac{h_t}{z_t} + n_t"),
    (op(Op.MATMUL, U, BEFORE), "U_r hₜ₋₁", "U_r h_{t-1}"),
    (op(Op.MATMUL, U, op(Op.MATMUL, U, BEFORE)), "U_r U_r hₜ₋₁", "U_r U_r h_{t-1}"),
    (op(Op.MATMUL, U, mul(Z, BEFORE)), "U_r (zₜ ⊙ hₜ₋₁)", r"U_r (z_t \odot h_{t-1})"),
    (mul(Z, op(Op.MATMUL, U, BEFORE)), "zₜ ⊙ U_r hₜ₋₁", r"z_t \odot U_r h_{t-1}"),
    (op(Op.MATMUL, op(Op.TRANSPOSE, U), H), "U_rᵀ hₜ", r"U_r^\top h_t"),
    (op(Op.OUTER, H, BEFORE), "hₜ hₜ₋₁ᵀ", r"h_t h_{t-1}^\top"),
    (op(Op.OUTER, mul(H, Z), mul(Z, N)), "(hₜ ⊙ zₜ) (zₜ ⊙ nₜ)ᵀ", r"(h_t \odot z_t) (z_t \odot n_t)^\top"),
    (op(Form.OVER_TIME, op(Op.OUTER, H, BEFORE)), "Σₜ hₜ hₜ₋₁ᵀ", r"\sum_t h_t h_{t-1}^\top"),
    (op(Form.OVER_TIME, add(H, Z)), "Σₜ (hₜ + zₜ)", r"\sum_t (h_t + z_t)"),
    (op(Form.SQUARE, N), "nₜ²", "n_t^2"),
    (op(Form.SQUARE, add(H, Z)), "(hₜ + zₜ)²", "(h_t + z_t)^2"),
    (op(Form.SQUARE, op(Op.TANH, H)), "tanh²(hₜ)", r"\tanh^2(h_t)"),
    (op(Op.SIGMOID, add(H, Z)), "σ(hₜ + zₜ)", r"\sigma(h_t + z_t)"),
    (op(Op.TANH, div(H, Z)), "tanh(hₜ / zₜ)", r"\tanh\left(\frac{h_t}{z_t}\right)"),
    (op(Op.RELU, H), "ReLU(hₜ)", r"\operatorname{ReLU}(h_t)"),
    (op(Op.SOFTPLUS, H), "softplus(hₜ)", r"\operatorname{softplus}(h_t)"),
    (op(Op.HARD_SIGMOID, H, slope=0.2), "hardsigmoid(hₜ; 0.2)", r"\operatorname{hardsigmoid}(h_t;\, 0.2)"),
    (op(Op.HARD_SIGMOID, H, slope=1 / 6), "hardsigmoid(hₜ; 1/6)", r"\operatorname{hardsigmoid}(h_t;\, \tfrac{1}{6})"),
    (op(Op.EXP, H), "exp(hₜ)", r"\exp(h_t)"),
    (op(Op.LOG, H), "log(hₜ)", r"\log(h_t)"),
    (op(Op.SIGN, H), "sign(hₜ)", r"\operatorname{sign}(h_t)"),
    (op(Op.ABS, sub(H, Z)), "|hₜ − zₜ|", "|h_t - z_t|"),
    (op(Op.SQRT, H), "√hₜ", r"\sqrt{h_t}"),
    (op(Op.SQRT, add(H, Number(1e-5))), "√(hₜ + 10⁻⁵)", r"\sqrt{h_t + 10^{-5}}"),
    (op(Op.MAXIMUM, H, Number(0.0)), "max(hₜ, 0)", r"\max(h_t, 0)"),
    (op(Op.MINIMUM, H, Z), "min(hₜ, zₜ)", r"\min(h_t, z_t)"),
    (op(Op.LESS, H, Z), "[hₜ < zₜ]", "[h_t < z_t]"),
    (op(Op.LESS, Number(0.0), H), "[hₜ > 0]", "[h_t > 0]"),
    (op(Form.NOT_LESS, H, Z), "[hₜ ≥ zₜ]", r"[h_t \geq z_t]"),
    (op(Form.NOT_LESS, Number(0.0), H), "[hₜ ≤ 0]", r"[h_t \leq 0]"),
    (op(Form.BETWEEN, Number(0.0), H, Number(1.0)), "[0 < hₜ < 1]", "[0 < h_t < 1]"),
    (op(Form.NONZERO, H), "[hₜ ≠ 0]", r"[h_t \neq 0]"),
    (op(Form.ZERO, H), "[hₜ = 0]", "[h_t = 0]"),
    (op(Form.STEP, sub(H, Z)), "step(hₜ − zₜ)", r"\operatorname{step}(h_t - z_t)"),
    (
        add(H, op(Op.WHERE, op(Op.LESS, H, Z), Z, N)),
        "hₜ + (zₜ if hₜ < zₜ else nₜ)",
        r"h_t + \left(\begin{cases} z_t & \text{if } h_t < z_t \\ n_t & \text{otherwise} \end{cases}\right)",
    ),
    (
        op(Op.WHERE, Z, H, N),
        "hₜ if zₜ ≠ 0 else nₜ",
        r"\begin{cases} h_t & \text{if } z_t \neq 0 \\ n_t & \text{otherwise} \end{cases}",
    ),
    (op(Op.SUM, mul(H, Z), shape=()), "sum(hₜ ⊙ zₜ)", r"\operatorname{sum}(h_t \odot z_t)"),
    (op(Op.MEAN, H, shape=()), "mean(hₜ)", r"\operatorname{mean}(h_t)"),
    (op(Op.EXPAND, S, axes="hidden"), "a_ζ 𝟏_hidden", r"a_\zeta \mathbf{1}_{\mathrm{hidden}}"),
    (
        op(Op.EXPAND, S, axes="hidden,input"),
        "a_ζ 𝟏_hidden×input",
        r"a_\zeta \mathbf{1}_{\mathrm{hidden} \times \mathrm{input}}",
    ),
    (op(Op.SIZE, axes="hidden", shape=()), "n_hidden", r"n_{\mathrm{hidden}}"),
    (div(H, op(Op.SIZE, axes="a,b", shape=())), "hₜ / (n_a · n_b)", r"\frac{h_t}{n_a \cdot n_b}"),
    (op(Op.RELABEL, H, axes="input"), "hₜ", "h_t"),
    (op(Form.BERNOULLI, Number(0.9)), "Bernoulli(0.9)", r"\operatorname{Bernoulli}(0.9)"),
]


@pytest.mark.parametrize(("tree", "plain", "tex"), TREES, ids=[plain for _, plain, _ in TREES])
def test_a_tree_is_written_with_the_parentheses_that_it_needs(tree: Tree, plain: str, tex: str) -> None:
    assert write(tree, unicode.NOTATION).text == plain
    assert write(tree, latex.NOTATION).text == tex


def test_every_operation_is_among_the_trees() -> None:
    assert {tree.op for tree, _, _ in TREES} | {Op.MUL} >= {*OPS, *Form} - {Op.TRANSPOSE}


NAMES = [
    ("h", "h", "h"),
    ("W.r", "W_r", "W_r"),
    ("b.hn", "b_hn", "b_{hn}"),
    ("W.skip", "W_skip", r"W_{\mathrm{skip}}"),
    ("gain.r", "gain_r", r"\mathrm{gain}_r"),
    ("a.zeta", "a_ζ", r"a_\zeta"),
    ("alpha", "α", r"\alpha"),
    ("lambda_", "λ", r"\lambda"),
    ("α", "α", r"\alpha"),
    ("Gamma", "Γ", r"\Gamma"),
    ("c_tilde", "c\u0303", r"\tilde{c}"),
    ("h_hat", "h\u0302", r"\hat{h}"),
    ("cell_tilde", "cell_tilde", r"\widetilde{\mathrm{cell}}"),
    ("W.c_tilde", "W_c\u0303", r"W_{\tilde{c}}"),
    ("forget_gate", "forget_gate", r"\mathrm{forget}_{\mathrm{gate}}"),
    ("log_f", "log_f", r"\mathrm{log}_f"),
    ("h_new", "h_new", r"h_{\mathrm{new}}"),
    ("h1", "h₁", "h_1"),
    ("n_2", "n₂", "n_2"),
    ("_", "_", r"\mathrm{\_}"),
]


@pytest.mark.parametrize(("identifier", "plain", "tex"), NAMES)
def test_an_identifier_is_written_as_mathematicians_would(identifier: str, plain: str, tex: str) -> None:
    assert unicode.spell(Name(identifier)) == plain
    assert latex.spell(Name(identifier)) == tex


A, I = Mark.ADJOINT, Mark.INNER  # noqa: E741
MARKED = [
    (Name("h", time=StepIndex.BEFORE), "hₜ₋₁", "h_{t-1}"),
    (Name("log_f", time=StepIndex.NOW), "log_fₜ", r"\mathrm{log}_{f,t}"),
    (Name("h", time=StepIndex.BEFORE, marks=(A,)), "∂hₜ₋₁", r"\bar{h}_{t-1}"),
    (Name("W.r", marks=(A,)), "∂W_r", r"\bar{W}_r"),
    (Name("c_tilde", time=StepIndex.NOW, marks=(A,)), "∂c\u0303ₜ", r"\bar{\tilde{c}}_t"),
    (Name("kept", time=StepIndex.NOW, marks=(A,)), "∂keptₜ", r"\overline{\mathrm{kept}}_t"),
    (Name("h", time=StepIndex.NOW, marks=(A, A)), "∂∂hₜ", r"\bar{\bar{h}}_t"),
    (Name("h", time=StepIndex.NOW, marks=(Mark.TANGENT,)), "dhₜ", r"\dot{h}_t"),
    (Name("r", time=StepIndex.NOW, marks=(I,)), "δ_rₜ", r"\delta_{r,t}"),
    (Name("skip", time=StepIndex.NOW, marks=(I,)), "δ_skipₜ", r"\delta_{\mathrm{skip},t}"),
]


@pytest.mark.parametrize(("name", "plain", "tex"), MARKED)
def test_a_name_says_of_which_step_it_is_and_whether_it_is_a_derivative(name: Name, plain: str, tex: str) -> None:
    assert unicode.spell(name) == plain
    assert latex.spell(name) == tex


NUMBERS = {
    1.0: "1",
    0.05: "0.05",
    1 - 0.95: "0.05",
    0.2734375: "0.2734375",
    1 / 6: "1/6",
    2 / 3: "2/3",
    1e-5: "10⁻⁵",
    2.5e-8: "2.5 · 10⁻⁸",
    -3.0: "−3",
    1e20: "10²⁰",
    float("inf"): "∞",
    float("-inf"): "−∞",
}


@pytest.mark.parametrize("value", NUMBERS)
def test_a_number_is_written_as_people_do(value: float) -> None:
    assert write(Number(value), unicode.NOTATION).text == NUMBERS[value]


def test_a_number_that_is_none_is_said_to_be_none() -> None:
    assert write(Number(float("nan")), unicode.NOTATION).text == "NaN"
