"""`load`: from any file of a network to one that is ready to be called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Union

from depthwise.network.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto

Source = Union["str", "os.PathLike[str]", "bytes", "ModelProto"]


def load(
    source: Source,
    *,
    inputs: Mapping[str, tuple[int, ...]] | None = None,
    threads: int | None = None,
) -> Network:
    """Return a trained network on this package's kernels."""
    from depthwise.onnx.network import from_onnx

    return from_onnx(source, inputs, threads)
