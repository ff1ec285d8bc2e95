"""Ctrl-C while the command line is still being imported: it ends at once, without a traceback.

The package imports this before anything that takes time; from `main` on, an interrupt is an
exception like any other.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

INTERRUPTED = 130
"""The exit status of a command that was."""


def _heed() -> None:
    """End the process when it is interrupted, where it is the command line's."""
    untouched = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if untouched and _is_command():
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Let an interrupt be raised as KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: Any) -> None:
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Whether the process was started as `depthwise` or as `python -m depthwise`."""
    started = sys.argv[0]
    if started == "-m":  # a module, whose name stands there once it is found
        started = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    return Path(started).name in ("depthwise", "depthwise.exe")


_heed()
