"""What became of each part of a network: a table, or plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from depthwise import console
from depthwise.kernel.kernel import Kernel
from depthwise.machine import team
from depthwise.network.steps import Call, Program, Stage, Work
from depthwise.problem.html import as_html

HEADERS = ("layer", "what it is", "plan")
TIMED = (*HEADERS, "us", "%")
WORDS = len(HEADERS)
"""How many leading columns of the table hold words."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a network: a block, a layer, or what the engine of the front end computes."""

    name: str
    """What of the file or the model it stands for."""
    kind: str
    """The kind of problem, e.g. "inverted"; "call" of an engine; "view" where
    nothing is moved; "copy" of an input."""
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
    us: float | None = None
    """Microseconds of a call, where that was measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network beside the engine that its file was made for."""

    total_us: float
    """Microseconds of a whole call: the median of some."""
    reference: str
    """The other engine, e.g. "ONNX Runtime"."""
    reference_us: float
    """Microseconds of a whole call of that, on as many threads."""
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
class Report:
    """The parts of a network in the order in which they run, and what was measured of it."""

    parts: tuple[Part, ...]
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of the nodes of the file that no part stands for, by why."""
    measured: Measured | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, fit for JSON."""
        measured = self.measured
        return {
            "parts": [asdict(part) for part in self.parts],
            "dropped": [{"why": why, "nodes": names} for why, names in self.dropped.items()],
            "measured": measured and {**asdict(measured), "speedup": measured.speedup},
        }

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers of the table."""
        return HEADERS if self.measured is None else TIMED

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield what the table shows of each part, and of a whole call."""
        total = self.measured.total_us if self.measured else None
        for part in self.parts:
            words = part.name, part.problem, _short(part)
            yield words if total is None else (*words, *_time(part.us, total))
        if total is not None:
            between = total - sum(part.us or 0.0 for part in self.parts)
            yield ("between the kernels", "", "", *_time(between, total))
            yield ("total", "", "", *_time(total, total))

    def notes(self) -> Iterator[str]:
        """Yield the lines below the table."""
        outside = [part for part in self.parts if part.engine is not None]
        left = Counter((part.engine, part.problem, part.reason) for part in outside)
        for (engine, problem, reason), times in left.items():
            count = f" ({times} times)" if times > 1 else ""
            yield f"left to {engine}: {problem}{count}: {reason or 'no kernel computes it'}"
        for why, names in self.dropped.items():
            yield f"dropped: {len(names)} nodes ({why})"
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

    def _repr_html_(self) -> str:
        return as_html("network", self.headers, self.cells(), words=WORDS, notes=self.notes())

    def __str__(self) -> str:
        table = console.table_text(self.headers, self.cells(), left=WORDS)
        return "\n".join([table, "", *self.notes()]).rstrip()


def parts_of(
    program: Program, kernels: Mapping[int, Kernel], times: Mapping[int, float] | None = None
) -> Iterator[Part]:
    """Yield the parts of a program.

    Args:
        program: the network.
        kernels: of the values that kernels compute, as far as they are ready.
        times: the microseconds of what makes each value, where that was measured.
    """
    for number, port in enumerate(program.inputs):
        if times is not None and number in times:
            yield Part(
                name=port.name, kind="copy", problem="to channels-last", plan=None, us=times[number]
            )
    for step in program.steps:
        work, made = step.work, step.outputs[0]
        kernel = kernels.get(made)
        call = isinstance(work, Call)
        yield Part(
            name=step.name,
            kind=work.spec.kind if isinstance(work, Stage) else "call" if call else "view",
            problem=work.title,
            plan=_plan(work, kernel, kernels),
            engine=work.engine.name if isinstance(work, Call) else None,
            reason=step.reason,
            remark=step.remark,
            covers=step.covers,
            us=None if times is None else times.get(made, 0.0),
        )


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


def _time(us: float | None, total: float) -> tuple[str, str]:
    return ("", "") if us is None else (f"{us:,.1f}", f"{100 * us / total:.1f}")
