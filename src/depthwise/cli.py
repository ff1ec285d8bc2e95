"""The command line: one thin function a subcommand.

The work is in the module that a function imports when it runs, so that `depthwise --help` starts
fast.  Whatever a subcommand raises is turned into a message and an exit code in one place, `main`.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from depthwise import __version__
from depthwise.errors import DepthwiseError, NotYetError


def examples(*lines: str) -> str:
    """Return the epilog of a help text: command lines to copy, one a line."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "depthwise bench",
        'depthwise cost "separable c144 o24 hw56 k3 p1"',
        'depthwise show "depthwise c256 hw12 k3 p1" --stage definition',
        "depthwise COMMAND --help",
    ),
)


def print_version(wanted: bool) -> None:
    """Print the version and leave, when `--version` is given."""
    if wanted:
        typer.echo(f"depthwise {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def depthwise(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version),
    ] = False,
) -> None:
    """Depthwise and depthwise-separable convolution at the speed of the hardware."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


NOT_YET = {
    "tune": "Search for the fastest plan of a problem and remember it.",
    "cache": "List or clear the compiled kernels and tuned plans on disk.",
    "doctor": "Check that this machine and its settings let kernels run at full speed.",
    "optimize": "Replace the depthwise and separable layers of a PyTorch model.",
}


def refuse(context: typer.Context) -> None:
    """Say that a subcommand of the design does not exist yet."""
    raise NotYetError(
        f"depthwise {context.info_name} does not exist yet in version {__version__}; "
        "depthwise --help lists what does"
    )


for name, purpose in NOT_YET.items():
    app.command(
        name,
        help=purpose,
        short_help=f"{purpose} (Not yet.)",
        epilog=f"This subcommand does not exist yet in version {__version__}.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(refuse)


def main() -> None:
    """Run the command line and exit with 0, or 2 after one line on stderr, or 130 if interrupted.

    Usage errors and every `DepthwiseError` are the user's to mend and exit with 2; any other
    exception is a fault of this package and keeps its traceback.
    """
    try:
        status = app(prog_name="depthwise", standalone_mode=False)
    except (DepthwiseError, typer.TyperException) as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        typer.echo(f"depthwise: {message}", err=True)
        status = 2
    sys.exit(status)
