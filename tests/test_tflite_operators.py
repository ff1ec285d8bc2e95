"""Operators of TFLite, each alone and held against LiteRT."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import depthwise as dw
from onnx_models import assert_close, called, left
from tflite_files import Builder, by_litert, noise

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
NONE, RELU, N1_TO_1, RELU6 = range(4)
IMAGE = (1, 9, 8, 6)


def agrees(data: bytes, *arrays: np.ndarray, close: float = 1e-5):
    """Return the network of a file, having seen that it computes what LiteRT does."""
    network = dw.load(data, threads=1)
    assert_close(called(network, *arrays), by_litert(data, arrays), close)
    return network


def alone(kind, given, made, options=None, *, inputs=1, dtype="float32", x=None, out="float32"):
    """Hold an operator against LiteRT; of what is given, the first few are inputs."""
    net = Builder()
    numbers = [
        net.input(*each.shape, dtype=each.dtype) if position < inputs else net.constant(each)
        for position, each in enumerate(given)
    ]
    shapes = made if isinstance(made, list) else [made]
    outputs = net.op(kind, numbers, *shapes, options=options, dtype=out)
    data = net.file(*(outputs if isinstance(outputs, list) else [outputs]))
    return agrees(data, *given[:inputs])


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(
    ("stride", "dilation"), [((1, 1), (1, 1)), ((2, 1), (1, 1)), ((1, 1), (2, 3))]
)
def test_depthwise(padding, stride, dilation):
    options = schema.DepthwiseConv2DOptionsT(
        padding=padding, strideH=stride[0], strideW=stride[1], depthMultiplier=1,
        dilationHFactor=dilation[0], dilationWFactor=dilation[1], fusedActivationFunction=RELU6,
    )  # fmt: skip
    sides = [
        -(-size // s) if padding == SAME else -(-(size - 2 * d) // s)
        for size, s, d in zip((13, 12), stride, dilation, strict=True)
    ]
    given = [noise(1, 13, 12, 6), noise(1, 3, 3, 6), noise(6)]
    assert left(alone("DEPTHWISE_CONV_2D", given, (1, *sides, 6), options)) == []


def test_several_outputs_a_channel():
    options = schema.DepthwiseConv2DOptionsT(
        padding=SAME, strideH=2, strideW=2, depthMultiplier=3,
        dilationHFactor=1, dilationWFactor=1,
    )  # fmt: skip
    given = [noise(*IMAGE), noise(1, 3, 5, 18), noise(18)]
    alone("DEPTHWISE_CONV_2D", given, (1, 5, 4, 18), options)


@pytest.mark.parametrize("activation", [NONE, RELU, N1_TO_1, RELU6])
def test_convolutions_and_what_is_fused(activation):
    options = schema.Conv2DOptionsT(
        padding=SAME, strideH=2, strideW=2, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=activation,
    )  # fmt: skip
    given = [noise(*IMAGE), noise(4, 3, 3, 6), noise(4)]
    alone("CONV_2D", given, (1, 5, 4, 4), options)


def test_groups():
    options = schema.Conv2DOptionsT(
        padding=VALID, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1
    )
    alone("CONV_2D", [noise(*IMAGE), noise(9, 3, 3, 2), noise(9)], (1, 7, 6, 9), options)


@pytest.mark.parametrize(
    ("padding", "taps", "stride", "size"),
    [(SAME, 3, 2, (18, 16)), (VALID, 3, 2, (19, 17)), (SAME, 4, 2, (18, 16)),
     (SAME, 2, 3, (27, 24)), (VALID, 2, 3, (27, 24)), (SAME, 3, 2, (17, 15))],
)  # fmt: skip
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions(padding, taps, stride, size, bias):
    net = Builder()
    x, w = net.input(*IMAGE), net.constant(noise(5, taps, taps, 6))
    given = [net.constant(np.int32([1, *size, 5])), w, x]
    given += [net.constant(noise(5))] if bias else []
    options = schema.TransposeConvOptionsT(padding=padding, strideH=stride, strideW=stride)
    agrees(net.file(net.op("TRANSPOSE_CONV", given, (1, *size, 5), options=options)), noise(*IMAGE))


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"])
@pytest.mark.parametrize(("padding", "sides"), [(SAME, (5, 4)), (VALID, (4, 3))])
def test_pools(kind, padding, sides):
    options = schema.Pool2DOptionsT(
        padding=padding, strideH=2, strideW=2, filterHeight=3, filterWidth=3,
        fusedActivationFunction=RELU,
    )  # fmt: skip
    alone(kind, [noise(*IMAGE)], (1, *sides, 6), options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "keeps"), [((3, 6), False), ((1, 2, 3, 6), False), ((1, 2, 3, 6), True)]
)
def test_products(shape, keeps, bias):
    options = schema.FullyConnectedOptionsT(fusedActivationFunction=RELU, keepNumDims=keeps)
    given = [noise(*shape), noise(5, 6), *([noise(5)] if bias else [])]
    made = (*shape[:-1], 5) if keeps else (int(np.prod(shape)) // 6, 5)
    alone("FULLY_CONNECTED", given, made, options)


@pytest.mark.parametrize(("adj_x", "adj_y"), [(False, False), (False, True), (True, False)])
def test_products_of_what_is_computed(adj_x, adj_y):
    x, y = noise(2, 3, 4), noise(2, 4, 5)
    given = [x.swapaxes(1, 2).copy() if adj_x else x, y.swapaxes(1, 2).copy() if adj_y else y]
    options = schema.BatchMatMulOptionsT(adjX=adj_x, adjY=adj_y)
    alone("BATCH_MATMUL", given, (2, 3, 5), options, inputs=2)


UNARY = ["ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC", "NEG", "RELU6",
         "RELU", "RELU_N1_TO_1", "RELU_0_TO_1", "ROUND", "SIGN", "SIN", "SQUARE",
         "TANH"]  # fmt: skip


@pytest.mark.parametrize("kind", UNARY)
def test_functions_of_each_element(kind):
    alone(kind, [3 * noise(2, 3, 4, 5)], (2, 3, 4, 5))


@pytest.mark.parametrize("kind", ["LOG", "SQRT", "RSQRT"])
def test_functions_of_what_is_positive(kind):
    alone(kind, [np.abs(noise(2, 3, 4, 5)) + 0.1], (2, 3, 4, 5))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("LEAKY_RELU", schema.LeakyReluOptionsT(alpha=0.3)), ("GELU", schema.GeluOptionsT()),
     ("GELU", schema.GeluOptionsT(approximate=True)), ("SOFTMAX", schema.SoftmaxOptionsT(beta=1.0)),
     ("SOFTMAX", schema.SoftmaxOptionsT(beta=0.5)), ("LOG_SOFTMAX", None),
     ("L2_NORMALIZATION", schema.L2NormOptionsT()),
     ("LOCAL_RESPONSE_NORMALIZATION",
      schema.LocalResponseNormalizationOptionsT(radius=2, bias=1.5, alpha=0.3, beta=0.75))],
)  # fmt: skip
def test_functions_with_options(kind, options):
    alone(kind, [noise(1, 3, 4, 5)], (1, 3, 4, 5), options)


BINARY = {
    "ADD": schema.AddOptionsT(fusedActivationFunction=RELU), "SUB": schema.SubOptionsT(),
    "MUL": schema.MulOptionsT(fusedActivationFunction=RELU6), "DIV": schema.DivOptionsT(),
    "MAXIMUM": None, "MINIMUM": None, "SQUARED_DIFFERENCE": None, "FLOOR_DIV": None,
}  # fmt: skip


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("other", [(2, 3, 4, 5), (5,), (), (1, 3, 4, 1)])
def test_functions_of_two(kind, other):
    given = [noise(2, 3, 4, 5), noise(*other) + np.float32(3)]
    alone(kind, given, (2, 3, 4, 5), BINARY[kind], inputs=2)
    alone(kind, given, (2, 3, 4, 5), BINARY[kind])


@pytest.mark.parametrize(
    "kind", ["EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"]
)
def test_comparisons(kind):
    given = [np.round(noise(3, 4)), np.round(noise(3, 4))]
    alone(kind, given, (3, 4), inputs=2, out="bool")


def test_logic():
    x, y = noise(3, 4) > 0, noise(3, 4) > 0
    alone("LOGICAL_AND", [x, y], (3, 4), inputs=2, out="bool")
    alone("LOGICAL_OR", [x, y], (3, 4), inputs=2, out="bool")
    alone("LOGICAL_NOT", [x], (3, 4), out="bool")
    alone("SELECT_V2", [x, noise(3, 4), noise(4)], (3, 4), inputs=3)
    alone("SELECT", [x, noise(3, 4), noise(3, 4)], (3, 4), inputs=3)


def test_powers_and_sums_of_several():
    alone("POW", [np.abs(noise(3, 4)), noise(3, 4)], (3, 4), inputs=2)
    alone("ADD_N", [noise(3, 4), noise(3, 4), noise(3, 4)], (3, 4), schema.AddNOptionsT(), inputs=3)


@pytest.mark.parametrize("slopes", [(1, 1, 6), (6,)])
def test_slopes_of_channels(slopes):
    alone("PRELU", [noise(*IMAGE), noise(*slopes)], IMAGE)


@pytest.mark.parametrize("kind", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])
@pytest.mark.parametrize(("axes", "made"), [([1, 2], (1, 6)), ([-1], (1, 9, 8)), ([2, 1, 3], (1,))])
def test_reductions(kind, axes, made):
    given = [np.abs(noise(*IMAGE)), np.int32(axes)]
    alone(kind, given, made, schema.ReducerOptionsT(keepDims=False))
    kept = tuple(1 if axis in (a % 4 for a in axes) else size for axis, size in enumerate(IMAGE))
    alone(kind, given, kept, schema.ReducerOptionsT(keepDims=True))


@pytest.mark.parametrize("kind", ["ARG_MAX", "ARG_MIN"])
def test_where_the_largest_is(kind):
    options = getattr(schema, {"ARG_MAX": "ArgMaxOptionsT", "ARG_MIN": "ArgMinOptionsT"}[kind])
    int32 = schema.TensorType.INT32
    given = [noise(2, 3, 5), np.int32(-1)]
    alone(kind, given, (2, 3), options(outputType=int32), out="int32")


def test_sums_so_far():
    options = schema.CumsumOptionsT(exclusive=True, reverse=True)
    alone("CUMSUM", [noise(3, 4), np.int32(1)], (3, 4), options)


def test_largest_of_a_row():
    net = Builder()
    x, k = net.input(3, 7), net.constant(np.int32(2))
    values, where = net.tensor((3, 2)), net.tensor((3, 2), "int32")
    net.op("TOPK_V2", [x, k], values, where)
    agrees(net.file(values, where), noise(3, 7))


@pytest.mark.parametrize(
    ("kind", "given", "made", "options"),
    [
        ("RESHAPE", [np.int32([2, -1])], (2, 216), None),
        ("RESHAPE", [], (6, 72), schema.ReshapeOptionsT(newShape=[6, 72])),
        ("SQUEEZE", [], (9, 8, 6), schema.SqueezeOptionsT(squeezeDims=[0])),
        ("SQUEEZE", [], (9, 8, 6), schema.SqueezeOptionsT()),
        ("EXPAND_DIMS", [np.int32(1)], (1, 1, 9, 8, 6), None),
        ("TRANSPOSE", [np.int32([0, 3, 1, 2])], (1, 6, 9, 8), None),
        ("SLICE", [np.int32([0, 2, 0, 1]), np.int32([1, 5, -1, 3])], (1, 5, 8, 3), None),
        ("REVERSE_V2", [np.int32([1])], IMAGE, None),
        ("GATHER", [np.int32([3, 0, 3])], (1, 3, 8, 6), schema.GatherOptionsT(axis=1)),
        ("GATHER_ND", [np.int32([[0, 3], [0, 5]])], (2, 8, 6), None),
        ("PAD", [np.int32([[0, 0], [1, 2], [3, 0], [0, 0]])], (1, 12, 11, 6), None),
        ("PAD", [np.int32([[0, 0], [0, 0], [0, 0], [0, 4]])], (1, 9, 8, 10), None),
        ("PADV2", [np.int32([[0, 0], [1, 2], [3, 0], [0, 0]]), np.float32(-7)], (1, 12, 11, 6),
         None),
        ("MIRROR_PAD", [np.int32([[0, 0], [1, 2], [3, 0], [0, 0]])], (1, 12, 11, 6),
         schema.MirrorPadOptionsT(mode=0)),
        ("MIRROR_PAD", [np.int32([[0, 0], [1, 2], [3, 0], [0, 0]])], (1, 12, 11, 6),
         schema.MirrorPadOptionsT(mode=1)),
        ("SPACE_TO_DEPTH", [], (1, 3, 4, 36), None),
        ("SPACE_TO_BATCH_ND", [np.int32([2, 4]), np.int32([[1, 0], [0, 0]])], (8, 5, 2, 6), None),
        ("TILE", [np.int32([2, 1, 1, 3])], (2, 9, 8, 18), None),
        ("BROADCAST_TO", [np.int32([3, 9, 8, 6])], (3, 9, 8, 6), None),
    ],
)  # fmt: skip
def test_what_moves_elements(kind, given, made, options):
    if kind == "SPACE_TO_DEPTH":
        options = schema.SpaceToDepthOptionsT(blockSize=2)
        alone(kind, [noise(1, 6, 8, 9)], made, options)
        return
    alone(kind, [noise(*IMAGE), *given], made, options)


def test_pixels_of_channels_and_of_batches():
    alone(
        "DEPTH_TO_SPACE",
        [noise(1, 3, 4, 12)],
        (1, 6, 8, 3),
        schema.DepthToSpaceOptionsT(blockSize=2),
    )
    given = [noise(8, 5, 2, 6), np.int32([2, 4]), np.int32([[1, 0], [0, 0]])]
    alone("BATCH_TO_SPACE_ND", given, (1, 9, 8, 6))


@pytest.mark.parametrize(
    ("bounds", "made", "masks"),
    [
        (([0, 1, 0, 0], [1, 9, 8, 6], [1, 2, 1, 1]), (1, 4, 8, 6), {}),
        (([0, -2, 0, 0], [0, 0, 0, 3], [1, 1, 1, 1]), (1, 2, 8, 3), {"endMask": 7, "beginMask": 1}),
        (([0, 3, 0, 0], [1, 4, 8, 6], [1, 1, 1, 1]), (1, 8, 6), {"shrinkAxisMask": 2}),
        (([0, -1, 0, 0], [1, 0, 8, 6], [1, 1, 1, 1]), (1, 8, 6), {"shrinkAxisMask": 2}),
        (([0, 8, 0, 0], [1, 0, 8, 6], [1, -1, 1, 1]), IMAGE, {"endMask": 2}),
        (([0, 8, 0, 0], [1, 2, 8, 6], [1, -3, 1, 1]), (1, 2, 8, 6), {}),
        (([0, 1], [0, 3], [1, 1]), (1, 9, 8, 2), {"ellipsisMask": 1}),
        (([0, 0], [1, 0], [1, 1]), (1, 1, 9, 8, 6), {"newAxisMask": 2, "endMask": 1}),
    ],
)  # fmt: skip
def test_slices_by_steps(bounds, made, masks):
    alone(
        "STRIDED_SLICE", [noise(*IMAGE), *map(np.int32, bounds)], made,
        schema.StridedSliceOptionsT(**masks),
    )  # fmt: skip


def test_parts():
    net = Builder()
    x, axis = net.input(*IMAGE), net.constant(np.int32(3))
    parts = net.op(
        "SPLIT", [axis, x], *[(1, 9, 8, 2)] * 3, options=schema.SplitOptionsT(numSplits=3)
    )
    sizes = net.constant(np.int32([4, -1]))
    others = net.op(
        "SPLIT_V", [x, sizes, axis], (1, 9, 8, 4), (1, 9, 8, 2),
        options=schema.SplitVOptionsT(numSplits=2),
    )  # fmt: skip
    picked = net.op("UNPACK", [x], *[(1, 9, 6)] * 8, options=schema.UnpackOptionsT(num=8, axis=2))
    agrees(net.file(*parts, *others, *picked), noise(*IMAGE))


def test_together():
    given = [noise(*IMAGE), noise(*IMAGE)]
    concat = schema.ConcatenationOptionsT(axis=-1)
    alone("CONCATENATION", given, (1, 9, 8, 12), concat, inputs=2)
    pack = schema.PackOptionsT(valuesCount=2, axis=1)
    alone("PACK", given, (1, 2, 9, 8, 6), pack, inputs=2)


@pytest.mark.parametrize(("align", "half"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("size", [(18, 16), (5, 6), (20, 9), (1, 1)])
def test_other_sizes(align, half, size):
    given = [noise(*IMAGE), np.int32(size)]
    made = (1, *size, 6)
    linear = schema.ResizeBilinearOptionsT(alignCorners=align, halfPixelCenters=half)
    alone("RESIZE_BILINEAR", given, made, linear)
    nearest = schema.ResizeNearestNeighborOptionsT(alignCorners=align, halfPixelCenters=half)
    alone("RESIZE_NEAREST_NEIGHBOR", given, made, nearest)


def test_shapes_and_types():
    alone("SHAPE", [noise(*IMAGE)], (4,), schema.ShapeOptionsT(outType=2), out="int32")
    alone("CAST", [3 * noise(3, 4)], (3, 4), out="int32")
    alone("FILL", [np.int32([2, 3]), np.float32(5)], (2, 3), inputs=0)


def test_weights_of_half_precision():
    net = Builder()
    x = net.input(*IMAGE)
    w = net.op("DEQUANTIZE", [net.constant(noise(1, 3, 3, 6, dtype="float16"))], (1, 3, 3, 6))
    b = net.op("DEQUANTIZE", [net.constant(noise(6, dtype="float16"))], (6,))
    options = schema.DepthwiseConv2DOptionsT(
        padding=SAME, strideH=1, strideW=1, depthMultiplier=1, dilationHFactor=1, dilationWFactor=1
    )
    y = net.op("DEPTHWISE_CONV_2D", [x, w, b], IMAGE, options=options)
    assert left(agrees(net.file(y), noise(*IMAGE))) == []
