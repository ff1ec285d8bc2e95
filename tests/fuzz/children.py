"""Processes that a worker forks: waited for with patience, their orphans adopted."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
_NEW_NETWORK = 0x40000000
_STEP_SECONDS = 0.002


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def leave_network() -> bool:
    """Give this process, and all that it starts, a network without connections; False: not root."""
    return ctypes.CDLL(None).unshare(_NEW_NETWORK) == 0


def forked(body: Callable[[], int]) -> int:
    """Fork; the child runs `body` and exits with what that returns.  Returns its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = body()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def ended(child: int, seconds: float) -> int | None:
    """Return the exit code of a child, negative for a signal; None where it goes on for longer."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(_STEP_SECONDS)


def kill(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def left_behind(seconds: float) -> list[str]:
    """Return what adopted processes still run after so many seconds; they are ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(_STEP_SECONDS)
        except ChildProcessError:
            return []
    me = os.getpid()
    children = Path(f"/proc/self/task/{me}/children").read_text().split()
    names = [Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ") for child in children]
    for child in children:
        kill(int(child))
    return [name.decode(errors="replace") for name in names]
