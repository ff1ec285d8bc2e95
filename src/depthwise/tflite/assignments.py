"""What reads and assigns variables in TFLite: inputs and outputs of a model of ONNX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.errors import ModelError
from depthwise.tflite.translation import Site, Translate, is_quantized, quantization


def _nothing(site: Site) -> None:
    """Leave out what stands for variables, and what sets them up."""


def _read(site: Site) -> None:
    """Read what was assigned, or what the variable is before: an input where it is a state."""
    variable, tensor = site.variable(), site.output()
    if variable.now is None:
        if variable.initial is None and is_quantized(tensor):
            variable.initial = np.full(tensor.shape, quantization(tensor)[1], tensor.dtype)
        if variable.is_state:
            variable.now = site.state(variable)
        else:
            zeros = np.zeros(tensor.shape, tensor.dtype)
            variable.now = site.array(zeros if variable.initial is None else variable.initial)
    site.put(variable.now)


def _assign(site: Site) -> None:
    variable, tensor = site.variable(), site.tensor(1)
    kept = site.kept(variable)
    if kept is not None and (kept.sizes, kept.dtype) != (tensor.sizes, tensor.dtype):
        raise ModelError(
            f"a variable keeps its shape and type, {kept.shape} of {kept.dtype} for "
            f"{variable.name!r}; got {tensor.shape} of {tensor.dtype}"
        )
    variable.now = site.raw(1)


TABLE: Mapping[str, Translate] = {
    "VAR_HANDLE": _nothing,
    "CALL_ONCE": _nothing,
    "READ_VARIABLE": _read,
    "ASSIGN_VARIABLE": _assign,
}
