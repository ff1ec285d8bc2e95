"""Training with the modules as it is done: several processes and threads, checkpoints, workers."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrizations import weight_norm

from depthwise.torch import DepthwiseConv2d, PointwiseConv2d, SeparableConv2d

CLOSE = {"rtol": 1e-11, "atol": 1e-13}
"""float64, beside which sums of some thousand terms differ by their order alone."""
PROCESSES = 2


class TorchSeparable(nn.Sequential):
    def __init__(self, channels, out_channels, kernel_size, **window):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel_size, groups=channels, **window)
        self.pointwise = nn.Conv2d(channels, out_channels, 1)


LAYERS = {
    "torch": (
        TorchSeparable,
        lambda c, o: nn.Conv2d(c, o, 3, groups=c),
        lambda c, o: nn.Conv2d(c, o, 1),
    ),
    "ours": (SeparableConv2d, lambda c, o: DepthwiseConv2d(c, o, 3), PointwiseConv2d),
}


def network(layers="ours", seed=0):
    """Return a small network in float64 whose parameters have the same names for both layers."""
    torch.manual_seed(seed)
    separable, depthwise, pointwise = LAYERS[layers]
    return nn.Sequential(
        separable(3, 8, 3, stride=2, padding=1), nn.ReLU(), depthwise(8, 16), nn.SiLU(),
        pointwise(16, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).double()  # fmt: skip


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 12, 10, dtype=torch.float64, generator=generator)
    return images, torch.randint(4, (8,), generator=generator)


def loss_of(model, images, classes):
    return nn.functional.cross_entropy(model(images), classes)


def gradients(model, images, classes):
    return torch.autograd.grad(loss_of(model, images, classes), list(model.parameters()))


def steps(model, optimizer, seeds):
    """Return the losses of some steps."""
    losses = []
    for seed in seeds:
        optimizer.zero_grad()
        loss = loss_of(model, *batch(seed))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def learn_from_a_share(rank, folder):
    """Compute gradients from one share of the batch, as one process of several."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), PROCESSES)
    distributed.init_process_group(
        "gloo", store=store, rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=60)
    )
    model = DistributedDataParallel(network(seed=rank))  # the first one's parameters are sent round
    loss_of(model, *(part.chunk(PROCESSES)[rank] for part in batch())).backward()
    torch.save([parameter.grad for parameter in model.parameters()], folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_processes_find_the_gradients_of_the_whole_batch(tmp_path):
    share = [part.chunk(PROCESSES)[0] for part in batch()]
    gradients(network(), *share)  # compiled once, for all of them
    spawn(learn_from_a_share, (tmp_path,), PROCESSES)
    expected = gradients(network(), *batch())
    for rank in range(PROCESSES):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found, list(expected), **CLOSE)


@pytest.mark.parametrize(("before", "after"), [("torch", "ours"), ("ours", "torch")])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_training_goes_on_with_the_other_layers(before, after, optimizer):
    def begin(layers, seed):
        model = network(layers, seed)
        options = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
        return model, optimizer(model.parameters(), lr=0.05, **options)

    first, file = begin(before, seed=0), io.BytesIO()
    steps(*first, seeds=range(3))
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = begin(after, seed=1)
    for part, state in zip(second, torch.load(file), strict=True):
        part.load_state_dict(state)
    expected = steps(*first, seeds=range(3, 7))
    assert len(set(expected)) == 4
    assert steps(*second, seeds=range(3, 7)) == pytest.approx(expected, rel=1e-10)


WORKERS = """
import torch
from torch.utils.data import DataLoader, Dataset
from depthwise.torch import SeparableConv2d

torch.set_num_threads(2)
torch.manual_seed(0)
module = SeparableConv2d(16, 32, 3, padding=1)
images = torch.randn(6, 16, 40, 40)
module(images).sum().backward()

class Filtered(Dataset):
    def __len__(self):
        return len(images)
    def __getitem__(self, index):
        leaf = images[index].clone().requires_grad_()
        output = module(leaf)
        output.square().sum().backward()
        return output.detach(), leaf.grad

expected = [Filtered()[index] for index in range(len(images))]
loader = DataLoader(Filtered(), batch_size=None, num_workers=2, multiprocessing_context="fork")
for found in (list(loader), [Filtered()[index] for index in range(len(images))]):
    torch.testing.assert_close(found, expected)
print(len(found))
"""


def test_forked_workers_of_a_loader_compute():
    """The workers are forked after the team of threads was started, and it serves afterwards."""
    module = SeparableConv2d(16, 32, 3, padding=1)
    for x in (torch.randn(6, 16, 40, 40), torch.randn(16, 40, 40, requires_grad=True)):
        module(x).sum().backward()  # compiled here, where the compiler is loaded
    done = subprocess.run(
        [sys.executable, "-c", WORKERS], capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout == "6\n"


def test_threads_learn_at_once():
    model = network()
    expected = [gradients(model, *batch(seed)) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda turn: gradients(model, *batch(turn % 4)), range(40)))
    for turn, each in enumerate(found):
        torch.testing.assert_close(each, expected[turn % 4], **CLOSE)


def test_a_normalised_weight_learns():
    """A parametrized weight is another tensor at each call."""
    losses = []
    for layers in ("torch", "ours"):
        model = network(layers)
        for part in (model[0].depthwise, model[0].pointwise, model[2]):
            weight_norm(part)
        losses.append(steps(model, torch.optim.SGD(model.parameters(), lr=0.5), [0] * 6))
    assert losses[1] == pytest.approx(losses[0], rel=1e-10)
    assert losses[1] == sorted(losses[1], reverse=True)
    assert losses[1][-1] < 0.99 * losses[1][0]
