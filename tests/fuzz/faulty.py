"""A part whose first try goes wrong as the variable FAULTY says, to see that the driver notices."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from fuzz.parts import Outcome

FIRST = Random("0 faulty 0").random()


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    yield attempt


def attempt(rng: Random) -> Outcome:
    if rng.random() == FIRST:
        go_wrong(os.environ["FAULTY"])
    return Outcome("right", calls=10)


def go_wrong(how: str) -> None:
    if how == "crashes":
        os.abort()
    elif how == "hangs":
        time.sleep(600)
    elif how == "raises":
        raise KeyError("a reason")
    elif how == "leaves":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["TMPDIR"], "left").touch()
