"""`depthwise cost`: the costs of problems and their limits on this machine, printed and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from depthwise import console
from depthwise.bench import plots
from depthwise.bench.series import Point
from depthwise.console import Form
from depthwise.errors import SpecError
from depthwise.problem.costs import cost
from depthwise.problem.counting import Cost
from depthwise.problem.dtypes import DEFAULT, worded
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

Record: TypeAlias = dict[str, Any]

COLUMNS = {
    "params": "params",
    "macs": "MACs",
    "flops": "FLOPs",
    "bytes": "bytes",
    "unfused_bytes": "bytes unfused",
    "intensity": "FLOP/byte",
}
SPARE = ("layers", "bytes unfused", "FLOP/byte", "FLOPs", "limit GFLOP/s")
LIMIT_COLUMNS = {"limit_us": "limit us", "limit_gflops": "limit GFLOP/s", "bound_by": "bound by"}


def measure_roofline(threads: int, problems: Iterable[Problem]) -> Roofline:
    """Measure this machine's limits of problems, showing how far that has come.

    Raises:
        SpecError: some are of real numbers and some of whole ones, which have other limits.
    """
    from depthwise.measure import roofline

    dtypes = {spec.element.is_integer: spec.dtype for spec in problems}
    if len(dtypes) > 1:
        got = " and ".join(sorted(dtypes.values()))
        raise SpecError(f"a roofline is that of real or of whole numbers; got problems of {got}")
    dtype = dtypes.get(True, DEFAULT)
    with console.progress(1 + len(roofline.footprints(threads))) as step:
        return roofline.measure(threads, dtype, step=step)


def record(spec: Problem, roofline: Roofline | None = None) -> Record:
    """Return the costs of a problem and of its parts, with their limits where a roofline is given.

    The keys are those of `COLUMNS` and `LIMIT_COLUMNS`.  A block's limit is that of the whole, what
    its parts pass on never leaving the processor.
    """
    shape = list(spec.output_shape)
    return {"spec": str(spec), "output_shape": shape, **_values(cost(spec), roofline)}


def report(
    named: Mapping[Problem, str], roofline: Roofline | None, *, form: Form, plot: Path | None
) -> None:
    """Print the costs of problems, each with the names of its layers; draw them where asked to."""
    records = [{**record(spec, roofline), "layers": names} for spec, names in named.items()]
    limits = {"roofline": roofline.as_dict()} if roofline else {}
    console.publish(
        form,
        value={**limits, "problems": records},
        records=_with_parts(records),
        table=lambda: _print_table(records),
    )
    if roofline and plot:
        points = [Point(r["spec"], r["intensity"], r["limit_gflops"]) for r in records]
        plots.roofline_plot(points, roofline, plot)


def _values(costs: Cost, roofline: Roofline | None) -> Record:
    values: Record = {name: getattr(costs, name) for name in COLUMNS}
    if roofline:
        values |= _limits(costs, roofline)
    if costs.parts:
        values["parts"] = {name: _values(part, roofline) for name, part in costs.parts.items()}
    return values


def _limits(costs: Cost, roofline: Roofline) -> Record:
    limit_us = roofline.limit_us(costs.flops, costs.bytes)
    arithmetic_us = costs.flops / roofline.peak_gflops / 1e3
    return {
        "limit_us": limit_us,
        "limit_gflops": costs.flops / limit_us / 1e3,
        "bound_by": "memory" if limit_us > arithmetic_us else "arithmetic",
    }


def _print_table(records: Sequence[Record]) -> None:
    columns = COLUMNS | (LIMIT_COLUMNS if "limit_us" in records[0] else {})
    words = ["layers"] if any(values["layers"] for values in records) else []
    rows = []
    for values in _with_parts(records):
        name = f"  {values['part']}" if values["part"] else values["spec"]
        cells = [values[column] for column in (*words, *columns)]
        rows.append([name, *(cell if isinstance(cell, str) else number(cell) for cell in cells)])
    dtypes = {parse(values["spec"]).dtype for values in records}
    headers = [worded(header, dtypes) for header in ("problem", *words, *columns.values())]
    spare = [worded(header, dtypes) for header in SPARE]
    console.print_table(headers, rows, left=1 + len(words), spare=spare)


def _with_parts(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        parts = {"": record, **record.get("parts", {})}
        for name, values in parts.items():
            layers = "" if name else record["layers"]
            found = {key: value for key, value in values.items() if key != "parts"}
            yield {"spec": record["spec"], "part": name, **found, "layers": layers}


def number(value: float) -> str:
    """Return a count with its thousands apart, or a measure with two decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
