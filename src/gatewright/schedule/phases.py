"""When each value of a trace is known, in relation to the loop over time."""

from collections.abc import Mapping

from gatewright.schedule.scan import Ahead
from gatewright.trace.analysis import needed, reached, reads, split
from gatewright.trace.ir import Atom, Trace, Var

BEFORE, LOOP, AFTER, SCAN = 0, 1, 2, 3
"""For all steps before the loop; within it; only after it; or before the loop, but not before a scan."""
IN_TIME = (BEFORE, SCAN, LOOP, AFTER)


def phases(ahead: Ahead) -> dict[str, int]:
    """When each value is known that depends on more than parameters.

    What depends on scanned states, and serves no other scan and no loop, is found after the loop.
    """
    trace = ahead.trace
    parts, scanned = split(trace), reached(trace.equations, ahead.given)
    serving = needed(trace.equations, _names(ahead, trace))
    early = [one.target.name for one in parts.before]
    found = {name: BEFORE if name not in scanned else SCAN if name in serving else AFTER for name in early}
    found |= {one.target.name: LOOP for one in parts.loop}
    found |= {one.target.name: AFTER for one in parts.after}
    found |= dict.fromkeys(ahead.given, SCAN)
    return found | {state.name: LOOP for state in trace.states}


def _names(ahead: Ahead, trace: Trace) -> list[str]:
    """What scans are made of, and what is carried through the loop."""
    read = reads(trace)
    carried: Mapping[str, Atom] = {s.name: new for s, new in zip(trace.states, trace.next_states, strict=True)}
    wanted = [new for name, new in carried.items() if name in read]
    wanted += [*ahead.news.values(), *(value for scan in ahead.scans for value in (scan.slope, scan.offset))]
    return [value.name for value in wanted if isinstance(value, Var)]
