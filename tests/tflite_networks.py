"""Small networks of TFLite."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_files import Builder, noise

SAME = schema.Padding.SAME
RELU6 = schema.ActivationFunctionType.RELU6


def convolution(stride: int = 1, activation: int = RELU6) -> schema.Conv2DOptionsT:
    return schema.Conv2DOptionsT(
        padding=SAME, strideH=stride, strideW=stride, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=activation,
    )  # fmt: skip


def depthwise(stride: int = 1) -> schema.DepthwiseConv2DOptionsT:
    return schema.DepthwiseConv2DOptionsT(
        padding=SAME, strideH=stride, strideW=stride, dilationHFactor=1, dilationWFactor=1,
        depthMultiplier=1, fusedActivationFunction=RELU6,
    )  # fmt: skip


def small(batch: int | None = 1) -> bytes:
    """Return a stem, an inverted residual block, a mean and a classifier, for 12x12 images."""
    net = Builder()
    x = _tensor(net, batch, 12, 12, 3, name="image")
    net.inputs.append(x)
    weights = [noise(8, 3, 3, 3), noise(16, 1, 1, 8), noise(1, 3, 3, 16), noise(8, 1, 1, 16)]
    names = [(net.constant(0.3 * w), net.constant(noise(w.shape[3 if len(w) == 1 else 0])))
             for w in weights]  # fmt: skip
    stem = net.op("CONV_2D", [x, *names[0]], _tensor(net, batch, 6, 6, 8), options=convolution(2))
    wide = net.op(
        "CONV_2D", [stem, *names[1]], _tensor(net, batch, 6, 6, 16), options=convolution()
    )
    deep = net.op(
        "DEPTHWISE_CONV_2D", [wide, *names[2]], _tensor(net, batch, 6, 6, 16), options=depthwise()
    )
    back = net.op(
        "CONV_2D",
        [deep, *names[3]],
        _tensor(net, batch, 6, 6, 8),
        options=convolution(activation=0),
    )
    both = net.op("ADD", [stem, back], _tensor(net, batch, 6, 6, 8), options=schema.AddOptionsT())
    mean = net.op(
        "MEAN", [both, net.constant(np.int32([1, 2]))], _tensor(net, batch, 8),
        options=schema.ReducerOptionsT(keepDims=False),
    )  # fmt: skip
    given = [mean, net.constant(noise(5, 8)), net.constant(noise(5))]
    made = net.op(
        "FULLY_CONNECTED", given, _tensor(net, batch, 5), options=schema.FullyConnectedOptionsT()
    )
    scores = _tensor(net, batch, 5, name="scores")
    net.op("SOFTMAX", [made], scores, options=schema.SoftmaxOptionsT(beta=1.0))
    return net.file(scores)


def _tensor(net: Builder, batch: int | None, *sizes: int, name: str = "") -> int:
    """Return a tensor of so many images, or of any number."""
    signature = (-1, *sizes) if batch is None else None
    return net.tensor((batch or 1, *sizes), name=name, signature=signature)
