"""What commands print on terminals of several widths, in pipes, and where nobody reads it.

No word is cut: whatever stands on a narrow terminal stands in a pipe as well, there with --wide.
There are no escape codes in a pipe or on a dumb terminal, no colours where NO_COLOR is set, and no
traceback anywhere.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from random import Random

from fuzz.arguments import tree
from fuzz.parts import Outcome

WIDTHS = (60, 80, 200)
SECONDS = 90.0
MODES = ("plain", "plain", "plain", "NO_COLOR", "dumb", "piped", "closed", "full", "gone")
LINES = (
    ("--version",), ("bensh",), ("cost", "depthwise c0 hw8 k3"),
    ("cost", "conv c4 o8 hw5 k3 p1 nhwc", "inverted c24 e144 o24 hw56 k3 p1 nhwc"),
    ("cost", "--workload", "mobilenet_v2"), ("cost", "--workload", "smoke", "--json"),
    ("explain", "depthwise c144 hw56 k3 p1 nhwc"), ("explain", "separable c4 o8 hw5 k3 p1"),
    ("show", "depthwise c8 hw5 k3 p1", "--stage", "definition"), ("cache",), ("peers",),
)  # fmt: skip
ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")
COLOUR = re.compile(r"\x1b\[([0-9]+;)*(3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m")
RULES = re.compile("[─━═╶╴╺╸│┃]+")


def helps() -> list[tuple[str, ...]]:
    """Return the help of every command."""
    found, waiting = [], [((), tree())]
    while waiting:
        words, command = waiting.pop()
        found.append((*words, "--help"))
        waiting += [
            ((*words, name), each) for name, each in getattr(command, "commands", {}).items()
        ]
    return found


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    lines = [*helps(), *LINES]
    yield lambda rng: attempt(rng.choice(lines), rng.choice(WIDTHS), rng.choice(MODES))


def attempt(words: tuple[str, ...], width: int, mode: str) -> Outcome:
    said = f"{' '.join(words)}, {width} columns, {mode}"
    if mode in ("piped", "closed", "full", "gone"):
        status, printed, errors = unwatched(words, mode)
        fault = "escape codes" if "\x1b" in printed + errors else None
        if mode == "gone" and errors and status != 2:
            fault = errors
    else:
        status, printed, errors = watched(words, width, mode)
        fault = unreadable(words, printed, mode)
    if "Traceback" in errors + printed or status not in (0, 1, 2):
        fault = f"exit status {status}: {errors or printed}"
    return Outcome("wrong", f"{said}: {fault}") if fault else Outcome("right")


def unreadable(words: tuple[str, ...], printed: str, mode: str) -> str | None:
    """Return what is wrong with what a terminal was given."""
    if mode == "dumb" and "\x1b" in printed:
        return "escape codes"
    if mode == "NO_COLOR" and COLOUR.search(printed):
        return "colours"
    whole = printed_now(words) if words == ("cache",) else piped(words) + piped((*words, "--wide"))
    wide = {*whole.split(), *re.split(r"[\s:()]+", whole)}
    cut = [
        word for line in ESCAPE.sub("", printed).splitlines() if "--wide" not in line
        for word in RULES.sub(" ", line).split() if word not in wide
    ]  # fmt: skip
    return f"words that a pipe has otherwise: {cut}" if cut else None


def printed_now(words: tuple[str, ...]) -> str:
    """Return all that a command prints in pipes."""
    _, printed, errors = unwatched(words, "piped")
    return printed + errors


piped = cache(printed_now)
"""The same, of commands that print the same each time."""


def environment(**settings: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "TERM")}
    return {**others, **settings}


def unwatched(words: tuple[str, ...], mode: str) -> tuple[int, str, str]:
    """Run with stdout in a pipe, closed, on a full disk, or in a pipe that nobody reads."""
    command = [sys.executable, "-m", "depthwise", *words]
    stdout: int = subprocess.PIPE
    if mode == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    elif mode == "full":
        stdout = os.open("/dev/full", os.O_WRONLY)
    elif mode == "gone":
        reading, stdout = os.pipe()
        os.close(reading)
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, env=environment(), check=False,
        timeout=SECONDS,
    )  # fmt: skip
    if stdout != subprocess.PIPE:
        os.close(stdout)
    return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()


def watched(words: tuple[str, ...], width: int, mode: str) -> tuple[int, str, str]:
    """Run on a terminal of so many columns, which all that is printed goes to."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    settings = {"NO_COLOR": "1"} if mode == "NO_COLOR" else {}
    process = subprocess.Popen(
        [sys.executable, "-m", "depthwise", *words], stdin=end, stdout=end, stderr=end,
        env=environment(TERM="dumb" if mode == "dumb" else "xterm-256color", **settings),
    )  # fmt: skip
    os.close(end)
    printed = b""
    with suppress(OSError):  # of a terminal whose other end is closed
        while piece := os.read(terminal, 65536):
            printed += piece
    os.close(terminal)
    return process.wait(timeout=SECONDS), printed.decode(), ""
