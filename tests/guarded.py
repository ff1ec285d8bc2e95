"""A process that a stray read or write ends: problems in, one a line, and what went wrong out.

Every array that a kernel touches lies against an inaccessible page, once with its end and once with
its beginning; those that it reads cannot be written to either.
"""

from __future__ import annotations

import json
import sys
from functools import partial

import numpy as np

import depthwise as dw
import steps
from exact import differences, exact_problem, poisoned
from pages import place


def problems_of(text: str, plan: str | None, runs: int) -> list[str]:
    """Compute a problem in small whole numbers in both places; say what is wrong."""
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    kernel = dw.compile(spec, plan)
    wrong = []
    for at_end in (True, False):
        writable, readable = (partial(_placed, at_end, read_only) for read_only in (False, True))
        packed = list(map(readable, kernel.pack(operands)))
        out = place(poisoned(spec), at_end=at_end)
        steps.run_by_hand(kernel, readable(x), packed, out.array, runs=runs, place=writable)
        side = "end" if at_end else "beginning"
        if differences(spec, out.array, expected):
            wrong.append(f"another result at the {side} of a page")
        if not out.alone_written:
            wrong.append(f"bytes beside the output written at the {side} of a page")
    return wrong


def _placed(at_end: bool, read_only: bool, array: np.ndarray) -> np.ndarray:
    return place(array, at_end=at_end, read_only=read_only).array


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            wrong = problems_of(*json.loads(line))
        except Exception as error:
            wrong = [repr(error)]
        sys.stdout.write(json.dumps(wrong) + "\n")
        sys.stdout.flush()
