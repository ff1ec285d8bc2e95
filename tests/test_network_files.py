"""Networks in files: read as they were written or refused, without ONNX, torch or a compiler."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import depthwise as dw
import onnx_models
from depthwise.errors import ArrayError, CacheWarning, DepthwiseError, ModelError, SpecError
from depthwise.kernel import along
from depthwise.network.saved import container, file, machine_code
from depthwise.network.steps import Program, Stage
from onnx_models import node, noise, port

pytestmark = pytest.mark.usefixtures("one_process")

RANDOM = np.random.default_rng(0)
SHAPE = (1, 8, 8, 8)
X = RANDOM.standard_normal(SHAPE).astype(np.float32)
FLIPS = 300
"""How many files with one bit flipped are read."""
CHANGES = 150
"""How many descriptions are changed whose digest is right."""


def model(*, softmax: bool = True):
    """Return a small model: kernels, a residual, a view, and, or not, what is left to an engine."""

    def weight(*shape):
        return (RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    arrays = {"depth": weight(8, 1, 3, 3), "point": weight(8, 8, 1, 1), "dense": weight(4, 8)}
    nodes = [
        helper.make_node("Conv", ["x", "depth"], ["a"], pads=[1] * 4, group=8, name="depth"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "point"], ["c"], name="point"),
        helper.make_node("Add", ["c", "x"], ["d"], name="add"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], name="pool"),
        helper.make_node("Flatten", ["e"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "dense"], ["g"], transB=1, name="dense"),
        helper.make_node("LogSoftmax", ["g"], ["y"], name="softmax"),
    ]
    if not softmax:
        del nodes[-1]
        nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *SHAPE[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture(scope="module")
def net():
    return dw.load(model())


@pytest.fixture(scope="module")
def saved(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.dw"
    net.save(path)
    return path


@pytest.fixture(scope="module")
def with_code(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "code.dw"
    net.save(path, with_code=True)
    return path


def sealed(description, tensors) -> bytes:
    return bytes(container.written(description, tensors))


def run(code: str, *arguments: object, **variables: str) -> str:
    """Run code in a process of its own that fails where it warns, and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_loaded_computes_the_same_and_is_saved_the_same(net, saved, tmp_path):
    from_path, from_bytes = dw.load(saved), dw.load(saved.read_bytes())
    assert (from_path.inputs, from_path.outputs) == (net.inputs, net.outputs)
    expected = net(X)
    for loaded in (from_path, from_bytes):
        np.testing.assert_array_equal(loaded(X), expected)
        loaded.save(tmp_path / "again.dw")
        assert (tmp_path / "again.dw").read_bytes() == saved.read_bytes()
    two = np.concatenate([X, 2 * X])
    np.testing.assert_array_equal(from_path(two), net(two))


def test_a_network_of_kernels_alone_needs_no_engine(tmp_path):
    dw.load(model(softmax=False)).save(tmp_path / "net")
    program = dw.load(tmp_path / "net").program
    assert any(isinstance(step.work, Stage) for step in program.steps)
    assert "onnxruntime" not in json.dumps(container.read(tmp_path / "net")[0])


SERVE = """
import sys
import depthwise as dw
before = {"numpy", "onnx", "torch", "tvm"} & set(sys.modules)
import numpy as np
net = dw.load(sys.argv[1], trust=sys.argv[2] == "trust")
y = net(np.load(sys.argv[3]))
np.save(sys.argv[4], y)
print(sorted(before), *sorted({"onnx", "onnxruntime", "torch", "tvm"} & set(sys.modules)))
"""


def test_serving_imports_neither_onnx_nor_torch_nor_the_compiler(net, saved, tmp_path):
    np.save(tmp_path / "x.npy", X)
    expected = net(X)
    arrays = tmp_path / "x.npy", tmp_path / "y.npy"
    run(SERVE, saved, "", *arrays)  # whose kernels are on disk from now on
    assert run(SERVE, saved, "", *arrays) == "[] onnxruntime\n"
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)


def test_constants_that_are_stated_need_no_reference(tmp_path):
    proto = model(softmax=False)
    stated = helper.make_node("Constant", [], ["dense"], value=proto.graph.initializer.pop())
    proto.graph.node.insert(0, stated)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    code = "import sys; import depthwise as dw; dw.load(sys.argv[1]); print(*sys.modules)"
    loaded = run(code, tmp_path / "net.onnx").split()
    assert "onnx" in loaded
    assert "onnx.reference" not in loaded


def test_with_code_no_compiler_is_needed_where_nothing_is_on_disk(net, with_code, tmp_path):
    np.save(tmp_path / "x.npy", X)
    arrays = tmp_path / "x.npy", tmp_path / "y.npy"
    assert run(SERVE, with_code, "trust", *arrays, DEPTHWISE_CACHE="") == "[] onnxruntime\n"
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), net(X))


def test_code_is_saved_again_as_it_came(with_code, tmp_path, monkeypatch):
    monkeypatch.setattr(along, "_along", {})
    dw.load(with_code, trust=True).save(tmp_path / "again.dw", with_code=True)
    assert (tmp_path / "again.dw").read_bytes() == with_code.read_bytes()


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [("cpu", "Target(cpu='other')", "it is for .*other"), ("version", "0", "another version")],
)
def test_code_of_another_machine_or_version_is_not_used(
    net, with_code, monkeypatch, key, value, why
):
    monkeypatch.setattr(machine_code.along, "adopt", None)
    description, tensors = container.read(with_code)
    description["code"]["made_by"][key] = value
    with pytest.warns(CacheWarning, match=why):
        loaded = dw.load(sealed(description, tensors), trust=True)
    np.testing.assert_array_equal(loaded(X), net(X))


def test_code_is_not_touched_without_trust(net, with_code, monkeypatch):
    monkeypatch.setattr(machine_code.along, "adopt", None)
    np.testing.assert_array_equal(dw.load(with_code)(X), net(X))


def test_code_that_does_not_load_is_compiled_instead(net, with_code):
    description, tensors = container.read(with_code)
    tensors["code0.0"] = np.zeros(64, np.uint8)
    with pytest.warns(CacheWarning, match="does not load"):
        loaded = dw.load(sealed(description, tensors), trust=True)
    np.testing.assert_array_equal(loaded(X), net(X))


def test_code_that_no_disk_holds_is_made_anew(net, with_code, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", "")
    monkeypatch.setattr(along, "_along", {})
    net.save(tmp_path / "net.dw", with_code=True)
    (made, objects), (other, _) = map(container.read, (tmp_path / "net.dw", with_code))
    assert made == other
    assert all(objects[f"code{n}.0"][:4].tobytes() == b"\x7fELF" for n in range(2))


def test_without_a_linker_no_code_is_saved(net, tmp_path, monkeypatch):
    monkeypatch.setattr(along.code, "linker", lambda: None)
    with pytest.raises(ModelError, match=r"ld\.lld"):
        net.save(tmp_path / "net.dw", with_code=True)
    assert not (tmp_path / "net.dw").exists()


def test_weights_are_the_memory_of_the_file(saved):
    for stage in dw.load(saved).program.stages():
        for array in stage.operands.values():
            assert not array.flags.owndata
            assert not array.flags.writeable


def test_an_array_that_is_used_twice_is_there_once(net, tmp_path):
    shared = np.arange(6, dtype=np.int64).reshape(2, 3)
    program = net.program
    twice = Program(
        inputs=(), outputs=program.outputs * 2, results=(0, 1), constants=(shared, shared), steps=()
    )
    dw.Network(twice).save(tmp_path / "net.dw")
    description, tensors = container.read(tmp_path / "net.dw")
    assert description["constants"] == ["constant0", "constant0"]
    assert [*tensors] == ["constant0"]
    np.testing.assert_array_equal(dw.load(tmp_path / "net.dw")()[1], shared)


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]), np.float32(3).reshape(()), np.zeros((0, 3), np.float32),
        np.arange(12, dtype=np.int16).reshape(3, 4).T, np.array([1 + 2j], np.complex64),
    ],
    ids=["bool", "one number", "empty", "transposed", "complex"],
)  # fmt: skip
def test_constants_of_any_kind_come_back(array):
    _, tensors = container.read(sealed({}, {"a": np.asarray(array)}))
    assert (tensors["a"].dtype, tensors["a"].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(tensors["a"], array)


def test_a_type_without_a_name_is_refused_and_nothing_written(net, tmp_path):
    words = Program(
        inputs=(), outputs=net.program.outputs, results=(0,), steps=(),
        constants=(np.array(["a"]),),
    )  # fmt: skip
    with pytest.raises(ModelError, match="constant0"):
        dw.Network(words).save(tmp_path / "net.dw")
    assert [*tmp_path.iterdir()] == []


def test_a_file_of_another_format_is_refused(saved):
    description, tensors = container.read(saved)
    description |= {"format": file.FORMAT + 1, "depthwise": "9.9"}
    with pytest.raises(ModelError, match=r"got format 2 of depthwise 9\.9"):
        dw.load(sealed(description, tensors))


def test_an_engine_that_is_not_known_is_named(saved):
    description, tensors = container.read(saved)
    next(step for step in description["steps"] if "call" in step)["call"] = "abacus"
    with pytest.raises(ModelError, match=r"onnxruntime.*got 'abacus'"):
        dw.load(sealed(description, tensors))


def test_shapes_are_for_models_of_onnx(saved):
    with pytest.raises(ModelError, match="inputs are for models of ONNX"):
        dw.load(saved, inputs={"x": (2, 8, 8, 8)})


def test_a_file_is_known_by_its_content(saved, tmp_path):
    for name in ("net.onnx", "net"):
        (tmp_path / name).write_bytes(saved.read_bytes())
        assert dw.load(tmp_path / name).inputs == dw.load(saved).inputs
    read, write = os.pipe()
    os.write(write, saved.read_bytes())
    os.close(write)
    assert dw.load(f"/dev/fd/{read}").inputs == dw.load(saved).inputs
    os.close(read)


def test_files_of_safetensors_that_are_no_networks_are_refused(tmp_path):
    from safetensors.numpy import save

    for metadata in (None, {"depthwise": "{}"}, {"format": "pt"}):
        with pytest.raises(ModelError, match=r"as net\.save writes it"):
            dw.load(save({"a": np.zeros(3)}, metadata))


def test_every_flipped_bit_and_every_cut_is_refused(saved):
    whole, chance = saved.read_bytes(), random.Random(0)
    begins = [*range(9)]
    for place in begins + [chance.randrange(len(whole)) for _ in range(FLIPS)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        with pytest.raises(ModelError):
            dw.load(bytes(flipped))
    for size in [*range(1, 12), *(chance.randrange(len(whole)) for _ in range(FLIPS // 3))]:
        with pytest.raises(ModelError):
            dw.load(whole[:size])
    with pytest.raises(ModelError):
        dw.load(whole + b"\0")


def changed(value, chance: random.Random):
    """Return a description with one part of it replaced, doubled or left out."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.9:
        value = value.copy()
        key = chance.choice([*value] if isinstance(value, dict) else range(len(value)))
        if chance.random() < 0.15:
            del value[key]
        else:
            value[key] = changed(value[key], chance)
        return value
    if type(value) is int and chance.random() < 0.7:
        return value + chance.choice([-2, -1, 1, 2, 100, 2**40])
    others = [None, -1, 0, 1, 3, 10**30, 0.5, "", "float64", "x", [], [1], [8, 8, 8], {}, True]
    return chance.choice(others)


def compute(loaded: dw.Network):
    """Compute a network of inputs as it wants them, none of which is large."""
    given = []
    for each in loaded.inputs:
        sizes = [1 if isinstance(size, str) else size for size in each.sizes or SHAPE]
        if np.prod(sizes, dtype=np.float64) > 1e5:
            raise ArrayError("too large")
        given.append(np.ones(sizes, each.dtype or "float32"))
    return loaded(*given)


def mutate(description, tensors, count: int, seed: int) -> list[str]:
    """Change a description often; return what was neither computed nor refused in our words."""
    chance, faults = random.Random(seed), []
    for _ in range(count):
        other = changed(description, chance)
        try:
            with warnings.catch_warnings(action="ignore"):
                compute(dw.load(sealed(other, tensors)))
        except DepthwiseError:
            continue
        except Exception as error:
            faults.append(f"{error!r} of {json.dumps(other)}")
    return faults


def test_descriptions_that_do_not_fit_are_refused_in_words(saved):
    assert mutate(*container.read(saved), CHANGES, 1) == []


@pytest.mark.parametrize("change", [{"inputs": [4, 4]}, {"inputs": []}])
def test_a_call_of_other_inputs_than_its_payload_has_is_refused(saved, change):
    description, tensors = container.read(saved)
    next(step for step in description["steps"] if "call" in step).update(change)
    loaded = dw.load(sealed(description, tensors))
    for x in (X, np.concatenate([X, X])):  # the shapes of the example, and others
        with pytest.raises(ModelError, match="takes and makes as many values as its step"):
            loaded(x)


def test_a_call_of_other_outputs_than_its_payload_has_is_refused(saved):
    description, tensors = container.read(saved)
    call = next(step for step in description["steps"] if "call" in step)
    call["outputs"].append(call["outputs"][-1] + 1)
    for kept in (description["shapes"], description["dtypes"]):
        kept.append(kept[-1])
    loaded = dw.load(sealed(description, tensors))
    for x in (X, np.concatenate([X, X])):
        with pytest.raises(ModelError, match="takes and makes as many values as its step"):
            loaded(x)


@pytest.fixture(scope="module")
def between(tmp_path_factory):
    """Return what a file has of a network that leaves something between two kernels to an engine.

    Its last step, a call too, takes an image and value 6, which is none.
    """
    weights = {"w": noise(8, 1, 3, 3), "v": noise(8, 8, 1, 1), "k": noise(8, 4)}
    nodes = [
        node("Conv", "x w", "c", group=8, pads=[1] * 4),
        node("LpPool", "c", "m", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "m v", "d"),
        node("LogSoftmax", "d", "e", axis=1),
        node("GlobalAveragePool", "d", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f k", "h"),
        node("ArgMax", "h", "y", axis=1),
    ]
    outputs = ["e", port("y", None, "int64")]
    made = onnx_models.model(nodes, [port("x", ["n", *SHAPE[1:]])], outputs, weights)
    path = tmp_path_factory.mktemp("saved") / "between.dw"
    dw.load(made).save(path)
    return container.read(path)


def test_an_image_of_other_axes_than_an_engine_takes_is_refused(between):
    description, tensors = copy.deepcopy(between[0]), between[1]
    description["steps"][-1]["inputs"] = [6, 6]
    with pytest.raises(ModelError, match=r"\(N, C, H, W\)"):
        dw.load(sealed(description, tensors))(X)


def test_shapes_that_are_not_said_are_found(between):
    description, tensors = copy.deepcopy(between[0]), between[1]
    expected = dw.load(sealed(description, tensors))(X)
    (made,) = next(step for step in description["steps"] if "call" in step)["outputs"]
    description["shapes"][made] = None
    for result, right in zip(dw.load(sealed(description, tensors))(X), expected, strict=True):
        np.testing.assert_array_equal(result, right)


@pytest.mark.parametrize("dtype", [0, "", "object0"])
def test_a_type_that_is_none_is_refused(saved, dtype):
    description, tensors = container.read(saved)
    description["inputs"][0]["dtype"] = dtype
    with pytest.raises(ModelError, match="fit together"):
        dw.load(sealed(description, tensors))


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 5000])
def test_no_network_runs_on_such_threads(saved, threads):
    with pytest.raises(SpecError, match=r"threads (is|are) .*; got"):
        dw.load(saved, threads=threads)


def test_several_threads_share_a_network(saved):
    loaded, results = dw.load(saved, threads=1), {}
    inputs = [X * scale for scale in (1, 2, 3, 4)]

    def serve(number):
        results[number] = [loaded(inputs[number]) for _ in range(20)]

    threads = [threading.Thread(target=serve, args=[number]) for number in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, array in enumerate(inputs):
        expected = loaded(array)
        for result in results[number]:
            np.testing.assert_array_equal(result, expected)


def test_saving_replaces_a_file_whole_or_leaves_it(net, saved, tmp_path, monkeypatch):
    target = tmp_path / "net.dw"
    target.write_bytes(b"before")
    monkeypatch.setattr(file, "written", lambda *_: Path("/nowhere").read_bytes())
    with pytest.raises(OSError, match="nowhere"):
        net.save(target)
    assert target.read_bytes() == b"before"
    with pytest.raises(DepthwiseError, match="can be written"):
        net.save(tmp_path)


def test_a_network_is_saved_to_the_file_whose_memory_it_is(net, saved, tmp_path):
    path = tmp_path / "net.dw"
    path.write_bytes(saved.read_bytes())
    loaded = dw.load(path)
    loaded.save(path)
    assert path.read_bytes() == saved.read_bytes()
    np.testing.assert_array_equal(loaded(X), net(X))


def test_images_of_other_channels_are_refused(saved):
    """Where a file says that any number of channels will do."""
    description, tensors = container.read(saved)
    description["inputs"][0]["sizes"] = ["n", "c", "h", "w"]
    loaded = dw.load(sealed(description, tensors))
    assert loaded(X).shape == (1, 4)
    with pytest.raises(DepthwiseError, match=r"channels|shape"):
        loaded(np.ones((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize("name", [*dw.__all__])
def test_every_public_name_is_where_type_checkers_see_it(name):
    value = getattr(dw, name)
    assert name in dir(dw)
    assert getattr(value, "__name__", name) in (name, f"depthwise.{name}")
