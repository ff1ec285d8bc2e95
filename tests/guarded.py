"""A process that a stray read or write ends: problems in, one a line, and what went wrong out.

Every array that a kernel touches lies against an inaccessible page, once with its end and once with
its beginning; those that it reads cannot be written to either.
"""

from __future__ import annotations

import json
import sys

import numpy as np

import depthwise as dw
from exact import exact_problem, poisoned
from pages import place


def problems_of(text: str, plan: str | None, threads: int) -> list[str]:
    """Compute a problem in small whole numbers in both places; say what is wrong."""
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    kernel = dw.compile(spec, plan)
    wrong = []
    for at_end in (True, False):
        source, *packed = (
            place(array, at_end=at_end, read_only=True).array
            for array in (x, *kernel.pack(operands))
        )
        out = place(poisoned(spec), at_end=at_end)
        kernel.code.run(threads, source, *packed, out.array)
        side = "end" if at_end else "beginning"
        if not np.array_equal(out.array, expected):
            wrong.append(f"another result at the {side} of a page")
        if not out.alone_written:
            wrong.append(f"bytes beside the output written at the {side} of a page")
    return wrong


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            wrong = problems_of(*json.loads(line))
        except Exception as error:
            wrong = [repr(error)]
        sys.stdout.write(json.dumps(wrong) + "\n")
        sys.stdout.flush()
