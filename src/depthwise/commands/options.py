"""What several commands take: shared options, and the examples below a help text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from depthwise.bench.layers import workload_names
from depthwise.errors import DepthwiseError
from depthwise.machine.team import MOST_THREADS
from depthwise.problem.dtypes import DTYPES, QUANTIZED

Op = Literal[
    "depthwise", "separable", "inverted", "causal", "input_gradient", "weight_gradient",
    "backward", "training",
]  # fmt: skip

if TYPE_CHECKING:
    from depthwise.console import Form

    DType = str
else:
    DType = Literal[DTYPES + QUANTIZED]  # what typer reads the choices from


Layout = Annotated[
    Literal["nchw", "nhwc"] | None,
    typer.Option(
        help="Of the layers' arrays.  [default: nchw; nhwc of whole numbers]", show_default=False
    ),
]
NAMES = ", ".join(workload_names())
"""What `--workload` takes."""
POSED = ", ".join(get_args(Op))


def examples(*lines: str) -> str:
    """Return the epilog of a help text: command lines to copy, one a line."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def widen(context: typer.Context, wanted: bool) -> None:
    """Print every column while the command runs, when `--wide` is given."""
    if wanted:
        from depthwise.console import WIDE, out

        context.call_on_close(partial(setattr, out, "width", out.width))
        out.width = WIDE


def form(as_json: bool, as_csv: bool) -> Form:
    """Return in which form a command prints what it found."""
    if as_json and as_csv:
        raise DepthwiseError("what is found is printed once: --json or --csv; got both")
    return "json" if as_json else "csv" if as_csv else "table"


threads_option = partial(typer.Option, min=1, max=MOST_THREADS)
"""`--threads`, with its help."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV, a line for each row.")]
Wide = Annotated[
    bool,
    typer.Option("--wide", help="Print every column, however wide that is.", callback=widen),
]
