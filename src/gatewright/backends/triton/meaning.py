"""What the values are that a kernel is given: the equation behind each name, for the comments of a kernel's text."""

from gatewright.lang.ops import Op
from gatewright.schedule.program import Product, Program, Reduction, Scan, Term, Work
from gatewright.trace.ir import Atom, Equation, Literal, Var

LONGEST = 60
_SIGNS = {Op.ADD: "+", Op.SUB: "-"}


def term_text(term: Term) -> str:
    """U.r @ h, or U.r.T @ h."""
    return f"{term.matrix}{'.T' if term.transposed else ''} @ {term.vector.name}"


def product_text(product: Product) -> str:
    """The terms of a product, added up."""
    return " + ".join(map(term_text, product.terms))


def meaning(program: Program, name: str) -> str:
    """The equation of a value that a pass outside of the loop computes; "" of a leaf, or where it is long."""
    works: dict[str, Work] = {
        work.target.name: work for stage in (*program.before, *program.scan, *program.after) for work in stage.works()
    }
    text = _sum_text(works, works[name]) if name in works else ""
    return text if len(text) <= LONGEST else ""


def loaded_comment(program: Program, name: str) -> str:
    """A name, and the equation behind it."""
    text = meaning(program, name)
    return text if text and "%" in name else f"{name} = {text}" if text else name


def _sum_text(works: dict[str, Work], work: Work) -> str:
    if isinstance(work, Product):
        return product_text(work)
    if isinstance(work, Reduction):
        return f"{work.op}({_atom_text(works, work.vector)})"
    if isinstance(work, Scan):
        return f"scan of {work.state.name}"
    args = [_atom_text(works, arg) for arg in work.args]
    if work.op in _SIGNS and not (work.op is Op.SUB and _is_sum(works, work.args[1])):
        return f" {_SIGNS[work.op]} ".join(args)
    return f"{work.op}({', '.join(args)})"


def _is_sum(works: dict[str, Work], value: Atom) -> bool:
    work = works.get(value.name) if isinstance(value, Var) else None
    return isinstance(work, Product) or (isinstance(work, Equation) and work.op in _SIGNS)


def _atom_text(works: dict[str, Work], value: Atom) -> str:
    if isinstance(value, Literal):
        return f"{value.value:g}"
    work = works.get(value.name)
    return _sum_text(works, work) if work is not None and value.name.startswith("%") else value.name
