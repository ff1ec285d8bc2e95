"""How a command ends: with a status, and one line on stderr where something has to be mended."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from collections.abc import Callable

import typer

from depthwise.commands.interrupts import INTERRUPTED
from depthwise.errors import DepthwiseError, PeerError
from depthwise.problem.values import meant

_CHOICE = re.compile(r"'[^']*' is not one of '.*'")
_OUTPUT_FAILS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What printing meets where an output is full.  (What writes to files names them.)"""


def status(run: Callable[[], int]) -> int:
    """Run a command and return its status, 2 after one line on stderr, or that of an interrupt.

    Usage errors, every `DepthwiseError`, an output that takes nothing and memory that does not
    suffice are the user's to mend and end with 2; any other exception is a fault of this package
    and keeps its traceback.  A reader of the output that has seen enough, as `head` has, ends the
    command: that is no error.
    """
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"depthwise: {message}\n"
    try:
        if sys.stdout is None:
            raise DepthwiseError("standard output is open (> /dev/null discards it); it is closed")
        done = run()
        sys.stdout.flush()
    except PeerError as error:  # which repeats what pip said
        return _said(str(error))
    except (DepthwiseError, typer.TyperException) as error:
        message = _usage(error) if isinstance(error, typer.TyperException) else str(error)
        return _said(" ".join(message.splitlines()))  # names that are repeated may have breaks
    except KeyboardInterrupt:  # which typer turns into a status only where a command runs
        return INTERRUPTED
    except MemoryError as error:
        return _said(f"what a command computes with fits into memory; got {error or 'no more'}")
    except (BrokenPipeError, SystemExit) as ended:  # rich and typer turn the former into the latter
        if not any(isinstance(each, BrokenPipeError) for each in (ended, ended.__context__)):
            raise
        _discard_output()
        return 0
    except OSError as error:
        if error.errno not in _OUTPUT_FAILS or error.filename is not None:
            raise
        _discard_output()
        return _said(f"standard output takes what is printed; got {error}")
    return done


def _said(message: str) -> int:
    typer.echo(f"depthwise: {message}", err=True)
    return 2


def _usage(error: typer.TyperException) -> str:
    """Return what was wrong with a command, and which word of an option was meant."""
    message = error.format_message()
    if choice := _CHOICE.search(message):
        given, *words = re.findall("'([^']*)'", choice[0])
        message = f"{message.removesuffix('.')}{meant(given, words)}."
    return message


def _discard_output() -> None:
    """Let nothing be left in buffers for an output that takes no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
