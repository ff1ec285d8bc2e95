"""Graphs that are legal and strange: each computes what ONNX Runtime does."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from depthwise.errors import ModelError
from depthwise.loading import load
from onnx_models import (
    assert_close,
    by_runtime,
    called,
    checked,
    left,
    model,
    node,
    noise,
    port,
)

X = port("x", (1, 8, 6, 6))
IMAGE = noise(1, 8, 6, 6)
POINT = noise(8, 8, 1, 1)
DEPTH = noise(8, 1, 3, 3)


def depthwise(inputs: str, output: str, **attributes):
    return node("Conv", inputs, output, pads=[1, 1, 1, 1], group=8, **attributes)


def test_a_value_used_twice_and_an_output_used_inside():
    nodes = [depthwise("x w", "a"), node("Relu", "a", "b"), node("Add", "a b", "c"),
             node("Conv", "c p", "d"), node("Add", "d a", "e")]  # fmt: skip
    checked(model(nodes, [X], ["a", "e", "d"], {"w": DEPTH, "p": POINT}), IMAGE)


def test_the_same_value_twice_in_an_operator():
    nodes = [node("Conv", "x p", "a"), node("Add", "a a", "b"), node("Mul", "b b", "c")]
    checked(model(nodes, [X], ["c"], {"p": POINT}), IMAGE)


def test_an_output_twice():
    made = model([node("Conv", "x p", "a")], [X], ["a"], {"p": POINT})
    made.graph.output.append(port("a", None))
    first, second = called(load(made), IMAGE)
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, second)


def test_an_input_as_output():
    nodes = [node("Conv", "x p", "a")]
    network = checked(model(nodes, [X], ["x", "a"], {"p": POINT}), IMAGE)
    assert left(network) == []
    assert not np.shares_memory(called(network, IMAGE)[0], IMAGE)


def test_a_constant_as_output():
    nodes = [node("Conv", "x p", "a"), node("Constant", "", "k", value_floats=[1.0, 2.0]),
             node("Neg", "p", "n")]  # fmt: skip
    network = checked(model(nodes, [X], ["a", "k", "n", "p"], {"p": POINT}), IMAGE)
    called(network, IMAGE)[3][:] = 0
    assert called(network, IMAGE)[3].any()


def test_no_nodes_at_all():
    network = checked(model([], [X], [port("x", None)]), IMAGE)
    assert network.program.steps == ()


def test_unused_nodes_and_inputs():
    nodes = [node("Conv", "x p", "a"), node("Exp", "x", "unused"), node("Tanh", "y", "unused2")]
    inputs = [X, port("y", (3,))]
    network = checked(model(nodes, inputs, ["a"], {"p": POINT}), IMAGE, noise(3))
    assert left(network) == []


def test_optional_inputs_left_out_in_the_middle():
    nodes = [node("Conv", "x p", "a"), node("Clip", "a - high", "b"),
             node("Resize", "b - scales", "c", mode="nearest")]  # fmt: skip
    constants = {"p": POINT, "high": np.float32(0.5), "scales": np.float32([1, 1, 2, 2])}
    checked(model(nodes, [X], ["c"], constants), IMAGE)


@pytest.mark.parametrize("ir", [3, 4, 8])
def test_initializers_that_are_inputs(ir):
    """They are constants, as in ONNX before IR 4; the network does not take them."""
    ports = [X, port("w", DEPTH.shape), port("b", (8,))]
    nodes = [depthwise("x w b", "a"), node("Add", "a k", "c"), node("Relu", "c", "d")]
    constants = {"w": DEPTH, "b": noise(8), "k": noise(8, 1, 1)}
    if ir == 3:
        ports.append(port("k", (8, 1, 1)))
    network = checked(model(nodes, ports, ["d"], constants, opset=8, ir=ir), IMAGE)
    assert [each.name for each in network.inputs] == ["x"]
    assert left(network) == []


def test_names_as_ours():
    """A file may call its values what written models call theirs."""
    names = ["in0@depthwise", "out0@depthwise", "1@depthwise", "x:nhwc"]
    constants = {"p": POINT}
    nodes = [node("Conv", "x p", names[0]), node("Tanh", names[0], names[1]),
             node("Erf", names[1], names[2]), node("Conv", f"{names[2]} p", names[3]),
             node("Tanh", names[3], "in0")]  # fmt: skip
    checked(model(nodes, [X], ["in0", names[1]], constants), IMAGE)


def branches(then: list, other: list, output: str):
    made = [helper.make_graph(nodes, name, [], [port(output, None)])
            for nodes, name in ((then, "then"), (other, "other"))]  # fmt: skip
    return {"then_branch": made[0], "else_branch": made[1]}


@pytest.mark.parametrize("flag", [True, False])
def test_if_with_captured_values(flag):
    """Values that passes replace too: the relu behind the convolution is in its kernel."""
    both = branches([node("Tanh", "b", "y")], [node("Add", "b c", "y")], "y")
    nodes = [depthwise("x w", "a"), node("Relu", "a", "b"), node("Identity", "b", "c"),
             node("If", "flag", "d", **both), node("Conv", "d p", "e"),
             node("If", "flag", "f", **both)]  # fmt: skip
    inputs = [X, port("flag", (), "bool")]
    made = model(nodes, inputs, ["e", "f"], {"w": DEPTH, "p": POINT})
    checked(made, IMAGE, np.array(flag))


def test_if_of_a_constant_with_chance_in_it():
    """What draws numbers is not computed beforehand."""
    both = branches([node("RandomNormal", "", "y", shape=[4])], [node("Identity", "k", "y")], "y")
    nodes = [node("Constant", "", "flag", value=helper.make_tensor("f", TensorProto.BOOL, [], [1])),
             node("If", "flag", "r", **both), node("Add", "x r", "z")]  # fmt: skip
    network = load(model(nodes, [port("x", (4,))], ["z"], {"k": noise(4)}))
    first, second = network(noise(4) * 0), network(noise(4) * 0)
    assert (first != second).all()


def loop_body():
    nodes = [node("Add", "state b", "next"), node("Identity", "go", "again"),
             node("Identity", "next", "seen")]  # fmt: skip
    ports = [port("count", (), "int64"), port("go", (), "bool"), port("state", None)]
    outputs = [port("again", (), "bool"), port("next", None), port("seen", None)]
    return helper.make_graph(nodes, "body", ports, outputs)


def test_loop_with_captured_values():
    nodes = [node("Conv", "x p", "a"), node("Relu", "a", "b"),
             node("Loop", "times yes a", "last all", body=loop_body()),
             node("Conv", "last p", "y")]  # fmt: skip
    constants = {"p": POINT, "times": np.int64(3), "yes": np.array(True)}
    checked(model(nodes, [X], ["y", "all"], constants), IMAGE)


def test_scan_and_a_branch_within_a_branch():
    inner = branches([node("Neg", "b", "z")], [node("Abs", "b", "z")], "z")
    outer = branches([node("If", "flag", "y", **inner)], [node("Exp", "b", "y")], "y")
    body = helper.make_graph(
        [node("Add", "sum row", "more"), node("Mul", "row b", "out")], "body",
        [port("sum", (6,)), port("row", (6,))], [port("more", (6,)), port("out", (1, 8, 6, 6))],
    )  # fmt: skip
    nodes = [node("Conv", "x p", "a"), node("Relu", "a", "b"), node("If", "flag", "c", **outer),
             node("Scan", "start rows", "d e", body=body, num_scan_inputs=1)]  # fmt: skip
    constants = {"p": POINT, "start": noise(6), "rows": noise(5, 6)}
    made = model(nodes, [X, port("flag", (), "bool")], ["c", "d", "e"], constants)
    checked(made, IMAGE, np.array(True))


def test_functions_of_the_file():
    function = helper.make_function(
        "own", "Twice", ["v"], ["w"], [node("Add", "v v", "s"), node("Relu", "s", "w")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    twice = helper.make_node("Twice", ["a"], ["b"], domain="own")
    made = model([node("Conv", "x p", "a"), twice], [X], ["b"], {"p": POINT}, functions=[function])
    made.opset_import.append(helper.make_opsetid("own", 1))
    checked(made, IMAGE)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 24, 25])
def test_opsets(opset):
    """The same network in each opset: attributes became inputs, and changed their meaning."""
    at_once = {"ir": 8 if opset < 20 else 10, "opset": opset}
    late = {11: "clip pad", 13: "squeeze", 18: "mean"}
    inputs = {word for since, words in late.items() if opset >= since for word in words.split()}
    constants = {"p": POINT, "w": noise(8, 1, 3, 3), "scale": noise(8), "shift": noise(8),
                 "mean": noise(8), "variance": np.abs(noise(8)) + 1}  # fmt: skip
    nodes = []

    def add(operator, taken, made, word, name, values, dtype):
        """Add a node with an attribute, or with the input that it became."""
        if word in inputs:
            constants[made + name] = np.array(values, dtype)
            nodes.append(node(operator, f"{taken} {made}{name}", made))
        else:
            nodes.append(node(operator, taken, made, **{name: values}))

    add("Pad", "x", "a", "pad", "pads", [0, 0, 1, 1, 0, 0, 1, 1], "int64")
    nodes.append(node("Conv", "a w", "b", group=8))
    nodes.append(node("BatchNormalization", "b scale shift mean variance", "c"))
    if "clip" in inputs:
        constants |= {"low": np.float32(0), "high": np.float32(6)}
        nodes.append(node("Clip", "c low high", "d"))
    else:
        nodes.append(node("Clip", "c", "d", min=0.0, max=6.0))
    if 7 <= opset <= 9:
        scales = {"scales": [1.0, 1.0, 2.0, 2.0]} if opset < 9 else {}
        constants |= {} if scales else {"scales": np.float32([1, 1, 2, 2])}
        nodes.append(node("Upsample", "d" if scales else "d scales", "e", mode="nearest", **scales))
    else:
        constants |= {"roi": np.float32([]), "scales": np.float32([1, 1, 2, 2])}
        taken = "d scales" if opset == 10 else "d roi scales"
        nodes.append(node("Resize", taken, "e", mode="nearest"))
    nodes.append(node("Conv", "e p", "f"))
    add("ReduceMean", "f", "g", "mean", "axes", [-1, -2], "int64")
    add("Squeeze", "g", "h", "squeeze", "axes", [2, 3], "int64")
    add("Unsqueeze", "h", "i", "squeeze", "axes", [2, 3], "int64")
    nodes.append(node("Dropout", "i", "j"))
    nodes.append(node("Flatten", "j", "k"))
    nodes.append(node("Gemm", "k m v", "y", transB=1))
    constants |= {"m": noise(5, 8), "v": noise(5)}
    network = checked(model(nodes, [X], ["y"], constants, **at_once), IMAGE)
    assert left(network) == []


def old(operator: str, slope: np.ndarray, **attributes):
    """Return a model of opset 6."""
    nodes = [node("Conv", "x p", "a"), node(operator, "a k", "b", **attributes)]
    inputs = [X, port("p", POINT.shape), port("k", slope.shape)]
    out = [port("b", (1, 8, 6, 6))]
    return model(nodes, inputs, out, {"p": POINT, "k": slope}, opset=6, ir=3)


def test_an_opset_before_7_is_converted():
    row = noise(6)
    later = model([node("Conv", "x p", "a"), node("Add", "a k", "b")], [X], ["b"],
                  {"p": POINT, "k": row})  # fmt: skip
    made = old("Add", row, broadcast=1)
    np.testing.assert_array_equal(load(made)(IMAGE), load(later)(IMAGE))
    slope = noise(1)
    later = model([node("Conv", "x p", "a"), node("PRelu", "a k", "b")], [X], ["b"],
                  {"p": POINT, "k": slope})  # fmt: skip
    np.testing.assert_array_equal(load(old("PRelu", slope))(IMAGE), load(later)(IMAGE))


@pytest.mark.parametrize(("operator", "how"), [("PRelu", {}), ("Mul", {"axis": 1, "broadcast": 1})])
def test_what_the_conversion_would_broadcast_along_another_axis(operator, how):
    with pytest.raises(ModelError, match=f"opset 7 or newer; got 6 and {operator} 'b'"):
        load(old(operator, noise(8), **how))


@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
def test_auto_pad(how, stride):
    for taps, dilation in (((2, 3), (1, 1)), ((3, 3), (2, 1)), ((1, 1), (1, 1))):
        if how.startswith("SAME") and dilation != (1, 1):
            continue  # ONNX Runtime has no such convolution
        attributes = {"auto_pad": how, "strides": stride, "dilations": dilation}
        nodes = [node("Conv", "x w", "y", group=8, **attributes)]
        made = model(nodes, [port("x", (1, 8, 7, 5))], ["y"], {"w": noise(8, 1, *taps)})
        checked(made, noise(1, 8, 7, 5))


@pytest.mark.parametrize("sizes", [(7, 5), (8, 6)])
def test_auto_pad_of_open_sizes(sizes):
    nodes = [node("Conv", "x w", "y", group=8, auto_pad="SAME_UPPER", strides=[2, 2])]
    made = model(nodes, [port("x", ("n", 8, "h", "w_"))], ["y"], {"w": noise(8, 1, 3, 3)})
    checked(made, noise(2, 8, *sizes))


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("bias", [None, (), (1,), (5,), (1, 5), (3, 1), (3, 5)])
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm(alpha, bias, turned):
    shapes = {"x": (3, 4)[:: -1 if turned[0] else 1], "m": (4, 5)[:: -1 if turned[1] else 1]}
    constants = {"m": noise(*shapes["m"])} | ({} if bias is None else {"b": noise(*bias)})
    gemm = node("Gemm", "x m" if bias is None else "x m b", "y", alpha=alpha, beta=2.0,
                transA=turned[0], transB=turned[1])  # fmt: skip
    made = model([gemm], [port("x", shapes["x"])], ["y"], constants)
    network = checked(made, noise(*shapes["x"]))
    ours = not turned[0] and bias in (None, (), (1,), (5,), (1, 5))
    assert (left(network) == []) == ours


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "int32", "bool"])
def test_types(dtype):
    function = {"bool": "Not", "float16": "Neg", "float64": "Relu"}.get(dtype, "Abs")
    nodes = [node(function, "x", "a"), node("Reshape", "a s", "b"), node("Transpose", "b", "y")]
    made = model(
        nodes, [port("x", (2, 3), dtype)], [port("y", None, dtype)], {"s": np.int64([3, 2])}
    )
    checked(made, (noise(2, 3) * 3).astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_convolutions_of_other_types(dtype):
    nodes = [depthwise("x w", "a"), node("Relu", "a", "b"), node("Conv", "b p", "y")]
    constants = {"w": DEPTH.astype(dtype), "p": POINT.astype(dtype)}
    made = model(nodes, [port("x", (1, 8, 6, 6), dtype)], [port("y", None, dtype)], constants)
    wanted = ReferenceEvaluator(made).run(None, {"x": IMAGE.astype(dtype)})
    network = load(made)
    assert_close([network(IMAGE.astype(dtype))], wanted, {"float16": 0.01, "float64": 1e-12}[dtype])
    assert left(network) == []


def test_images_that_are_made_of_nothing():
    made = helper.make_node("RandomUniform", [], ["r"], shape=[1, 8, 6, 6], low=1.0, high=1.0)
    nodes = [made, node("Add", "x r", "a"), node("Conv", "a p", "y")]
    checked(model(nodes, [X], ["y"], {"p": POINT}), IMAGE)


def test_text():
    nodes = [node("StringConcat", "x k", "y"), node("Equal", "x k", "same")]
    made = model(nodes, [port("x", (2,), "object")],
                 [port("y", (2,), "object"), port("same", (2,), "bool")],
                 {"k": np.array(["b", "c"], object)}, opset=20, ir=9)  # fmt: skip
    joined, same = load(made)(np.array(["a", "c"]))
    assert (list(joined), list(same)) == (["ab", "cc"], [False, True])


def test_sequences():
    """In, out and within, beside a kernel."""
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    out = helper.make_tensor_sequence_value_info("t", TensorProto.FLOAT, None)
    nodes = [node("Conv", "x p", "a"), node("SequenceInsert", "s a", "t"),
             node("SequenceAt", "t zero", "first"), node("Conv", "first p", "y")]  # fmt: skip
    made = model(nodes, [X, sequence], [out, port("y", None)], {"p": POINT, "zero": np.int64(0)})
    network = load(made)
    for images in ([noise(1, 8, 5, 5)], [noise(1, 8, 3, 3), IMAGE]):
        wanted = by_runtime_of(made, IMAGE, images)
        longer, result = network(IMAGE, images)
        assert len(longer) == len(images) + 1
        np.testing.assert_allclose(longer[-1], wanted[0][-1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(result, wanted[1], rtol=1e-4, atol=1e-4)


def by_runtime_of(made, *arrays):
    return by_runtime(made, arrays)


@pytest.mark.parametrize("shape", [(0, 8, 6, 6), (2, 8, 6, 6)])
def test_an_empty_batch(shape):
    nodes = [depthwise("x w", "a"), node("Relu", "a", "b"), node("Conv", "b p", "c"),
             node("Exp", "c", "d"), node("Conv", "d p", "e"), node("GlobalAveragePool", "e", "f"),
             node("Flatten", "f", "g"), node("Gemm", "g m", "y")]  # fmt: skip
    constants = {"w": DEPTH, "p": POINT, "m": noise(8, 3)}
    made = model(nodes, [port("x", ("n", 8, 6, 6))], ["y", "d"], constants)
    checked(made, noise(*shape))


def test_sizes_of_zero():
    nodes = [node("Concat", "x k", "a", axis=1), node("Mul", "a a", "y")]
    made = model(nodes, [port("x", (2, 3))], ["y"], {"k": np.zeros((2, 0), "float32")})
    checked(made, noise(2, 3))
    made = model([node("ReduceSum", "x", "y")], [port("x", (2, 0, 4))], ["y"])
    checked(made, noise(2, 0, 4))


def test_several_inputs_of_any_sizes_and_outputs_by_name():
    nodes = [node("Conv", "x p", "a"), node("Conv", "z p", "b"), node("Add", "a b", "c"),
             node("Concat", "a b", "d", axis=1)]  # fmt: skip
    ports = [port("x", ("batch", 8, "?", None)), port("z", ("batch", 8, "?", None))]
    network = load(model(nodes, ports, ["c", "d"], {"p": POINT}))
    for shape in ((1, 8, 3, 4), (2, 8, 5, 3)):
        x, z = noise(*shape), noise(*shape)
        found = network.run({"z": z, "x": x})
        wanted = by_runtime_of(model(nodes, ports, ["c", "d"], {"p": POINT}), x, z)
        np.testing.assert_allclose(found["c"], wanted[0], atol=1e-4)
        np.testing.assert_allclose(found["d"], wanted[1], atol=1e-4)


def test_equal_words_are_equal_sizes():
    ports = [port("x", ("n", 8, 6, 6)), port("z", ("n", 8, 6, 6))]
    made = model([node("Add", "x z", "y")], ports, ["y"])
    with pytest.raises(ModelError, match="n"):
        load(made, inputs={"x": (1, 8, 6, 6), "z": (2, 8, 6, 6)})


def test_scalars():
    checked(model([node("Add", "x k", "y")], [port("x", ())], ["y"], {"k": np.float32(2)}), noise())
    network = load(model([node("Add", "x k", "y")], [port("x", ())], ["y"], {"k": np.float32(2)}))
    assert network(np.float32(1)).shape == ()


def test_broadcasting_by_batch_is_no_residual():
    nodes = [node("Conv", "x p", "a"), node("Conv", "z p", "b"), node("Add", "a b", "y")]
    ports = [port("x", ("n", 8, 6, 6)), port("z", ("m", 8, 6, 6))]
    made = model(nodes, ports, ["y"], {"p": POINT})
    network = load(made)
    x, z = noise(2, 8, 6, 6), noise(1, 8, 6, 6)
    np.testing.assert_allclose(network(x, z), by_runtime_of(made, x, z)[0], atol=1e-4)


def test_sizes_that_follow_from_others_by_chance():
    """The example's sizes are multiples of 32, where H and H rounded up to 32 are the same."""
    constants = {"p": POINT, "two": np.int64([2]), "three": np.int64([3]), "by": np.int64([32]),
                 "zeros": np.int64([0, 0, 0, 0, 0, 0]), "zero": np.int64([0])}  # fmt: skip
    nodes = [node("Conv", "x p", "a"), node("Shape", "a", "s"), node("Slice", "s two three", "h"),
             node("Mod", "h by", "m"), node("Concat", "zeros m zero", "pads", axis=0),
             node("Pad", "a pads", "b"), node("Conv", "b p", "c"),
             node("Conv", "a p", "d")]  # fmt: skip
    made = model(nodes, [port("x", (1, 8, "h_", 4))], ["c", "d"], constants)
    network = load(made)
    for height in (32, 33, 40):
        x = noise(1, 8, height, 4)
        for result, wanted in zip(network(x), by_runtime_of(made, x), strict=True):
            np.testing.assert_allclose(result, wanted, atol=1e-4)


def test_a_window_that_is_longer_than_usual_examples():
    nodes = [
        node("Conv", "x w", "a", strides=[5]),
        node("Shape", "a", "s", start=2),
        node("Concat", "ends s", "t", axis=0),
        node("Reshape", "a t", "b"),
        node("Reshape", "b two", "c"),
        node("Softmax", "c", "y"),
    ]
    constants = {"w": noise(4, 1, 400), "ends": np.array([1, 4]), "two": np.array([1, -1, 2])}
    made = model(nodes, [port("x", (1, 1, "t"))], ["y"], constants)
    network = checked(made, noise(1, 1, 900))
    other = noise(1, 1, 1400)
    assert_close(called(network, other), by_runtime(made, [other]))


def test_sizes_that_are_computed():
    """As of images that were rows of pixels, whose side is a square root."""
    nodes = [
        depthwise("x w", "a"),
        node("Flatten", "a", "rows", axis=2),
        node("Shape", "a", "s", start=3),
        node("Mul", "s s", "area"),
        node("Cast", "area", "real", to=TensorProto.FLOAT),
        node("Sqrt", "real", "root"),
        node("Cast", "root", "side", to=TensorProto.INT64),
        node("Concat", "ends side side", "t", axis=0),
        node("Reshape", "rows t", "b"),
        node("Conv", "b p", "y"),
    ]
    constants = {"w": DEPTH, "p": POINT, "ends": np.array([-1, 8])}
    made = model(nodes, [port("x", ("n", 8, "side", "side"))], ["y"], constants)
    network = checked(made, IMAGE)
    assert [stage.spec.kind for stage in network.program.stages()] == ["depthwise", "pointwise"]
    other = noise(2, 8, 7, 7)
    assert_close(called(network, other), by_runtime(made, [other]))


def test_shapes_that_elements_of_inputs_decide_on():
    """The same shapes of inputs, and other shapes within."""
    nodes = [node("Pad", "x pads", "a"), node("Shape", "a", "s"), node("Conv", "a p", "y")]
    ports = [X, port("pads", (8,), "int64")]
    made = model(nodes, ports, ["y", port("s", None, "int64")], {"p": POINT})
    network = load(made)
    for more in (1, 2, 0):
        pads = np.int64([0, 0, more, 0, 0, 0, 0, 2])
        assert_close(called(network, IMAGE, pads), by_runtime(made, [IMAGE, pads]))


def test_nodes_of_one_name():
    nodes = [node("Tanh", "x", "a", name="one"), node("Exp", "a", "b", name="one")]
    result = load(model(nodes, [X], ["b"]))(IMAGE)
    np.testing.assert_allclose(result, np.exp(np.tanh(IMAGE)), rtol=1e-5)


def test_the_newest_opset_of_onnx():
    newest = onnx.defs.onnx_opset_version()
    made = model([node("Conv", "x p", "y")], [X], ["y"], {"p": POINT}, opset=newest, ir=10)
    assert load(made)(IMAGE).shape == (1, 8, 6, 6)
