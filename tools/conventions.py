"""Writes the table of docs/conventions.md: what each cell of the catalogue says of its conventions.

python -m tools.conventions            write the table
python -m tools.conventions --check    fail if the table is not up to date
"""

from gatewright.cells import CATALOGUE
from gatewright.lang import Cell
from gatewright.trace import trace_cell
from gatewright.trace.roles import gate_roles
from tests.paths import ROOT
from tools.generated import Generated

COLUMNS = ("cell", "gates", "convention", "what differs from the paper")


def the_table() -> str:
    """A row for each cell, in the order of their names."""
    rows = [(f"`{name}`", _gates(cell), cell.about.convention, cell.about.differs) for name, cell in CATALOGUE.items()]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(map(_in_a_table, line))} |" for line in lines)


def _gates(cell: Cell) -> str:
    """What the gates do to the old state, as the equations have it."""
    roles = gate_roles(trace_cell(cell))
    said = {"keeps": roles.keeps, "replaces": roles.replaces, "writes": tuple(roles.writes)}
    return "; ".join(f"{verb}: {', '.join(f'`{gate}`' for gate in gates)}" for verb, gates in said.items() if gates)


def _in_a_table(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


TABLE = Generated(ROOT / "docs" / "conventions.md", the_table, "what the cells say of themselves")

if __name__ == "__main__":
    TABLE.main(__doc__)
