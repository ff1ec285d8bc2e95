"""Whole networks in PyTorch, and from it to the files that every engine reads.

Ours is among its variants: `depthwise.torch.optimize` is given a module and makes one.
"""

from __future__ import annotations

import copy
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from depthwise.bench.comparison import OURS
from depthwise.bench.networks.weights import randomized
from depthwise.errors import DepthwiseError, ModelError
from depthwise.measure import network_files
from depthwise.measure.catalogue import LOADED, SOURCES
from depthwise.measure.engine import Array, Prepared
from depthwise.network import examples
from depthwise.network.agreement import granted
from depthwise.torch.command_line import inputs
from depthwise.torch.costs import cost
from depthwise.torch.loading import EXPORTED, load, said

if TYPE_CHECKING:
    from depthwise.bench.inference.problem import NetworkProblem
    from depthwise.bench.options import Asked

_ONNX_OPSET = 20
_AXES = 4
"""Those of images that lie channels-last."""


def build(problem: NetworkProblem) -> nn.Module:
    """Return the network with its random weights, in eval mode."""
    module = import_module(f"depthwise.bench.networks.{problem.network}")
    network: nn.Module = getattr(module, problem.network)()
    return randomized(network, problem.input_shape, problem.seed)


def write(folder: Path, problem: NetworkProblem) -> network_files.Posed:
    """Write the files of a network: itself, images, and the logits that float64 gives for them."""
    network = build(problem)
    x = torch.randn(problem.input_shape, generator=torch.Generator().manual_seed(problem.seed))
    with torch.inference_mode():
        logits = copy.deepcopy(network).double()(x.double())
    network_files.write(folder, {"x": x.numpy()}, {"y": logits.numpy()}, {"y": "float32"})
    torch.save(network, folder / network_files.MODULE)
    seconds = export(network, (x,), ["y"], folder)
    return network_files.Posed(seconds, cost(network, x).macs)


class Model:
    """A model as `depthwise optimize` takes it, with random images.

    Its own results in float32, as PyTorch computes them by default, are what is expected.

    Args:
        name: a file of `torch.export.save`, or module:factory.
        shapes: of its inputs, in their order.

    Raises:
        ModelError: there is no such model, it takes other inputs, or cannot be pickled.
    """

    dtype = "float32"

    def __init__(self, name: str, shapes: Asked) -> None:
        if isinstance(shapes, Mapping):
            raise ModelError(f"the inputs of a model of PyTorch have an order; got names: {shapes}")
        self.network = Path(name).name
        self._file = Path(name).resolve() if Path(name).suffix == EXPORTED else None
        self._module = load(name)
        self._images = inputs(self._module, shapes)
        with torch.inference_mode():
            self._results = tensors(self._module(*self._images))
        if self._file:
            vars(self._module)["train"] = lambda *_: self._module  # the exporter calls it
        self._pickled = b"" if self._file else _pickled(self._module, name)

    def __str__(self) -> str:
        shapes = (",".join(map(str, each.shape)) for each in self._images)
        return f"network {self.network} {' '.join(shapes)}"

    @property
    def batch(self) -> int:
        """Images at once."""
        return self._images[0].shape[0]

    def variants(self, engine: str) -> tuple[str, ...]:
        """Return the ways in which an engine runs it."""
        found = SOURCES[engine].networks
        return (*found, LOADED) if engine == OURS else found

    def write(self, folder: Path) -> network_files.Posed:
        """Write itself, the images and the results, and what the exporter to ONNX makes of it."""
        names = [f"y{number}" for number in range(len(self._results))]
        results = dict(zip(names, self._results, strict=True))
        network_files.write(folder, named(self._images), results)
        if self._file:
            (folder / network_files.EXPORTED).symlink_to(self._file)
        else:
            (folder / network_files.MODULE).write_bytes(self._pickled)
        depth = sum(getattr(each, "weight", None) is not None for each in self._module.modules())
        seconds, no_onnx = 0.0, None
        try:
            seconds = export(self._module, self._images, names, folder)
        except Exception as error:  # torch's exporter raises anything
            no_onnx = f"torch.onnx.export raised {said(error)}"
        return network_files.Posed(
            seconds, self._macs(), granted(depth, self._results, self._moved()), no_onnx
        )

    def _moved(self) -> list[Array]:
        """Return the results for images that differ by a rounding."""
        moved = examples.moved(named(self._images)).values()
        with torch.inference_mode():
            return tensors(self._module(*map(torch.from_numpy, moved)))

    def _macs(self) -> int | None:
        try:
            return cost(self._module, self._images).macs
        except DepthwiseError:  # nobody can count them
            return None


def _pickled(module: nn.Module, name: str) -> bytes:
    content = io.BytesIO()
    try:
        torch.save(module, content)
    except Exception as error:  # whatever the model's own code raises
        raise ModelError(
            f"a model is measured in other processes, to which it goes as a pickle; got {name}: "
            f"{said(error)}"
        ) from error
    return content.getvalue()


def export(
    network: nn.Module, images: tuple[Tensor, ...], outputs: Sequence[str], folder: Path
) -> float:
    """Write the ONNX file of a network with these images, and return the seconds that took."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        # This exporter needs no other package; batch norms are folded, as by its successor.  What
        # it warns of, its own age and values that it takes for constants, results would show.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, images, folder / network_files.ONNX, dynamo=False, opset_version=_ONNX_OPSET,
            input_names=list(named(images)), output_names=list(outputs),
        )  # fmt: skip
    return time.perf_counter() - start


def named(images: Sequence[Tensor]) -> dict[str, Array]:
    """Return the images of a network by the names of its inputs: "x", or "x0", "x1" and so on."""
    names = ["x"] if len(images) == 1 else [f"x{number}" for number in range(len(images))]
    return {name: each.numpy() for name, each in zip(names, images, strict=True)}


def prepare(folder: Path, variant: str) -> Prepared:
    """Make a network ready; its images lie as the variant takes them."""
    network = _read(folder)
    images = tuple(map(torch.from_numpy, network_files.inputs(folder).values()))
    if variant == "compiled":
        return _running(_compiled(network), images, "chosen by the compiler")
    if variant == "optimized":
        from depthwise.torch import optimize

        return _running(optimize(network, images), images, "NHWC")
    if variant == "channels_last":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = tuple(
            x.to(memory_format=torch.channels_last) if x.ndim == _AXES else x for x in images
        )
        return _running(network, images, "NHWC")
    return _running(network, images, "NCHW")


def _read(folder: Path) -> nn.Module:
    if (exported := folder / network_files.EXPORTED).exists():
        return load(str(exported))
    module: nn.Module = torch.load(folder / network_files.MODULE, weights_only=False)
    return module


def _running(network: Callable[..., Any], images: tuple[Tensor, ...], layout: str) -> Prepared:
    """Prepare calls whose results are new tensors each time."""
    results: Any = None

    def run() -> None:
        nonlocal results
        with torch.inference_mode():
            results = network(*images)

    return Prepared(run, lambda: tensors(results), layout, "nothing")


def tensors(results: Any) -> list[Array]:
    """Return the tensors among what a network returned, as arrays."""
    return [each.numpy() for each in tree_leaves(results) if isinstance(each, Tensor)]


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the network as `torch.compile` makes it, its weights constants of the program."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    compiled: Callable[[Tensor], Tensor] = torch.compile(network)
    return compiled
