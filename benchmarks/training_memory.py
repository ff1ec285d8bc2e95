"""What a training step of blocks keeps for its backward pass, and the memory it takes at its peak.

    python benchmarks/training_memory.py

One block, and four of them in a row, are computed forward and backward, channels_last, in a process
of their own, once everything is compiled and the input and the gradient of the output exist.
"saved" is what autograd keeps from forward to backward, beyond the input and the parameters;
"in use" is by how much the process grows during the step, at its peak, where the allocator gives
everything back at once, and "resident" where it is left as it is and keeps what it cannot reuse;
"results" are the output and the gradients of the input and the parameters, which every step makes.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from depthwise.console import print_table
from depthwise.measure.memory import resident
from depthwise.torch import InvertedResidual, SeparableConv2d

BATCH, SIZE = 8, 56
SEPARABLE_CHANNELS, INVERTED_CHANNELS = 128, 24


class TorchInvertedResidual(nn.Module):
    """What `depthwise.torch.InvertedResidual` computes, made of PyTorch's own layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 6 * channels
        self.branch = nn.Sequential(
            nn.Conv2d(channels, wide, 1),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the input and the branch."""
        output: Tensor = x + self.branch(x)
        return output


def separable(channels: int) -> SeparableConv2d:
    """Return one that keeps channels and size."""
    return SeparableConv2d(channels, channels, 3, padding=1)


BLOCKS = {
    "separable, torch": lambda: separable(SEPARABLE_CHANNELS).to_conv(),
    "separable, depthwise": partial(separable, SEPARABLE_CHANNELS),
    "inverted, torch": partial(TorchInvertedResidual, INVERTED_CHANNELS),
    "inverted, depthwise": partial(InvertedResidual, INVERTED_CHANNELS, INVERTED_CHANNELS),
}


def main() -> None:
    """Print the table."""
    rows = []
    for name in BLOCKS:
        for depth in (1, 4):
            saved, resident_at_peak, results = measured(name, depth)
            with environment("MALLOC_MMAP_THRESHOLD_", "65536"):
                _, in_use, _ = measured(name, depth)
            sizes = saved, in_use, resident_at_peak, results
            rows.append([name, depth, *(f"{nbytes / 2**20:.1f}" for nbytes in sizes)])
    title = (
        f"MiB, float32, batch {BATCH}, {SIZE}x{SIZE} pixels, separable of {SEPARABLE_CHANNELS} "
        f"channels, inverted of {INVERTED_CHANNELS}, {torch.get_num_threads()} threads"
    )
    headers = ("block", "blocks", "saved", "in use", "resident", "results")
    print_table(headers, rows, title=title)


def measured(name: str, depth: int) -> tuple[int, int, int]:
    """Return what `measure` does, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, depth))


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Give the processes that are started meanwhile a variable."""
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def measure(name: str, depth: int) -> tuple[int, int, int]:
    """Return what a step keeps, by how much it grows the process, and its results, in bytes."""
    module = nn.Sequential(*(BLOCKS[name]() for _ in range(depth)))
    module.to(memory_format=torch.channels_last)
    channels = SEPARABLE_CHANNELS if name.startswith("separable") else INVERTED_CHANNELS
    x = torch.randn(BATCH, channels, SIZE, SIZE).to(memory_format=torch.channels_last)
    x.requires_grad_()
    upper = torch.randn_like(x.detach())
    for _ in range(2):  # compiles, starts the team, makes what is made once
        step(module, x, upper)
    saved = saved_bytes(module, x)
    before, peak = resident(lambda: step(module, x, upper))
    results = sum(result.nbytes for result in step(module, x, upper))
    return saved, peak - before, results


def step(module: nn.Module, x: Tensor, upper: Tensor) -> list[Tensor]:
    """Return the output of a step, and its gradients."""
    output = module(x)
    return [output.detach(), *torch.autograd.grad(output, [x, *module.parameters()], upper)]


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Return the memory that the forward pass keeps for the backward pass; none counts twice."""
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = module(x)
    there = {leaf.untyped_storage().data_ptr() for leaf in (x, *module.parameters())}
    del output  # which keeps what was kept until here
    return sum(nbytes for address, nbytes in kept.items() if address not in there)


if __name__ == "__main__":
    main()
