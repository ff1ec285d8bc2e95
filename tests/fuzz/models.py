"""Files of networks of which a few bytes are others: a network, or an error of ours in one line.

What such a file would take more memory for than `MEMORY_BYTES` may be refused by NumPy.
"""

from __future__ import annotations

import resource
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from depthwise.loading import load
from fuzz.mutations import mutated, tried
from fuzz.parts import Outcome
from onnx_models import noise, small
from tflite_networks import small as small_of_tflite

MEMORY_BYTES = 16 * 2**30


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")  # of kernels that cannot be stored, say
    onnx = small().SerializeToString()
    with tempfile.TemporaryDirectory(prefix="models-") as name:
        saved = Path(name, "small.dw")
        load(onnx, inputs={"x": (1, 8, 6, 6)}).save(saved)
        files = {
            "onnx": (onnx, noise(1, 8, 6, 6)),
            "tflite": (small_of_tflite(), noise(1, 12, 12, 3)),
            "dw": (saved.read_bytes(), noise(1, 8, 6, 6)),
        }
        yield lambda rng: attempt(rng, files)


def attempt(rng: Random, files: dict[str, tuple[bytes, object]]) -> Outcome:
    kind = rng.choice([*files])
    data, image = files[kind]
    whole = rng.random() < 0.9
    data = mutated(data, rng) if whole else data[: rng.randrange(len(data))]
    try:
        said = tried(data, image)
    except Exception as error:
        return Outcome("wrong", f"{kind}: {type(error).__name__} {error}")
    if said.startswith("several"):
        return Outcome("wrong", f"{kind}: {said}")
    return Outcome("right" if said == "computed" else "refused")
