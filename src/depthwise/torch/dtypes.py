"""Problems' names of element types by torch's types: those that kernels compute."""

from __future__ import annotations

import torch

from depthwise.problem.dtypes import ElementType, names_by


def torch_type(entry: ElementType) -> torch.dtype:
    """Return the type that torch has for an element type."""
    found: torch.dtype = getattr(torch, entry.torch)
    return found


DTYPES = names_by(torch_type)
