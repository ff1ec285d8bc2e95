"""Whole networks in PyTorch, and from it to the files that every engine reads.

Ours is among its variants: `depthwise.torch.optimize` is given a module and makes one.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from depthwise.bench.inference.problem import NetworkProblem
from depthwise.bench.networks.weights import randomized
from depthwise.measure import network_files
from depthwise.measure.engine import Array, Prepared

_ONNX_OPSET = 20


def build(problem: NetworkProblem) -> nn.Module:
    """Return the network with its random weights, in eval mode."""
    module = import_module(f"depthwise.bench.networks.{problem.network}")
    network: nn.Module = getattr(module, problem.network)()
    return randomized(network, problem.input_shape, problem.seed)


def write(folder: Path, problem: NetworkProblem) -> network_files.Posed:
    """Write the files of a network: itself, images, and the logits that float64 gives for them."""
    from depthwise.torch import cost

    network = build(problem)
    x = torch.randn(problem.input_shape, generator=torch.Generator().manual_seed(problem.seed))
    with torch.inference_mode():
        logits = copy.deepcopy(network).double()(x.double())
    torch.save(network, folder / network_files.MODULE)
    np.save(folder / network_files.IMAGES, x.numpy())
    np.save(folder / network_files.EXPECTED, logits.numpy())
    start = time.perf_counter()
    with warnings.catch_warnings():
        # This exporter needs no other package; batch norms are folded, as by its successor.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network, (x,), folder / network_files.ONNX, dynamo=False, opset_version=_ONNX_OPSET,
            input_names=["x"], output_names=["y"],
        )  # fmt: skip
    seconds = time.perf_counter() - start
    return network_files.Posed(seconds, cost(network, x).macs, float(logits.abs().max()))


def prepare(folder: Path, variant: str) -> Prepared:
    """Make a network ready; its images lie as the variant takes them."""
    network: nn.Module = torch.load(folder / network_files.MODULE, weights_only=False)
    x = torch.from_numpy(np.load(folder / network_files.IMAGES))
    if variant == "compiled":
        return _running(_compiled(network), x, "chosen by the compiler")
    if variant == "optimized":
        from depthwise.torch import optimize

        return _running(optimize(network, x), x, "NHWC")
    if variant == "channels_last":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.to(memory_format=torch.channels_last)
        return _running(network, x, "NHWC")
    return _running(network, x, "NCHW")


def _running(network: Callable[[Tensor], Tensor], x: Tensor, layout: str) -> Prepared:
    """Prepare calls whose result is a new tensor each time."""
    y = x

    def run() -> None:
        nonlocal y
        with torch.inference_mode():
            y = network(x)

    def output() -> Array:
        array: Array = y.numpy()
        return array

    return Prepared(run, output, layout, "nothing")


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the network as `torch.compile` makes it, its weights constants of the program."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    compiled: Callable[[Tensor], Tensor] = torch.compile(network)
    return compiled
