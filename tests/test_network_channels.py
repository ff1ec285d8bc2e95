"""Concatenation, slices, splits and shuffles of channels in networks: one copy each, or none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from depthwise.network.channels import picked
from depthwise.network.saved.machine_code import collected
from depthwise.network.steps import Stage
from depthwise.problem.gathers import Run
from onnx_models import checked, left, model, node, noise, port

X = port("x", (2, 8, 6, 5))
IMAGE = noise(2, 8, 6, 5)
CONSTANTS = {"p": noise(8, 8, 1, 1), "q": noise(8, 16, 1, 1), "h": noise(8, 4, 1, 1)}


def gathers(network):
    """Return what each kernel that gathers channels gathers."""
    specs = [step.work.spec for step in network.program.steps if isinstance(step.work, Stage)]
    return [str(spec).split("nhwc ")[1] for spec in specs if spec.kind == "gather"]


def conv(inputs, output, weight="p"):
    return node("Conv", f"{inputs} {weight}", output)


def test_a_concatenation_between_convolutions_is_one_kernel():
    nodes = [conv("x", "a"), conv("a", "b"), node("Concat", "a b", "c", axis=1),
             conv("c", "y", "q")]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], CONSTANTS), IMAGE)
    assert gathers(network) == ["a[0:8] b[0:8]"]
    assert left(network) == []


def test_concatenations_of_concatenations_copy_each_channel_once():
    nodes = [conv("x", "a"), conv("a", "b"), node("Concat", "a b", "c", axis=1),
             node("Concat", "c x", "d", axis=1), conv("d", "y", "w")]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], CONSTANTS | {"w": noise(8, 24, 1, 1)}), IMAGE)
    assert gathers(network) == ["a[0:8] b[0:8] c[0:8]"]
    assert left(network) == []


def test_a_concatenation_that_is_used_otherwise_as_well_is_gathered_for_both():
    nodes = [conv("x", "a"), conv("a", "b"), node("Concat", "a b", "c", axis=1),
             conv("c", "d", "q"), node("Concat", "c d", "y", axis=1)]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], CONSTANTS), IMAGE)
    assert gathers(network) == ["a[0:8] b[0:8]", "a[0:16] b[0:8]"]
    assert left(network) == []


def test_a_split_that_is_put_together_again_is_nothing():
    nodes = [conv("x", "a"), node("Split", "a four", "b c", axis=1),
             node("Concat", "b c", "d", axis=1), conv("d", "y")]  # fmt: skip
    constants = CONSTANTS | {"four": np.array([4, 4])}
    network = checked(model(nodes, [X], ["y"], constants), IMAGE)
    assert gathers(network) == []
    assert left(network) == []


def test_the_parts_of_a_split_are_kernels_of_their_own():
    nodes = [conv("x", "a"), node("Split", "a four", "b c", axis=1), conv("b", "d", "h"),
             conv("c", "e", "h"), node("Add", "d e", "y")]  # fmt: skip
    constants = CONSTANTS | {"four": np.array([4, 4])}
    network = checked(model(nodes, [X], ["y"], constants), IMAGE)
    assert gathers(network) == ["a[0:4]", "a[4:8]"]
    assert left(network) == []


def test_a_slice_counts_from_the_end_and_stops_there():
    nodes = [conv("x", "a"), node("Slice", "a start end axis", "b"), conv("b", "y", "h")]
    ends = {"start": np.array([-4]), "end": np.array([2**62]), "axis": np.array([-3])}
    network = checked(model(nodes, [X], ["y"], CONSTANTS | ends), IMAGE)
    assert gathers(network) == ["a[4:8]"]
    assert left(network) == []


def shuffle(x, y, groups=2):
    """Return the nodes of a shuffle of 8 channels, with the constants that they take."""
    apart, back = f"{y}_apart", f"{y}_back"
    shape = np.array([2, groups, 8 // groups, 6, 5])
    return [
        node("Reshape", f"{x} {apart}", f"{y}1"),
        node("Transpose", f"{y}1", f"{y}2", perm=[0, 2, 1, 3, 4]),
        node("Reshape", f"{y}2 {back}", y),
    ], {apart: shape, back: np.array([2, 8, 6, 5])}


def test_what_is_concatenated_shuffled_and_split_is_one_copy_for_each_part():
    nodes, constants = shuffle("c", "d")
    nodes = [conv("x", "a", "h4"), conv("a", "b", "h44"), node("Concat", "a b", "c", axis=1),
             *nodes, node("Split", "d four", "e f", axis=1), conv("e", "g", "h"),
             conv("f", "k", "h"), node("Mul", "g k", "y")]  # fmt: skip
    constants |= {"h4": noise(4, 8, 1, 1), "h44": noise(4, 4, 1, 1), "four": np.array([4, 4])}
    network = checked(model(nodes, [X], ["y"], CONSTANTS | constants), IMAGE)
    assert gathers(network) == ["a[0:2]/b[0:2]", "a[2:4]/b[2:4]"]
    assert left(network) == []


def test_another_permutation_of_groups_is_no_shuffle():
    nodes, constants = shuffle("a", "b")
    nodes[1].attribute[0].ints[:] = [0, 2, 1, 4, 3]
    constants["b_back"] = np.array([2, 8, 5, 6])
    network = checked(
        model([conv("x", "a"), *nodes, conv("b", "y")], [X], ["y"], CONSTANTS | constants), IMAGE
    )
    assert gathers(network) == []


@pytest.mark.parametrize(
    "made",
    [
        node("Concat", "a a", "b", axis=2),
        node("Slice", "a one six two one", "b"),
    ],
    ids=["rows", "slice of rows"],
)
def test_what_is_no_gathering_of_channels_stays_as_it_is(made):
    numbers = {"one": np.array([1]), "two": np.array([2]), "six": np.array([6])}
    network = checked(model([conv("x", "a"), made], [X], ["b"], CONSTANTS | numbers), IMAGE)
    assert gathers(network) == []
    assert len(left(network)) == 1


def test_every_second_channel_is_gathered():
    nodes = [conv("x", "a"), node("Slice", "a one eight one two", "b"), conv("b", "y", "h")]
    numbers = {"one": np.array([1]), "two": np.array([2]), "eight": np.array([8])}
    network = checked(model(nodes, [X], ["y"], CONSTANTS | numbers), IMAGE)
    assert gathers(network) == ["a[1:2] a[3:4] a[5:6] a[7:8]"]
    assert left(network) == []


def test_what_is_the_same_in_each_call_is_concatenated_too():
    nodes = [conv("x", "a"), node("Concat", "fixed a", "b", axis=1), conv("b", "y", "q")]
    network = checked(model(nodes, [X], ["y"], CONSTANTS | {"fixed": noise(2, 8, 6, 5)}), IMAGE)
    assert gathers(network) == ["a[0:8] b[0:8]"]
    assert left(network) == []


def test_channels_last_concatenations_are_of_channels():
    nodes = [conv("x", "a"), node("Transpose", "a", "b", perm=[0, 2, 3, 1]),
             node("Relu", "b", "c"), node("Concat", "b c", "d", axis=-1),
             node("Transpose", "d", "e", perm=[0, 3, 1, 2]), conv("e", "y", "q")]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], CONSTANTS), IMAGE)
    assert gathers(network) == ["a[0:8] b[0:8]"]
    assert left(network) == []


def test_channels_become_the_longest_runs():
    image, channel = np.zeros(9, int), np.array([4, 5, 6, 0, 8, 1, 9, 2, 3])
    assert picked(image, channel) == (
        (Run(0, 4, 7),),
        (Run(0, 0, 2), Run(0, 8, 10)),
        (Run(0, 2, 4),),
    )


class Random(nn.Module):
    """A random graph of what gathers channels and of what computes between."""

    def __init__(self, draw):
        super().__init__()
        self.steps, self.layers, channels = [], nn.ModuleList(), [8]
        for _ in range(draw(st.integers(2, 9))):
            step = draw(st.sampled_from(["conv", "cat", "chunk", "narrow", "shuffle", "relu"]))
            taken = [
                draw(st.integers(0, len(channels) - 1)) for _ in range(draw(st.integers(2, 3)))
            ]
            x = taken[0]
            if step == "conv":
                self.layers.append(nn.Conv2d(channels[x], draw(st.integers(1, 12)), 1))
                made = [self.layers[-1].out_channels]
            elif step == "cat":
                made = [sum(channels[each] for each in taken)]
            elif step == "chunk":
                made = [part.shape[0] for part in torch.empty(channels[x]).chunk(2)]
            elif step == "narrow":
                start = draw(st.integers(0, channels[x] - 1))
                taken = [x, start, draw(st.integers(1, channels[x] - start))]
                made = [taken[2]]
            elif step == "shuffle":
                divisors = [n for n in range(1, channels[x] + 1) if channels[x] % n == 0]
                taken = [x, draw(st.sampled_from(divisors))]
                made = [channels[x]]
            else:
                made = [channels[x]]
            self.steps.append((step, taken))
            channels += made

    def forward(self, x):
        values, layers = [x], iter(self.layers)
        for step, taken in self.steps:
            first = values[taken[0]]
            if step == "conv":
                values.append(next(layers)(first))
            elif step == "cat":
                values.append(torch.cat([values[each] for each in taken], 1))
            elif step == "chunk":
                values += first.chunk(2, 1)
            elif step == "narrow":
                values.append(first[:, taken[1] : taken[1] + taken[2]])
            elif step == "shuffle":
                n, c, h, w = first.shape
                apart = first.view(n, taken[1], c // taken[1], h, w)
                values.append(apart.transpose(1, 2).reshape(n, c, h, w))
            else:
                values.append(torch.relu(first))
        return [*values[-3:], torch.cat(values[1:], 1)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_graphs_are_computed_right(data):
    from depthwise.torch import optimize

    network = Random(data.draw).double().eval()
    x = torch.randn(2, 8, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        wanted = network(x)
        got = optimize(network, x)(x)
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 3, 16, 17])
@pytest.mark.parametrize("order", ["C", "F"])
def test_inputs_lie_in_any_order(channels, order):
    nodes = [node("Conv", "x p", "y")]
    image = np.asarray(noise(3, channels, 5, 7), order=order)
    checked(model(nodes, [port("x", (3, channels, 5, 7))], ["y"],
                  {"p": noise(4, channels, 1, 1)}), image)  # fmt: skip


def test_machine_code_of_a_file_is_that_of_runs_of_channels():
    nodes = [conv("x", "a"), conv("a", "b"), node("Concat", "a b", "c", axis=1),
             conv("c", "y", "q")]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], CONSTANTS), IMAGE)
    described, _ = collected(network.program)
    kernels = {each["kernel"] for each in described["kernels"]}
    execution = network.execution([IMAGE])
    assert {str(kernel.spec) for kernel in execution.kernels().values()} <= kernels
    assert any(" y@16" in kernel for kernel in kernels)
