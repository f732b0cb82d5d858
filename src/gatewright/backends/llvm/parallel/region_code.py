"""The machine code of meetings, in LLVM's language; `region.py` says what a meeting is, and keeps its memory."""

from enum import IntEnum

from gatewright.backends.llvm.jit.target import Target


class Kind(IntEnum):
    """How the members divide a phase: each takes some of its rows; each goes through all rows and takes some of the
    units; or each takes some rows of the result of a sum."""

    ROWS = 1
    UNITS = 2
    SUM = 3


_PAUSES = {"x86_64": "llvm.x86.sse2.pause()", "aarch64": "llvm.aarch64.hint(i32 1)"}
# Words that are written while others wait for them lie 64 bytes apart, so that no two share a line of the cache.
_MODULE = """
%meeting = type { i64, [7 x i64], i64, [7 x i64], i64, [7 x i64], i64, [7 x i64],
                  i64, i64, ptr, ptr, i64, ptr, i64, ptr }
; 0 state, 2 claimed, 4 arrived, 6 finished, 8 wanted, 9 patience, 10 give way, 11 tables, 12 batch, 13 pack,
; 14 groups, 15 phases; the state is the number of members, and 2^32 more when that is settled
%seat = type { ptr, i64, i64, ptr, i64 }
; what kernels are given: meet, part, parts; and behind it: meeting, how often it has met
%phase = type { i64, ptr, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, ptr, i64, i64, i64 }
; 0 kind, 1 kernel, 2 size, 3 multiple, 4 most, 5 turn, 6 meets, 7 left, 8 before it, 9 right, 10 before it, 11 result,
; 12 lines, 13 listed, 14 edges, 15 steps, 16 before its table, 17 adds

declare void @{pause}

define internal void @rest(ptr %meeting, i64 %turns) {
  call void @{pause}
  %long = icmp sgt i64 %turns, {patient}
  br i1 %long, label %tired, label %end
tired:
  %way.at = getelementptr %meeting, ptr %meeting, i64 0, i32 10
  %way = load ptr, ptr %way.at
  %none = icmp eq ptr %way, null
  br i1 %none, label %end, label %give
give:
  %given = call i32 %way()
  br label %end
end:
  ret void
}

define internal void @await(ptr %meeting, ptr %counter, i64 %goal) {
entry:
  br label %look
look:
  %turns = phi i64 [ 0, %entry ], [ %turns.next, %rest ]
  %count = load atomic i64, ptr %counter acquire, align 8
  %all = icmp sge i64 %count, %goal
  br i1 %all, label %end, label %rest
rest:
  call void @rest(ptr %meeting, i64 %turns)
  %turns.next = add i64 %turns, 1
  br label %look
end:
  ret void
}

define internal void @meet(ptr %seat) {
entry:
  %meeting.at = getelementptr %seat, ptr %seat, i64 0, i32 3
  %met.at = getelementptr %seat, ptr %seat, i64 0, i32 4
  %parts.at = getelementptr %seat, ptr %seat, i64 0, i32 2
  %meeting = load ptr, ptr %meeting.at
  %met.before = load i64, ptr %met.at
  %parts = load i64, ptr %parts.at
  %met = add i64 %met.before, 1
  store i64 %met, ptr %met.at
  %goal = mul i64 %met, %parts
  %arrived.at = getelementptr %meeting, ptr %meeting, i64 0, i32 4
  %others = atomicrmw add ptr %arrived.at, i64 1 acq_rel
  %here = add i64 %others, 1
  %last = icmp sge i64 %here, %goal
  br i1 %last, label %end, label %wait
wait:
  call void @await(ptr %meeting, ptr %arrived.at, i64 %goal)
  br label %end
end:
  ret void
}

define internal i64 @settled(ptr %meeting, i64 %patience) {
entry:
  %wanted.at = getelementptr %meeting, ptr %meeting, i64 0, i32 8
  %wanted = load i64, ptr %wanted.at
  br label %look
look:
  %turns = phi i64 [ 0, %entry ], [ %turns.next, %rest ], [ %turns, %close ]
  %state = load atomic i64, ptr %meeting acquire, align 8
  %is.settled = icmp sge i64 %state, 4294967296
  br i1 %is.settled, label %end, label %open
open:
  %all = icmp sge i64 %state, %wanted
  %long = icmp sge i64 %turns, %patience
  %enough = or i1 %all, %long
  br i1 %enough, label %close, label %rest
close:
  %closed = or i64 %state, 4294967296
  %swap = cmpxchg ptr %meeting, i64 %state, i64 %closed acq_rel acquire
  br label %look
rest:
  call void @rest(ptr %meeting, i64 %turns)
  %turns.next = add i64 %turns, 1
  br label %look
end:
  %members = and i64 %state, 4294967295
  ret i64 %members
}

define void @settle(ptr %meeting) {
  %members = call i64 @settled(ptr %meeting, i64 0)
  %finished.at = getelementptr %meeting, ptr %meeting, i64 0, i32 6
  call void @await(ptr %meeting, ptr %finished.at, i64 %members)
  ret void
}

define internal void @do(ptr %phase, ptr %meeting, ptr %seat) {
entry:
  %kind.at = getelementptr %phase, ptr %phase, i64 0, i32 0
  %kernel.at = getelementptr %phase, ptr %phase, i64 0, i32 1
  %size.at = getelementptr %phase, ptr %phase, i64 0, i32 2
  %table.at = getelementptr %meeting, ptr %meeting, i64 0, i32 11
  %steps.at = getelementptr %phase, ptr %phase, i64 0, i32 15
  %before.at = getelementptr %phase, ptr %phase, i64 0, i32 16
  %batch.at = getelementptr %meeting, ptr %meeting, i64 0, i32 12
  %part.at = getelementptr %seat, ptr %seat, i64 0, i32 1
  %parts.at = getelementptr %seat, ptr %seat, i64 0, i32 2
  %kind = load i64, ptr %kind.at
  %kernel = load ptr, ptr %kernel.at
  %size = load i64, ptr %size.at
  %tables = load ptr, ptr %table.at
  %before = load i64, ptr %before.at
  %table = getelementptr i8, ptr %tables, i64 %before
  %steps = load i64, ptr %steps.at
  %batch = load i64, ptr %batch.at
  %part = load i64, ptr %part.at
  %parts = load i64, ptr %parts.at
  %by.units = icmp eq i64 %kind, {units}
  br i1 %by.units, label %units, label %span
units:
  call void %kernel(ptr %table, i64 %steps, i64 %batch, i64 0, i64 %size, ptr %seat)
  ret void
span:
  %multiple.at = getelementptr %phase, ptr %phase, i64 0, i32 3
  %most.at = getelementptr %phase, ptr %phase, i64 0, i32 4
  %turn.at = getelementptr %phase, ptr %phase, i64 0, i32 5
  %multiple = load i64, ptr %multiple.at
  %most = load i64, ptr %most.at
  %turn = load i64, ptr %turn.at
  %few = icmp slt i64 %most, %parts
  %used = select i1 %few, i64 %most, i64 %parts
  %turned = add i64 %part, %turn
  %own = srem i64 %turned, %parts
  %own.next = add i64 %own, 1
  %pieces = sdiv i64 %size, %multiple
  %first.scaled = mul i64 %pieces, %own
  %last.scaled = mul i64 %pieces, %own.next
  %first.piece = sdiv i64 %first.scaled, %used
  %last.piece = sdiv i64 %last.scaled, %used
  %first.equal = mul i64 %first.piece, %multiple
  %last.whole = mul i64 %last.piece, %multiple
  %is.last = icmp eq i64 %own.next, %used
  %last.equal = select i1 %is.last, i64 %size, i64 %last.whole
  %edges.at = getelementptr %phase, ptr %phase, i64 0, i32 14
  %edges = load ptr, ptr %edges.at
  %equal = icmp eq ptr %edges, null
  %inside = icmp slt i64 %own, %used
  br i1 %inside, label %cut, label %end
cut:
  br i1 %equal, label %spanned, label %edged
edged:
  %first.edge = getelementptr i64, ptr %edges, i64 %first.piece
  %last.edge = getelementptr i64, ptr %edges, i64 %last.piece
  %first.cut = load i64, ptr %first.edge
  %last.cut = load i64, ptr %last.edge
  br label %spanned
spanned:
  %first = phi i64 [ %first.equal, %cut ], [ %first.cut, %edged ]
  %last = phi i64 [ %last.equal, %cut ], [ %last.cut, %edged ]
  %has.some = icmp slt i64 %first, %last
  br i1 %has.some, label %which, label %end
which:
  %by.rows = icmp eq i64 %kind, {rows}
  br i1 %by.rows, label %rows, label %sum
rows:
  call void %kernel(ptr %table, i64 %steps, i64 %batch, i64 %first, i64 %last, ptr null)
  ret void
sum:
  %lines.at = getelementptr %phase, ptr %phase, i64 0, i32 12
  %lines = load i64, ptr %lines.at
  %left = call ptr @operand(ptr %phase, ptr %table, i64 7)
  %right = call ptr @operand(ptr %phase, ptr %table, i64 9)
  %result.at = getelementptr %phase, ptr %phase, i64 0, i32 11
  %result.slot = load i64, ptr %result.at
  %result.entry = getelementptr ptr, ptr %table, i64 %result.slot
  %result = load ptr, ptr %result.entry
  %listed.at = getelementptr %phase, ptr %phase, i64 0, i32 13
  %listed = load i64, ptr %listed.at
  %adds.at = getelementptr %phase, ptr %phase, i64 0, i32 17
  %adds = load i64, ptr %adds.at
  %ragged = icmp sge i64 %listed, 0
  br i1 %ragged, label %listed.sum, label %plain.sum
plain.sum:
  call void %kernel(ptr %left, ptr %right, ptr %result, i64 %lines, i64 %first, i64 %last, i64 %adds)
  ret void
listed.sum:
  %list.entry = getelementptr ptr, ptr %table, i64 %listed
  %list = load ptr, ptr %list.entry
  call void %kernel(ptr %left, ptr %right, ptr %result, i64 %lines, i64 %first, i64 %last, i64 %adds, ptr %list)
  ret void
end:
  ret void
}

define internal ptr @operand(ptr %phase, ptr %table, i64 %field) {
  %slot.at = getelementptr i64, ptr %phase, i64 %field
  %before.at = getelementptr i64, ptr %slot.at, i64 1
  %slot = load i64, ptr %slot.at
  %before = load i64, ptr %before.at
  %entry = getelementptr ptr, ptr %table, i64 %slot
  %buffer = load ptr, ptr %entry
  %operand = getelementptr i8, ptr %buffer, i64 %before
  ret ptr %operand
}

define internal void @pack(ptr %meeting) {
entry:
  %claimed.at = getelementptr %meeting, ptr %meeting, i64 0, i32 2
  %table.at = getelementptr %meeting, ptr %meeting, i64 0, i32 11
  %pack.at = getelementptr %meeting, ptr %meeting, i64 0, i32 13
  %groups.at = getelementptr %meeting, ptr %meeting, i64 0, i32 14
  %table = load ptr, ptr %table.at
  %pack = load ptr, ptr %pack.at
  %groups = load i64, ptr %groups.at
  %wanted.at = getelementptr %meeting, ptr %meeting, i64 0, i32 8
  %wanted = load i64, ptr %wanted.at
  %pieces = mul i64 %wanted, 4
  %whole = sdiv i64 %groups, %pieces
  %piece = add i64 %whole, 1
  br label %claim
claim:
  %group = atomicrmw add ptr %claimed.at, i64 %piece acq_rel
  %more = icmp slt i64 %group, %groups
  br i1 %more, label %some, label %end
some:
  %next = add i64 %group, %piece
  %over = icmp sgt i64 %next, %groups
  %last = select i1 %over, i64 %groups, i64 %next
  call void %pack(ptr %table, i64 0, i64 0, i64 %group, i64 %last, ptr null)
  br label %claim
end:
  ret void
}

define void @join(ptr %meeting) {
entry:
  %seat = alloca %seat
  br label %come
come:
  %state = load atomic i64, ptr %meeting acquire, align 8
  %late = icmp sge i64 %state, 4294967296
  br i1 %late, label %end, label %enter
enter:
  %members.now = add i64 %state, 1
  %swap = cmpxchg ptr %meeting, i64 %state, i64 %members.now acq_rel acquire
  %entered = extractvalue { i64, i1 } %swap, 1
  br i1 %entered, label %member, label %come
member:
  call void @pack(ptr %meeting)
  %patience.at = getelementptr %meeting, ptr %meeting, i64 0, i32 9
  %patience = load i64, ptr %patience.at
  %parts = call i64 @settled(ptr %meeting, i64 %patience)
  store %seat { ptr @meet, i64 0, i64 0, ptr null, i64 0 }, ptr %seat
  %part.at = getelementptr %seat, ptr %seat, i64 0, i32 1
  %parts.at = getelementptr %seat, ptr %seat, i64 0, i32 2
  %meeting.at = getelementptr %seat, ptr %seat, i64 0, i32 3
  store i64 %state, ptr %part.at
  store i64 %parts, ptr %parts.at
  store ptr %meeting, ptr %meeting.at
  call void @meet(ptr %seat)
  %phases.at = getelementptr %meeting, ptr %meeting, i64 0, i32 15
  %phases = load ptr, ptr %phases.at
  br label %next
next:
  %phase = phi ptr [ %phases, %member ], [ %following, %done ]
  %kind = load i64, ptr %phase
  %over = icmp eq i64 %kind, 0
  br i1 %over, label %finish, label %do
do:
  call void @do(ptr %phase, ptr %meeting, ptr %seat)
  %meets.at = getelementptr %phase, ptr %phase, i64 0, i32 6
  %meets = load i64, ptr %meets.at
  %is.met = icmp ne i64 %meets, 0
  br i1 %is.met, label %meet, label %done
meet:
  call void @meet(ptr %seat)
  br label %done
done:
  %following = getelementptr %phase, ptr %phase, i64 1
  br label %next
finish:
  %finished.at = getelementptr %meeting, ptr %meeting, i64 0, i32 6
  %finished = atomicrmw add ptr %finished.at, i64 1 acq_rel
  br label %end
end:
  ret void
}
"""
_PATIENT = 50
"""Turns of waiting, each of some ten nanoseconds, after which a thread lets others have its processor."""


def source_for(target: Target) -> str:
    """The module of meetings, in LLVM's language."""
    pause = _PAUSES.get(target.triple.partition("-")[0], "llvm.donothing()")
    numbers = {"units": Kind.UNITS, "rows": Kind.ROWS, "patient": _PATIENT}
    text = _MODULE.replace("declare void @{pause}", f"declare void @{pause.replace('i32 1', 'i32')}")
    for name, value in {"pause": pause, **{name: str(int(number)) for name, number in numbers.items()}}.items():
        text = text.replace(f"{{{name}}}", value)
    return text
