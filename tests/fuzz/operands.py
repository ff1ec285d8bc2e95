"""Calls of everything public with arguments that do not fit."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

import torch

from depthwise.errors import DepthwiseError, InternalError
from fuzz import texts, windows
from fuzz.cases import CASES
from fuzz.parts import Outcome
from fuzz.spoiling import as_array, spoilt, spoilt_out

MEMORY_BYTES = 16 * 2**30
"""What a worker may take, so that none takes the machine's."""


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    torch.manual_seed(0)
    yield attempt


def attempt(rng: Random) -> Outcome:
    return rng.choices([arrays, windows.attempt, texts.attempt], [6, 2, 2])[0](rng)


def arrays(rng: Random) -> Outcome:
    """Call one of `CASES`, some of its operands spoilt."""
    name = rng.choice([*CASES])
    call, reference, shapes, takes_out = CASES[name]
    drawn = [spoilt(rng, shape) for shape in shapes]
    operands = [tensor for _, tensor in drawn]
    hows = [how for how, _ in drawn]
    expected = None
    if "gone" not in hows:
        with suppress(RuntimeError, IndexError, ValueError, TypeError):
            expected = reference(*operands).detach()
        if expected is not None and [tuple(t.shape) for t in operands] != [*shapes]:
            return Outcome("skipped", "another problem, whose kernel would have to be compiled")
        if takes_out is not None and rng.random() < 0.5:
            operands = [as_array(rng, tensor) for tensor in operands]
    given = {}
    if takes_out and rng.random() < 0.3:
        y = torch.empty(shapes[0]) if expected is None else expected
        how, given["out"] = spoilt_out(rng, y, operands)
        hows.append(f"out {how}")
        expected = expected if how in ("right", "overlapping") else None  # some are copied first
    said = f"{name} {hows} {[tuple(o.shape) for o in operands]}"
    try:
        got = call(*operands, **given)
        got = got if torch.is_tensor(got) else torch.from_numpy(got.copy())
    except InternalError as error:
        return Outcome("wrong", f"{said}: {error}")
    except (DepthwiseError, RuntimeError):  # torch's are of the second kind
        return Outcome("refused")
    except Exception as error:
        return Outcome("wrong", f"{said}: {type(error).__name__} {error}")
    if expected is None or got.shape != expected.shape or not torch.equal(got, expected):
        return Outcome("wrong", f"{said}: returned {tuple(got.shape)}")
    return Outcome("right")
