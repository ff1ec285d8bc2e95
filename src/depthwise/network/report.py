"""What became of each part of a network: a table, or plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from depthwise import console
from depthwise.kernel.kernel import Kernel
from depthwise.machine import team
from depthwise.network.clock import Span
from depthwise.network.steps import Call, Program, Stage, Work
from depthwise.problem.html import as_html

HEADERS = ("layer", "what it is", "plan")
TIMED = (*HEADERS, "us", "%")
WORDS = len(HEADERS)
"""How many leading columns of the table hold words."""
CALL, COPY, VIEW = _OUTSIDE = "call", "copy", "view"
"""The kinds of parts that are no kernels of ours."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a network: a block, a layer, or what the engine of the front end computes."""

    name: str
    """What of the file or the model it stands for."""
    kind: str
    """The kind of problem, e.g. "inverted"; or `CALL` of an engine; `VIEW` where elements are
    moved only if they do not lie so; `COPY` of an input."""
    problem: str
    """The problem in its text form, or the names of operators."""
    plan: str | None
    """The plan of the kernel; None where there is none, or none was compiled yet."""
    engine: str | None = None
    """Who computes it where no kernel does, e.g. "onnxruntime"."""
    reason: str | None = None
    """Why no kernel computes it, where there is something to say."""
    remark: str | None = None
    """What else is to be said of it."""
    covers: tuple[str, ...] = ()
    """The names of all nodes of the file, or modules of the model, that it stands for."""
    begin_us: float | None = None
    """When it begins, in microseconds from where a call begins; None where that was not measured
    or nothing runs."""
    us: float | None = None
    """Microseconds of a call, where that was measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network beside the engine that its file was made for."""

    total_us: float
    """Microseconds of a whole call: the mean of the fastest of some (`clock.typical`)."""
    reference: str
    """The other engine, e.g. "ONNX Runtime"."""
    reference_us: float
    """Microseconds of a whole call of that, on as many threads: likewise, taken in turns."""
    largest_difference: float
    """Between the outputs of both for random inputs, relative to the largest output."""
    tolerance: float
    """The largest difference that rounding explains."""
    conditions: str
    """In words: the threads, and the inputs, with which everything was timed."""

    @property
    def speedup(self) -> float:
        """The time of the other engine over ours."""
        return self.reference_us / self.total_us


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What a call takes outside our kernels, in microseconds.

    Each part was timed within calls that were timed as a whole: `between_us` is the rest of these.
    """

    total_us: float
    """A whole call."""
    call_us: float
    """The calls of an engine."""
    copy_us: float
    """What brings inputs to channels-last."""
    view_us: float
    """Views whose elements do not lie so: they are copied."""
    between_us: float
    """What lies between all parts: Python, launches, copies of results for the caller."""

    @property
    def us(self) -> float:
        """All of it."""
        return self.call_us + self.copy_us + self.view_us + self.between_us

    @property
    def share(self) -> float:
        """The part of a call that this is."""
        return self.us / self.total_us

    @property
    def at_best_us(self) -> float:
        """What a call would take if what is left to engines took no time at all."""
        return self.total_us - self.call_us

    def as_dict(self) -> dict[str, float]:
        """Return all of it."""
        return {
            **asdict(self), "us": self.us, "share": self.share, "at_best_us": self.at_best_us
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Report:
    """The parts of a network in the order in which they run, and what was measured of it."""

    parts: tuple[Part, ...]
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of the nodes of the file that no part stands for, by why."""
    measured: Measured | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, fit for JSON."""
        measured, outside = self.measured, self.outside
        return {
            "parts": [asdict(part) for part in self.parts],
            "dropped": [{"why": why, "nodes": names} for why, names in self.dropped.items()],
            "measured": measured and {**asdict(measured), "speedup": measured.speedup},
            "outside": outside and outside.as_dict(),
        }

    @property
    def outside(self) -> Outside | None:
        """What a call takes outside our kernels, where that was measured."""
        if self.measured is None:
            return None
        taken = dict.fromkeys(_OUTSIDE, 0.0)
        for part in self.parts:
            if part.kind in taken:
                taken[part.kind] += part.us or 0.0
        total = self.measured.total_us
        between = total - sum(part.us or 0.0 for part in self.parts)
        return Outside(
            total_us=total, call_us=taken[CALL], copy_us=taken[COPY], view_us=taken[VIEW],
            between_us=max(0.0, between),
        )  # fmt: skip

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers of the table."""
        return HEADERS if self.measured is None else TIMED

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield what the table shows of each part, and of a whole call."""
        outside = self.outside
        for part in self.parts:
            if part.kind == VIEW and not part.name and not part.us:
                continue  # for nothing, and of nothing in the file
            words = part.name, part.problem, _short(part)
            yield words if outside is None else (*words, *_time(part.us, outside.total_us))
        if outside is not None:
            total = outside.total_us
            yield ("between the kernels", "", "", *_time(outside.between_us, total))
            yield ("total", "", "", *_time(total, total))

    def notes(self) -> Iterator[str]:
        """Yield the lines below the table."""
        yield from self._outside()
        yield from self._left()
        for why, names in self.dropped.items():
            yield f"dropped: {len(names)} {'node' if len(names) == 1 else 'nodes'} ({why})"
        if (found := self.measured) is not None:
            yield (
                f"{found.reference} takes {found.reference_us:,.1f} us for the same file: here it "
                f"is {found.speedup:.2f} times as fast"
            )
            yield (
                "largest difference for random inputs, relative to the largest output: "
                f"{found.largest_difference:.1e}; tolerance {found.tolerance:.1e}"
            )
            yield f"times with {found.conditions}"

    def _outside(self) -> Iterator[str]:
        """Yield what a call takes outside our kernels."""
        outside = self.outside
        if outside is None:
            return
        engines = dict.fromkeys(part.engine for part in self.parts if part.engine)
        taken = {
            ", ".join(engines): outside.call_us,
            "inputs to channels-last": outside.copy_us,
            "copies of views": outside.view_us,
            "between the kernels": outside.between_us,
        }
        shares = ", ".join(
            f"{what} {percent(us / outside.total_us)}" for what, us in taken.items() if us
        )
        yield f"outside our kernels: {percent(outside.share)} of a call ({shares})"

    def _left(self) -> Iterator[str]:
        """Yield what is left to engines, what takes longest first, and what that costs at most."""
        outside = self.outside
        left: dict[tuple[str, str, str], list[float]] = {}
        for part in self.parts:
            if part.engine is not None:
                reason = part.reason or "no kernel computes it"
                left.setdefault((part.engine, part.problem, reason), []).append(part.us or 0.0)
        for (engine, problem, reason), us in sorted(left.items(), key=lambda item: -sum(item[1])):
            count = f" ({len(us)} times)" if len(us) > 1 else ""
            share = "" if outside is None else f" {percent(sum(us) / outside.total_us)} of a call:"
            yield f"left to {engine}: {problem}{count}:{share} {reason}"
        if left and outside is not None and self.measured is not None:
            yield (
                f"without what is left, a call would take {outside.at_best_us:,.1f} us at best: "
                f"{self.measured.reference_us / outside.at_best_us:.2f} times as fast as "
                f"{self.measured.reference}"
            )

    def _repr_html_(self) -> str:
        return as_html("network", self.headers, self.cells(), words=WORDS, notes=self.notes())

    def __str__(self) -> str:
        table = console.table_text(self.headers, self.cells(), left=WORDS)
        return "\n".join([table, "", *self.notes()]).rstrip()


def parts_of(
    program: Program, kernels: Mapping[int, Kernel], times: Mapping[int, Span] | None = None
) -> Iterator[Part]:
    """Yield the parts of a program.

    Args:
        program: the network.
        kernels: of the values that kernels compute, as far as they are ready.
        times: when each value is made or moved, where that was measured.
    """
    for number, port in enumerate(program.inputs):
        if times is not None and number in times:
            yield Part(
                name=port.name, kind=COPY, problem="to channels-last", plan=None,
                begin_us=times[number].begin_us, us=times[number].us,
            )  # fmt: skip
    for step in program.steps:
        work, made = step.work, step.outputs[0]
        kernel = kernels.get(made)
        span = None if times is None else times.get(made)
        yield Part(
            name=step.name,
            kind=_kind(work),
            problem=work.title,
            plan=_plan(work, kernel, kernels),
            engine=work.engine.name if isinstance(work, Call) else None,
            reason=step.reason,
            remark=step.remark,
            covers=step.covers,
            begin_us=None if span is None else span.begin_us,
            us=span.us if span is not None else None if times is None else 0.0,
        )


def _kind(work: Work) -> str:
    if isinstance(work, Stage):
        return work.spec.kind
    return CALL if isinstance(work, Call) else VIEW


def _plan(work: Work, kernel: Kernel | None, kernels: Mapping[int, Kernel]) -> str | None:
    """Return how a step is computed, as far as that is known."""
    if kernel is not None:
        return str(kernel.plan)
    return IN_PLACE if isinstance(work, Stage) and kernels else None


IN_PLACE = "in place"
"""Of what is to be gathered: each part of it is made where it belongs, or used where it is."""


def conditions(threads: int, shapes: Iterable[tuple[int, ...]], dtypes: Iterable[str]) -> str:
    """Return in words how many threads and which inputs something was timed with."""
    sizes = ", ".join("x".join(map(str, shape)) for shape in shapes)
    return f"{team.in_words(threads)}, inputs {sizes} {'/'.join(sorted(set(dtypes)))}"


def _short(part: Part) -> str:
    """Return the plan of a convolution, or which parts of a block are in which kernel."""
    return (part.plan or "").partition(" | ")[0]


def percent(share: float) -> str:
    """Return a share as reports print it."""
    return f"{100 * share:.1f}%"


def _time(us: float | None, total: float) -> tuple[str, str]:
    return ("", "") if us is None else (f"{us:,.1f}", f"{100 * us / total:.1f}")
