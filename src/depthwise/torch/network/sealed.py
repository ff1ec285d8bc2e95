"""Saved networks with a digest: what has changed on the way is refused before it is unpickled.

torch's files carry checksums, but torch does not look at them.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, cast

import torch
from torch import Tensor, nn

from depthwise.errors import ModelError


def sealed(network: nn.Module) -> tuple[Any, ...]:
    """Return what `pickle` writes for a network: the bytes of it all, and their digest."""
    content = io.BytesIO()
    torch.save((type(network), network.__getstate__()), content)
    written = content.getbuffer()
    return opened, (torch.frombuffer(written, dtype=torch.uint8), _digest(written))


def opened(content: Tensor, digest: str) -> nn.Module:
    """Return the network that was sealed.

    Args:
        content: (N,) bytes.
        digest: SHA-256 of these in hexadecimal digits.

    Raises:
        ModelError: the digest is that of something else.
    """
    read = content.cpu().numpy().data
    if (found := _digest(read)) != digest:
        raise ModelError(
            "a saved network is read as it was written (save it again where the file was damaged); "
            f"got SHA-256 {found} for {digest}"
        )
    kind, state = torch.load(io.BytesIO(read), map_location="cpu", weights_only=False)
    network: Any = kind.__new__(kind)
    network.__setstate__(state)
    return cast(nn.Module, network)


def _digest(content: memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
