"""The parts, and what may become of a try."""

from __future__ import annotations

import getpass
from typing import NamedTuple

FINE = ("right", "refused", "skipped")
FAULTS = ("wrong", "crashed", "hung", "left behind")

OF_OTHERS = {f"torchinductor_{getpass.getuser()}", ".ses"}
"""What torch keeps for its compiler and ONNX Runtime of its session, in the temporary folder."""


class Outcome(NamedTuple):
    """What became of one try, which may consist of several calls."""

    kind: str
    """One of `FINE` or `FAULTS`."""
    said: str = ""
    """What is wrong, or why the try was skipped."""
    calls: int = 1


class Part(NamedTuple):
    """The module of a part has a context manager `attempts`.

    What that yields is called with a `random.Random` for each try and returns its outcome.
    """

    about: str
    full: int
    """How many calls `--full` makes."""
    patience: float
    """Seconds after which a try hangs."""


PARTS = {
    "operands": Part("functions, operators and modules with arguments that do not fit", 10**5, 120),
    "lines": Part("command lines", 10**4, 180),
    "kills": Part("kill -9 while files are written", 500, 120),
    "forks": Part("forks while another thread compiles", 500, 120),
    "reentrant": Part("calls within calls, by signals and from threads", 10**5, 120),
    "disks": Part("disks, linkers and cache folders that fail", 500, 180),
    "widths": Part("what is printed on terminals, in pipes and on closed streams", 500, 120),
}
