"""Train one small network twice, with PyTorch's layers and with ours, from the same seed.

The network is a stem, five depthwise-separable blocks with batch norm and ReLU, an average over the
pixels and a classifier; it learns to tell shapes apart (`shapes.py`).  Both copies start from the
same parameters and see the same batches in the same order, channels_last, a step of one and a step
of the other in turns, so that whatever the machine does meets both alike.

Their losses agree closely in the first steps, but not to the last bit: sums are taken in another
order, which rounds them differently, and training amplifies every difference there is.  Kernels are
7x7, as in ConvNeXt: on these images they learn better than 3x3 and 5x5.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import shapes
import torch
import training_report
import typer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise.commands.cli import examples
from depthwise.console import progress
from depthwise.errors import DepthwiseError
from depthwise.files import check_writable
from depthwise.torch import SeparableConv2d

STEM_CHANNELS = 32
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1))
"""Output channels and stride of each."""
PEAK_LEARNING_RATE = 1e-2
TEST_IMAGES = 512
WARM_UP_STEPS = 5
"""Steps whose time does not count: memory is got, and kernels are compiled."""

Images: TypeAlias = tuple[Tensor, Tensor]
"""Images (N, 3, H, W), channels_last, and their classes (N,)."""


class TorchSeparableConv2d(nn.Sequential):
    """What `depthwise.torch.SeparableConv2d` computes, made of PyTorch's own layers."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bias: bool, **window: int
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, groups=in_channels, bias=bias, **window
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)


SEPARABLE = {"torch": TorchSeparableConv2d, "depthwise": SeparableConv2d}


@dataclass
class Training:
    """A network while it learns."""

    layers: str
    """Whose layers it is made of."""
    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    losses: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)

    @classmethod
    def begin(cls, layers: str, kernel_size: int, seed: int, steps: int) -> Training:
        """Return a network of one kind of layers that is to learn for some steps."""
        torch.manual_seed(seed)
        model = network(SEPARABLE[layers], kernel_size).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, PEAK_LEARNING_RATE, total_steps=steps + 1
        )
        return cls(layers, model, optimizer, schedule)

    def step(self, images: Tensor, classes: Tensor) -> None:
        """Learn from one batch; keep its loss and the time."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), classes)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.step_ms.append(1e3 * (time.perf_counter() - start))
        self.losses.append(loss.item())

    @torch.inference_mode()
    def accuracy(self, test: Images, batch: int) -> float:
        """Return the part of images whose class the network tells."""
        self.model.eval()
        images, classes = test
        guesses = [self.model(part).argmax(1) for part in images.split(batch)]
        return float((torch.cat(guesses) == classes).double().mean())


def network(separable: Any, kernel_size: int) -> nn.Sequential:
    """Return the network, with one of the two kinds of separable convolution."""
    channels = STEM_CHANNELS
    layers = [nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False), *after(channels)]
    for width, stride in BLOCKS:
        window = {"kernel_size": kernel_size, "stride": stride, "padding": kernel_size // 2}
        layers += [separable(channels, width, bias=False, **window), *after(width)]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(shapes.CLASSES))]
    return nn.Sequential(*layers)


def after(channels: int) -> list[nn.Module]:
    """Return what follows each convolution."""
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def draw(count: int, size: int, seed: int) -> Images:
    """Return images (count, 3, size, size) and their classes."""
    images, classes = map(torch.from_numpy, shapes.draw(count, size, seed))
    return images.contiguous(memory_format=torch.channels_last), classes


def batches(data: Images, batch: int, epochs: int, seed: int) -> Iterator[Images]:
    """Yield whole batches, in another order in each epoch."""
    images, classes = data
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(classes), generator=generator)
        for chosen in order[: len(order) // batch * batch].split(batch):
            yield images[chosen].contiguous(memory_format=torch.channels_last), classes[chosen]


def train(trainings: Sequence[Training], parts: Iterator[Images], steps: int) -> None:
    """Let each learn from each batch, taking turns at being first."""
    with progress(steps) as advance:
        for number, part in enumerate(parts):
            advance(", ".join(f"{t.layers} {t.losses[-1]:.3f}" for t in trainings if t.losses))
            for training in trainings if number % 2 else reversed(trainings):
                training.step(*part)


app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
    epilog=examples(
        "python examples/train_separable.py",
        "python examples/train_separable.py --kernel-size 3 --threads 1 --batch 8",
        "python examples/train_separable.py --epochs 10 --out ten.png --json ten.json",
    )
)
def main(
    epochs: Annotated[int, typer.Option(help="How often each image is seen.", min=1)] = 8,
    batch: Annotated[int, typer.Option(help="Images in a step.", min=2)] = 32,
    images: Annotated[int, typer.Option(help="Images to learn from.", min=2)] = 2048,
    size: Annotated[int, typer.Option(help="Their height and width.", min=8)] = 64,
    kernel_size: Annotated[int, typer.Option(help="Of the separable blocks.", min=1)] = 7,
    threads: Annotated[
        int | None, typer.Option(help="Of both networks.  [default: PyTorch's]", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of images, parameters and batches.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("results/training.png"),
    json: Annotated[Path | None, typer.Option(help="A file of every loss and time.")] = None,
) -> int:
    """Train a small network with PyTorch's layers and with ours; exit with 1 if losses disagree."""
    steps = epochs * (images // batch)
    if steps <= WARM_UP_STEPS:
        raise DepthwiseError(
            f"training goes on after its {WARM_UP_STEPS} steps of warm-up; got {steps} steps: "
            f"{epochs} epochs of {images} images, {batch} in a batch"
        )
    for file in filter(None, (out, json)):
        check_writable(file)
    if threads is not None:
        torch.set_num_threads(threads)
    trainings = [Training.begin(layers, kernel_size, seed, steps) for layers in SEPARABLE]
    train(trainings, batches(draw(images, size, seed), batch, epochs, seed), steps)
    test = draw(TEST_IMAGES, size, seed + 1)
    curves = [
        training_report.Curve(
            t.layers, t.losses, t.step_ms[WARM_UP_STEPS:], t.accuracy(test, batch)
        )
        for t in trainings
    ]
    training_report.draw(curves, out)
    if json is not None:
        training_report.write(curves, json)
    return training_report.tell(curves, epochs)


def run() -> None:
    """Run the command line; 2 after one line where the options cannot be followed."""
    try:
        status = app(standalone_mode=False)
    except (DepthwiseError, typer.TyperException) as error:
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        typer.echo(f"train_separable: {message}", err=True)
        status = 2
    sys.exit(status)


if __name__ == "__main__":
    run()
