"""MobileNetV2 made fast by one call: the same logits, sooner, of any batch, saved and loaded.

The weights are random: what is computed and how long it takes does not depend on them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

import depthwise.torch as dwt
from depthwise.bench.networks.mobilenet_v2 import mobilenet_v2
from depthwise.bench.networks.weights import randomized


def main(
    size: Annotated[int, typer.Option(help="Height and width of images.", min=32)] = 224,
    threads: Annotated[int, typer.Option(help="Threads of both.", min=1)] = 1,
) -> None:
    """Optimize MobileNetV2, and say what that did."""
    torch.set_num_threads(threads)
    image = torch.randn(1, 3, size, size)
    model = randomized(mobilenet_v2(), image.shape)

    fast = dwt.optimize(model, image)
    print(fast)

    images = torch.randn(4, 3, size, size)  # kernels for another batch are compiled when called
    print(f"\nlargest difference of logits, relative: {difference(fast, model, images):.1e}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fast.pt"
        torch.save(fast, file)
        loaded = torch.load(file, weights_only=False)
    print(f"of the module saved and loaded: {difference(loaded, model, images):.1e}")


@torch.inference_mode()
def difference(fast: nn.Module, model: nn.Module, images: Tensor) -> float:
    """Return the largest difference of their outputs over the largest output."""
    logits = model(images)
    return float((fast(images) - logits).abs().max() / logits.abs().max())


if __name__ == "__main__":
    typer.run(main)
