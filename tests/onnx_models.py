"""Small models of ONNX, and what ONNX Runtime computes of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, helper, numpy_helper

from depthwise.loading import load
from depthwise.network.network import Network
from depthwise.network.steps import Call
from depthwise.onnx.files import model_of

CLOSE = 1e-4
"""How far a result may be off, relative to its largest element."""
_rng = np.random.default_rng(0)


def port(name: str, shape: Sequence[int | str | None] | None, dtype: str = "float32"):
    """Return an input or output; words are sizes that may be any, None says nothing of one."""
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
    )


def node(operator: str, inputs: str, outputs: str, **attributes) -> NodeProto:
    """Return a node; names are separated by blanks, "-" is one that is left out."""
    names = [["" if name == "-" else name for name in each.split()] for each in (inputs, outputs)]
    return helper.make_node(operator, *names, **attributes)


def model(
    nodes: Sequence[NodeProto], inputs: Sequence, outputs: Sequence,
    constants: Mapping[str, np.ndarray] | None = None, opset: int = 17, ir: int = 8, **others,
) -> ModelProto:  # fmt: skip
    """Return a model; an output may be a name alone, of float32 and any sizes."""
    made = [port(each, None) if isinstance(each, str) else each for each in outputs]
    arrays = [numpy_helper.from_array(a, name) for name, a in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, made, arrays)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir, **others)


def noise(*shape: int, dtype: str = "float32") -> np.ndarray:
    return _rng.standard_normal(shape).astype(dtype)


def by_runtime(model: ModelProto, arrays: Sequence) -> list:
    """Return what ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")  # sums do not saturate
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {each.name for each in model.graph.initializer}
    names = [each.name for each in model.graph.input if each.name not in given]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def assert_close(results: Sequence, wanted: Sequence, close: float = CLOSE) -> None:
    assert len(results) == len(wanted)
    for result, right in zip(results, wanted, strict=True):
        assert result.shape == right.shape
        assert result.dtype == right.dtype
        if right.dtype.kind != "f":
            np.testing.assert_array_equal(result, right)
        elif right.size:
            largest = np.nanmax(np.abs(right), initial=0)
            np.testing.assert_allclose(result, right, rtol=0, atol=close * max(largest, 1e-30))


def called(network: Network, *arrays) -> list:
    results = network(*arrays)
    return list(results) if isinstance(results, tuple) else [results]


def untold(model: ModelProto, network: Network) -> list[str]:
    """Return the names of the nodes of which a network's report does not say what became."""
    said = network.report.as_dict()
    told = {name for part in said["parts"] for name in part["covers"]}
    told |= {name for each in said["dropped"] for name in each["nodes"]}
    names = [each.name or f"{each.op_type} {each.output[0]}" for each in model_of(model).graph.node]
    return [name for name in names if name not in told]


def checked(model: ModelProto, *arrays, **options) -> Network:
    """Load a model, see that it computes what ONNX Runtime does, twice, and return the network.

    Its report says of each node what became of it.
    """
    network = load(model, **options)
    assert untold(model, network) == []
    wanted = by_runtime(model, arrays)
    assert_close(called(network, *arrays), wanted)
    assert_close(called(network, *arrays), wanted)
    return network


def left(network: Network) -> list[str]:
    """Return what ONNX Runtime computes of a network."""
    return [step.work.title for step in network.program.steps if isinstance(step.work, Call)]
