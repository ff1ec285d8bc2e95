"""What the convolutions of a Mamba of transformers take, as they are and as ours, and the whole.

    python benchmarks/mamba.py [--threads 1] [--tokens 512] [--rounds 3]

The 130M configuration with random weights: a prefill, then tokens one by one with its cache, in
turns with and without `patch_causal_conv1d`; the shortest time of each, and medians.  How far the
logits differ is said beside how far those of the model as it is are from float64.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from statistics import median
from time import perf_counter
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.models.mamba import modeling_mamba

from depthwise.console import print_table
from depthwise.torch import patch_causal_conv1d

FUNCTIONS = "causal_conv1d_fn", "causal_conv1d_update"
DECODED = 12


@contextmanager
def timed() -> Iterator[list[float]]:
    """Time what the module calls, in seconds, as long as the block lasts."""
    spent, theirs = [0.0], {name: vars(modeling_mamba)[name] for name in FUNCTIONS}

    def timing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **others: Any) -> Any:
            start = perf_counter()
            try:
                return function(*arguments, **others)
            finally:
                spent[0] += perf_counter() - start

        return call

    vars(modeling_mamba).update({name: timing(theirs[name]) for name in FUNCTIONS})
    try:
        yield spent
    finally:
        vars(modeling_mamba).update(theirs)


def run(model: Any, ids: Tensor, times: dict[str, list[float]]) -> Tensor:
    """Return the logits of a prefill, after which tokens are decoded; times in milliseconds."""
    cache: dict[str, Any] = {}
    given, first = ids, None
    for step in range(1 + DECODED):
        part = "decode" if step else "prefill"
        with timed() as spent:
            start = perf_counter()
            out = model(given, use_cache=True, **cache)
            times[part].append(1e3 * (perf_counter() - start))
        times[f"{part}, convolutions"].append(1e3 * spent[0])
        first = out.logits if first is None else first
        given, cache = out.logits[:, -1:].argmax(-1), {"cache_params": out.cache_params}
    assert first is not None
    return first


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = transformers.MambaConfig(vocab_size=50280, hidden_size=768, num_hidden_layers=24)
    model: Any = transformers.MambaForCausalLM(config).eval()
    ids = torch.randint(0, config.vocab_size, (1, options.tokens))
    found = [defaultdict[str, list[float]](list) for _ in range(2)]
    logits = []
    with torch.inference_mode():
        for _ in range(options.rounds):
            for times, patched in zip(found, (nullcontext, patch_causal_conv1d), strict=True):
                with patched():
                    logits.append(run(model, ids, times))
        exact = model.double()(ids).logits
    rows = [
        [part, *(f"{statistic(times[part]):.2f}" for times in found for statistic in (min, median))]
        for part in found[0]
    ]
    print_table(["", "as it is, ms", "median", "patched, ms", "median"], rows)
    theirs, ours = (each.double() for each in logits[:2])
    differences = ours - theirs, theirs - exact, ours - exact
    said = "patched and as it is {:.1e}, as it is and float64 {:.1e}, patched and float64 {:.1e}"
    print("logits differ:", said.format(*(float(each.abs().max()) for each in differences)))


if __name__ == "__main__":
    main()
