"""Which networks there are, and what is asked of one: a batch of images of its own size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from depthwise.errors import SpecError
from depthwise.measure.catalogue import SOURCES
from depthwise.measure.network_files import Posed
from depthwise.problem.values import meant, whole

SIZES = {
    "mobilenet_v1": 224,
    "mobilenet_v2": 224,
    "mobilenet_v3_large": 224,
    "efficientnet_b0": 224,
    "efficientnet_lite0": 224,
    "convnext_tiny": 224,
    "xception": 299,
    "mobileone_s0": 224,
    "repvgg_a0": 224,
    "repvit_m0_9": 224,
    "fastvit_t8": 256,
    "ghostnet": 224,
    "ghostnet_v2": 224,
    "mixnet_s": 224,
    "shufflenet_v2": 224,
    "starnet_s1": 224,
    "edgenext_xs": 256,
    "hgnetv2_b0": 224,
    "inception_next_tiny": 224,
}
"""Height and width of the images of each network."""


class Posable(Protocol):
    """A network with images; as text, what results call it."""

    @property
    def network(self) -> str:
        """Its name."""

    @property
    def batch(self) -> int:
        """Images at once."""

    @property
    def dtype(self) -> str:
        """The element type of the images."""

    def variants(self, engine: str) -> tuple[str, ...]:
        """Return the ways in which an engine runs it; none where it does not."""

    def write(self, folder: Path) -> Posed:
        """Write the files by which engines are given it (`measure.network_files`)."""


@dataclass(frozen=True)
class NetworkProblem:
    """A batch of images through a network.

    Args:
        network: one of `SIZES`.
        batch: images at once.
        seed: of the weights and the images.

    Raises:
        SpecError: there is no such network, or no image.
    """

    network: str
    batch: int = 1
    seed: int = 0
    dtype: ClassVar[str] = "float32"

    def __post_init__(self) -> None:
        if self.network not in SIZES:
            got = f"{self.network!r}{meant(self.network, SIZES)}"
            raise SpecError(f"a network is one of {', '.join(SIZES)}; got {got}")
        if whole("batch", self.batch) < 1:
            raise SpecError(f"batch is at least 1; got {self.batch}")

    def __str__(self) -> str:
        return f"network {self.network} n{self.batch}"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, 3, H, W)."""
        size = SIZES[self.network]
        return (self.batch, 3, size, size)

    def variants(self, engine: str) -> tuple[str, ...]:
        """Return the ways in which an engine runs it; none where it does not."""
        return SOURCES[engine].networks

    def write(self, folder: Path) -> Posed:
        """Write the files by which engines are given it."""
        from depthwise.bench.peers import torch_networks

        return torch_networks.write(folder, self)
