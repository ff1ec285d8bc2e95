"""What `depthwise optimize` needs torch for beside loading: inputs, a first call, saving."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from depthwise.errors import ModelError
from depthwise.files import written
from depthwise.torch.loading import said
from depthwise.torch.network.optimized import ByParts, Optimized

_LOADED = ".dw"
"""How files are called that `depthwise.load` takes."""


def use_threads(count: int) -> None:
    """Let torch, and our kernels with it, run on so many threads."""
    torch.set_num_threads(count)


def inputs(model: nn.Module, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Return random inputs of these shapes, the same each time, that the model was called with.

    Raises:
        ModelError: the model takes more or fewer, or fails for them, or memory does not hold them.
    """
    generator = torch.Generator().manual_seed(0)
    try:
        example = tuple(torch.randn(each, generator=generator) for each in shapes)
    except (RuntimeError, TypeError) as error:  # too large for the memory, or for any
        why = str(error).partition("\n")[0]
        raise ModelError(f"an --input fits into memory; got {_listed(shapes)}: {why}") from None
    _match(model, example, shapes)
    try:
        with torch.no_grad():
            model(*example)
    except (Exception, SystemExit) as error:  # whatever the model's own code raises
        raise ModelError(
            f"an --input is one that the model takes; got {_listed(shapes)}: {said(error)}"
        ) from error
    return example


def _match(
    model: nn.Module, example: tuple[Tensor, ...], shapes: Sequence[tuple[int, ...]]
) -> None:
    """Refuse more or fewer inputs than the model takes."""
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*example)
    except TypeError as error:
        raise ModelError(
            f"an --input is given for each input of {type(model).__name__}, whose forward takes "
            f"{signature}; got {_listed(shapes)}: {error}"
        ) from None


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    """Return shapes as they are written on the command line."""
    return " ".join(",".join(map(str, each)) for each in shapes)


def save(network: Optimized | ByParts, file: Path) -> None:
    """Put a network into its file whole, or leave that as it was.

    Raises:
        DepthwiseError: the file cannot be written, or is to be one that cannot hold the network.
    """
    if file.suffix == _LOADED:
        network.save(file)
        return
    with written(file) as content:
        try:
            torch.save(network, content)
        except RuntimeError as error:  # torch's own, where writing has failed already
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
