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
from depthwise.problem.oracle.causal import final_state
from exact import differences, exact_problem, nothing, poisoned
from pages import place


def problems_of(text: str, plan: str | None, runs: int, cpu: str | None) -> list[str]:
    """Compute a problem in small whole numbers in both places; say what is wrong."""
    spec = dw.parse(text)
    whole = spec.pitched({}) if spec.pitches else spec
    x, operands, expected = exact_problem(whole)
    kernel = dw.compile(spec, plan, cpu)
    pitches, named = dict(spec.pitches), dict(zip(spec.array_names, (x, *operands), strict=True))
    operands = [
        spread(each, pitches.get(name)) for name, each in zip(spec.operands, operands, strict=True)
    ]
    x, written = spread(x, pitches.get("x")), pitches.get("y")
    wrong = []
    for at_end in (True, False):
        writable, readable = (partial(_placed, at_end, read_only) for read_only in (False, True))
        packed, states = list(map(readable, kernel.pack(operands))), {}
        for number in steps.written(spec):
            states[number] = place(operands[number], at_end=at_end)
            packed[number] = states[number].array
        out = place(spread(poisoned(whole), written), at_end=at_end)
        steps.run_by_hand(kernel, readable(x), packed, out.array, runs=runs, place=writable)
        side = "end" if at_end else "beginning"
        result, between = gathered(out.array, whole.output_shape, written)
        if not np.array_equal(
            between, np.full_like(between, nothing(between.dtype)), equal_nan=True
        ):
            wrong.append("channels beside the run written")
        if differences(whole, result, expected):
            wrong.append(f"another result at the {side} of a page")
        if any((state.array != final_state(spec, named)).any() for state in states.values()):
            wrong.append(f"another state at the {side} of a page")
        if not all(placed.alone_written for placed in (out, *states.values())):
            wrong.append(f"bytes beside the output written at the {side} of a page")
    return wrong


def spread(image: np.ndarray, pitch: int | None) -> np.ndarray:
    """Return the elements of an image as they lie, with nothing between pixels of a pitch."""
    if pitch is None:
        return image
    channels = image.shape[-1]
    pixels = image.reshape(-1, channels)
    wide = np.full((len(pixels), pitch), nothing(image.dtype), image.dtype)
    wide[:, :channels] = pixels
    return wide.reshape(-1)[: (len(pixels) - 1) * pitch + channels]


def gathered(
    flat: np.ndarray, shape: tuple[int, ...], pitch: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image that was spread, and what lies between its pixels."""
    if pitch is None:
        return flat, np.full(1, nothing(flat.dtype), flat.dtype)
    *pixels, channels = shape
    missing = np.full(pitch - channels, nothing(flat.dtype), flat.dtype)
    wide = np.concatenate([flat, missing]).reshape(*pixels, pitch)
    return wide[..., :channels], wide[..., channels:]


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
