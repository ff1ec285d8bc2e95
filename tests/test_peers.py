"""The engines: each computes what the oracle says or says why not, and what is known of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest

import depthwise as dw
from depthwise.bench.peers import copies, onnxruntime, ours, parts, roster
from depthwise.bench.peers.parts import Limits
from depthwise.commands import cli
from depthwise.measure import environments, posed, process
from depthwise.measure.catalogue import SOURCES, Source
from depthwise.measure.engine import Clock
from depthwise.measure.process import PreparedInfo, Rejected, Worker
from depthwise.measure.worker import compare
from depthwise.problem import reference
from depthwise.problem.training import PassKind
from depthwise.problem.vocabulary import ACTIVATIONS

DEFAULT_SET = ("depthwise", "tvm", "torch", "onnxruntime")
IN_CI = ("mxnet", "tensorflow", "onednn", "litert")
"""Engines that must be there for `-m peers`; litert comes with tensorflow."""

PROBLEMS = (
    "depthwise c16 hw16 k3 p1",
    "depthwise c16 hw16 k3 p1 nhwc",
    "depthwise n2 c5 h9 w7 k3x5 s2x1 p1,2 bias silu",
    "depthwise c8 hw15 k3 s2 same nhwc bias hardswish",
    "depthwise c8 hw14 k3 s2 same m2",
    "depthwise c16 hw14 k3 d2 p0,0,1,2 leaky_relu",
    "depthwise c6 hw9 k3 p1 reflect",
    "depthwise c6 hw9 k3 p2 replicate nhwc",
    "depthwise c6 hw9 k3 p2 circular",
    "depthwise c6 hw9 k2 p1 relu6 float64",
    "depthwise1d c7 l33 k4 causal bias",
    "depthwise1d c7 l33 k4 s2 p1 nlc",
    "conv c8 o12 hw9 k3 g2 p1 bias relu",
    "pointwise c8 o12 hw9 bias relu residual",
    "pointwise c8 o12 hw9 nhwc gelu residual",
    "separable c8 o8 hw12 k3 p1 relu6/none bias residual",
    "separable c8 o16 hw13 k5 s2 p2 none/sigmoid nhwc",
    "separable c8 o24 hw13 k3 d2 m2 same",
    "inverted c8 e24 o8 hw9 k3 p1 relu6 bias residual nhwc",
    "inverted n2 c8 e24 o16 hw10 k5 s2 p2 relu6 bias",
    "inverted c16 o8 hw9 k3 p1 silu bias",
    "inverted c16 o16 hw9 k3 p1 relu6 residual",
    "separable c8 o8 hw6 k3 p1 relu/relu6",
    "separable c8 o8 hw6 k3 p1 hardswish/silu",
    "separable c8 o8 hw6 k3 p1 gelu/leaky_relu",
    "separable c8 o8 hw6 k3 p1 sigmoid/hardsigmoid",
)


TRAINED = (
    "depthwise n2 c16 hw15 k3 s2 p1 bias",
    "depthwise n2 c5 h9 w7 k3x5 s2x1 p1,2 m2 nhwc",
    "depthwise c8 hw15 k3 s2 same nhwc bias",
    "depthwise c6 hw9 k2 d2 p1 float64",
    "depthwise1d n2 c7 l33 k4 causal bias",
    "depthwise1d n2 c7 l33 k4 s2 p1 nlc",
)
PASSES = [f"{kind} {conv}" for conv in TRAINED for kind in get_args(PassKind)]


def outcomes(worker: Worker, problem: str) -> dict[tuple[str, str], PreparedInfo | Rejected]:
    """Prepare a problem in every variant under every clock."""
    found = {}
    for variant in worker.hello.variants_of(dw.parse(problem).kind):
        for clock in get_args(Clock):
            found[variant, clock] = prepared = worker.prepare(dw.parse(problem), variant, clock)
            if isinstance(prepared, PreparedInfo):
                worker.release(prepared.key)
    return found


@pytest.fixture(scope="module", params=DEFAULT_SET)
def engine(request):
    with Worker(request.param, threads=1) as worker:
        yield worker


def check(worker: Worker, problem: str) -> set[str | None]:
    """Hold every outcome against the oracle; return the reasons of those rejected, None if any."""
    reasons: set[str | None] = set()
    for how, outcome in outcomes(worker, problem).items():
        if isinstance(outcome, Rejected):
            assert outcome.reason, how
            assert "\n" not in outcome.reason, how
            reasons.add(outcome.reason)
        else:
            assert outcome.verified, (how, outcome)
            assert outcome.layout, how
            assert outcome.excluded, how
            reasons.add(None)
    return reasons


@pytest.mark.parametrize("problem", PROBLEMS)
def test_an_engine_computes_what_the_oracle_says_or_says_why_not(engine, problem):
    reasons = check(engine, problem)
    if engine.engine == "onnxruntime" and "float64" in problem:
        assert reasons == {"no float64"}
    else:
        assert None in reasons


@pytest.fixture(scope="module")
def torch_worker():
    with Worker("torch", threads=2) as worker:
        yield worker


@pytest.mark.parametrize("problem", PASSES)
def test_torch_trains_in_both_orders_under_both_clocks(torch_worker, problem):
    for (variant, clock), outcome in outcomes(torch_worker, problem).items():
        if variant == "prepacked":
            assert outcome == Rejected("prepacked weights are for inference")
        else:
            assert outcome.verified, (variant, clock)
            assert outcome.layout == {"nchw": "NCHW", "channels_last": "NHWC"}[variant]


@pytest.fixture(scope="module")
def our_worker():
    with Worker("depthwise", threads=2) as worker:
        yield worker


@pytest.mark.parametrize("problem", PASSES)
def test_we_train_in_both_orders_under_both_clocks(our_worker, problem):
    order = parts.order(dw.parse(problem))
    found = outcomes(our_worker, problem)
    verified = {how for how, outcome in found.items() if getattr(outcome, "verified", False)}
    assert verified == {("nchw", "kernel"), ("nhwc", "kernel"), (order.lower(), "call")}
    assert all(isinstance(found[how], Rejected) for how in found.keys() - verified)


class OracleKernel:
    """What stands in for a kernel: takes arrays as `Kernel.run` does, and asks the oracle."""

    def __init__(self, spec):
        self.spec = spec

    def pack(self, operands):
        return operands

    def run(self, x, packed, out, threads):
        assert (x.shape, out.shape, threads) == (self.spec.input_shape, self.spec.output_shape, 3)
        out[...] = reference.forward(self.spec, x, *packed)


@pytest.mark.parametrize("problem", PASSES)
@pytest.mark.parametrize("variant", ["nchw", "nhwc"])
def test_our_passes_give_each_kernel_its_arrays(monkeypatch, problem, variant):
    compiled = []

    def compile_(spec, *_):
        compiled.append(spec)
        return OracleKernel(spec)

    monkeypatch.setattr(ours, "compile_kernel", compile_)
    monkeypatch.setenv("DEPTHWISE_TUNED", "0")
    spec = dw.parse(problem)
    arrays = posed.arrays(spec)
    engine = ours.Engine(3)
    assert engine.rejects(spec, variant, "kernel") is None
    prepared = engine.prepare(spec, variant, "kernel", arrays)
    assert compiled == list(parts.in_order(spec, variant.upper()).kernels)
    prepared.run()
    expected = reference.forward(spec, *arrays[:-1])
    assert compare(spec, prepared.output(), expected)[1]


@pytest.mark.parametrize(
    ("variant", "clock", "reason"),
    [
        ("packed", "kernel", "the cached block is a schedule of one convolution"),
        ("prepacked", "call", "weights that change are not packed ahead"),
        ("nhwc", "call", "the arrays are NCHW"),
        ("nchw", "call", None),
    ],
)
def test_our_passes_are_computed_in_two_layouts(monkeypatch, variant, clock, reason):
    monkeypatch.setenv("DEPTHWISE_TUNED", "0")
    spec = dw.parse("training depthwise c4 hw8 k3")
    assert ours.Engine(1).rejects(spec, variant, clock) == reason


def test_an_engine_names_itself_its_version_and_its_threads(engine):
    assert engine.hello.name == engine.engine
    assert engine.hello.version.startswith(environments.installed_version(engine.engine))
    assert engine.hello.threads == 1


@pytest.mark.parametrize("name", ["our_worker", "torch_worker"])
def test_two_threads_take_effect(name, request):
    worker = request.getfixturevalue(name)
    assert worker.hello.threads == 2
    assert all(
        outcome.verified
        for outcome in outcomes(worker, "depthwise c16 hw16 k3 p1 nhwc").values()
        if isinstance(outcome, PreparedInfo)
    )


@pytest.mark.parametrize("name", ["depthwise", "tvm"])
def test_code_is_generated_for_the_cpu_asked_for(name):
    with pytest.raises(dw.errors.PeerError, match=r"target is one of .*; got 'abacus'"):
        Worker(name, threads=1, cpu="abacus")


def test_the_problems_have_every_activation():
    assert all(any(name in problem for problem in PROBLEMS) for name in ACTIVATIONS)


@pytest.mark.parametrize(
    "problem",
    [
        "depthwise c16 hw9 k3 p1",
        "separable c16 o32 hw9 k3 s2 p1 bias relu6/none",
        "inverted c16 e48 o16 hw9 k3 p1 bias relu6 residual",
    ],
)
def test_onnxruntime_runs_every_copy_beside_the_reorders_of_one(problem, tmp_path):
    spec = dw.parse(problem)
    arrays = posed.arrays(spec)
    engine = onnxruntime.Engine(1)
    options = onnxruntime.options(1, "kernel")
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    nodes = []
    for count in (1, copies.COPIES):
        x, y = arrays[0], np.full(copies.pooled_shape(spec), np.nan, np.float32)
        graph = engine.copies(spec, arrays, count)
        onnxruntime.bound_call(options, graph.model(x.shape, y.shape), {"x": x}, {"y": y})()
        assert np.all(np.isfinite(y))
        model = onnx.load(tmp_path / "optimised.onnx")
        nodes.append(Counter(node.op_type for node in model.graph.node))
    one, many = nodes
    convolutions = len(parts.convolutions(spec))
    assert one["Conv"] == convolutions
    assert many - one == Counter(Conv=convolutions * (copies.COPIES - 1))


@pytest.mark.parametrize(
    ("problem", "sources", "ends"),
    [
        ("separable c8 o16 hw9 k3 p1", [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]),
        ("separable c8 o8 hw9 k3 p1", [0, 1, 2, 3, 4], [5, 5, 5, 5, 5]),
    ],
)
def test_copies_follow_one_another_where_they_can(problem, sources, ends):
    spec = dw.parse(problem)
    layers = parts.layers(spec, posed.arrays(spec))
    added = []

    def add(copied, source):
        added.append((copied, source))
        return len(added)

    assert copies.outputs(spec, layers, 1, 0, add) == [1] * copies.COPIES
    added.clear()
    assert copies.outputs(spec, layers, copies.COPIES, 0, add) == ends
    assert [source for _, source in added] == sources
    assert all(last is layers[1] for (_, last), _ in added)
    assert len({float(first.weight[0, 0, 0, 0]) for (first, _), _ in added}) == copies.COPIES
    np.testing.assert_array_equal(added[0][0][0].weight, layers[0].weight)


def test_an_inverted_residual_adds_its_input():
    spec = dw.parse("inverted c8 e24 o8 hw9 k3 p1 relu6 bias residual nhwc")
    x, *operands, _ = posed.arrays(spec)
    assert operands[-1] is x
    assert posed.least_bytes(spec) == dw.cost(spec).bytes - x.nbytes
    foreign = dw.parse("separable c8 o8 hw9 k3 p1 residual")
    x, *operands, _ = posed.arrays(foreign)
    assert operands[-1] is not x
    assert posed.least_bytes(foreign) == dw.cost(foreign).bytes


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("wanted", get_args(parts.Order))
def test_a_problem_in_another_order_of_axes_is_the_same_problem(problem, wanted):
    spec = dw.parse(problem)
    arrays = dw.random_problem(spec)
    other = parts.in_order(spec, wanted)
    assert parts.order(other) == wanted
    arranged = parts.arrays_in_order(spec, arrays, wanted)
    result = parts.four_axes(reference.forward(other, *arranged[:-1]), other.layout)
    expected = reference.forward(spec, *arrays[:-1])
    np.testing.assert_allclose(parts.result(spec, result, wanted), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("depthwise c4 hw8 k3", None),
        ("depthwise c4 hw8 k3 float64", "no float64"),
        ("depthwise c4 hw8 k3 p1 circular", "no padding mode circular"),
        ("depthwise c4 hw8 k3 gelu", "no activation gelu"),
        ("conv c4 o4 hw8 k3", "no grouped or dense convolution, depthwise and pointwise only"),
        ("depthwise c4 hw8 k3 s2x1", "equal strides only, not 2x1"),
        ("depthwise c4 hw8 k3 s2 d2", "no stride together with dilation"),
        ("separable c4 o4 hw8 k3 none/gelu", "no activation gelu"),
        ("inverted c4 o4 hw8 k3 se2", "the adapter has no squeeze-and-excite"),
        ("training depthwise c4 hw8 k3", "no adapter for training"),
        ("mean c4 hw8 nhwc", "no adapter for mean"),
        ("elementwise c4 hw8 nhwc relu", "no adapter for elementwise"),
        ("attention c4 hw8 keys3 nhwc", "no adapter for attention"),
    ],
)
def test_limits_name_the_first_thing_that_an_engine_does_not_do(problem, reason):
    limits = Limits(activations=("relu",), dense=False, equal_strides=True, stride_or_dilation=True)
    assert limits.reason(dw.parse(problem)) == reason


@pytest.mark.parametrize("problem", ["mean c4 hw8 nhwc", "norm c4 hw8 eps1e-05 nhwc"])
def test_a_kind_without_an_adapter_is_refused_by_every_engine(engine, problem):
    reasons = [outcome.reason for outcome in outcomes(engine, problem).values()]
    assert f"no adapter for {dw.parse(problem).kind}" in reasons


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Offer the fake engine alone, and return a function that chooses its behaviours."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("DEPTHWISE_PEERS", str(tmp_path))
    for name in reversed(list(SOURCES)):  # whose order comes back when these are undone
        monkeypatch.delitem(SOURCES, name)
    monkeypatch.setitem(SOURCES, "fake.engine", Source("fake.engine", "numpy"))
    return lambda *variants: monkeypatch.setenv("FAKE_VARIANTS", ",".join(variants))


def call(monkeypatch, capsys, *arguments):
    """Run `depthwise peers` in this process; return exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["depthwise", "peers", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def listed(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "--json")
    assert code == 0
    return json.loads(out)


def test_a_right_engine_is_verified_and_listed_so(fake, monkeypatch, capsys):
    fake("right")
    (before,) = listed(monkeypatch, capsys)
    assert (before["verified"], before["remark"]) == (False, "not verified yet")
    assert before["command"] == "depthwise peers verify fake.engine"

    code, out, _ = call(monkeypatch, capsys, "verify")
    assert code == 0
    assert out == f"fake.engine {np.__version__}: verified, {2 * len(roster.PROBLEMS)} results\n"
    (after,) = listed(monkeypatch, capsys)
    assert (after["verified"], after["remark"]) == (True, "")
    assert "fake.engine" in call(monkeypatch, capsys)[1]


@pytest.mark.parametrize(
    ("variants", "remark"),
    [
        (("right", "wrong"), "off by 1.0e-02: depthwise c16 hw64 k3 p1 (wrong, kernel clock)"),
        (("unwritten",), "off by inf: "),
        (("raises",), "fake.engine failed while preparing raises for the kernel clock: "),
        (("right", "dies"), "fake.engine ended while preparing dies for the kernel clock: "),
    ],
)
def test_a_wrong_engine_is_not_verified_and_the_exit_code_says_so(
    fake, monkeypatch, capsys, variants, remark
):
    fake(*variants)
    code, out, _ = call(monkeypatch, capsys, "verify", "fake.engine")
    assert code == 1
    assert out.startswith(f"fake.engine {np.__version__}: not verified\n  {remark}")
    (line,) = listed(monkeypatch, capsys)
    assert line["verified"] is False
    assert line["remark"].startswith(remark)


@pytest.mark.parametrize("field", ["version", "host"])
def test_a_verdict_on_another_version_or_machine_does_not_count(
    fake, monkeypatch, capsys, tmp_path, field
):
    fake("right")
    assert call(monkeypatch, capsys, "verify")[0] == 0
    file = tmp_path / "verified" / "fake.engine.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), field: "another"}))
    assert listed(monkeypatch, capsys)[0]["remark"] == "not verified yet"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"engine": "fake.engine"}', "\x00"])
def test_a_corrupt_verdict_does_not_count(fake, monkeypatch, capsys, tmp_path, content):
    (tmp_path / "verified").mkdir()
    (tmp_path / "verified" / "fake.engine.json").write_text(content)
    assert listed(monkeypatch, capsys)[0]["remark"] == "not verified yet"


def test_what_is_not_installed_is_listed_with_the_command_that_installs_it(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("DEPTHWISE_PEERS", str(tmp_path))
    lines = {line["name"]: line for line in listed(monkeypatch, capsys)}
    assert list(lines) == list(SOURCES)
    for name in ("mxnet", "tensorflow", "openvino", "litert", "jax"):
        assert lines[name]["version"] is None
        assert lines[name]["command"] == f"depthwise peers install {name}"
    for name in DEFAULT_SET:
        assert lines[name]["version"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["install", "nothing"], "an engine is one of depthwise, tvm, "),
        (["install", "torch"], "torch lives in this environment"),
        (["verify", "torch", "mxnet"], "mxnet is not installed"),
    ],
)
def test_what_cannot_be_done_exits_with_2_and_one_line(
    monkeypatch, capsys, tmp_path, arguments, message
):
    monkeypatch.setenv("DEPTHWISE_PEERS", str(tmp_path))
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"depthwise: {message}")
    assert err.count("\n") == 1


IN_ENVIRONMENTS = [
    name
    for name, source in SOURCES.items()
    if name in IN_CI or (source.environment and environments.installed_version(name))
]


@pytest.mark.peers
@pytest.mark.parametrize("name", IN_ENVIRONMENTS)
def test_a_peer_computes_what_the_oracle_says_or_says_why_not(name):
    with Worker(name, threads=1) as worker:
        computed = [problem for problem in PROBLEMS if None in check(worker, problem)]
    assert PROBLEMS[0] in computed


@pytest.mark.peers
@pytest.mark.parametrize("name", IN_ENVIRONMENTS)
def test_a_peer_is_verified(monkeypatch, capsys, name):
    code, out, _ = call(monkeypatch, capsys, "verify", name)
    assert code == 0
    assert f"{name} {environments.installed_version(name)}: verified" in out


OPENVINO_PROGRAM = """
import depthwise as dw
import openvino
from depthwise.measure import posed
from depthwise.bench.peers import copies
from depthwise.bench.peers.openvino import Engine

spec = dw.parse("inverted c8 e24 o8 hw9 k3 p1 bias relu6 residual")
for count in (1, copies.COPIES):
    model = openvino.compile_model(Engine(1).copies(spec, posed.arrays(spec), count), "CPU")
    nodes = model.get_runtime_model().get_ops()
    kinds = [node.get_rt_info()["layerType"].astype(str) for node in nodes]
    print(kinds.count("Convolution"), kinds.count("Eltwise"))
"""


@pytest.mark.peers
@pytest.mark.skipif(
    environments.installed_version("openvino") is None, reason="openvino is not installed"
)
def test_openvino_keeps_the_copies_apart():
    python = environments.interpreter("openvino")
    with process._importable_package(python) as package:
        output = subprocess.run(
            [python, "-c", OPENVINO_PROGRAM],
            check=True, capture_output=True, text=True, env={**os.environ, **package},
        ).stdout  # fmt: skip
    assert output == f"3 0\n{3 * copies.COPIES} 0\n"


TENSORFLOW_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf

for file in Path(sys.argv[1]).glob("*.npz"):
    given = np.load(file)
    x, depthwise, pointwise = given["x"], given["depthwise"], given["pointwise"]
    stride, dilation = int(given["stride"]), int(given["dilation"])
    taps = depthwise.reshape(x.shape[3], -1, *depthwise.shape[2:]).transpose(2, 3, 0, 1)
    window = ((1, stride, stride, 1), str(given["padding"]))
    options = {"dilations": (dilation, dilation)}
    np.savez(
        file.with_suffix(".computed"),
        depthwise=tf.nn.depthwise_conv2d(x, taps, *window, **options),
        separable=tf.nn.separable_conv2d(x, taps, pointwise.T[None, None], *window, **options),
    )
"""
TENSORFLOW_CASES = [
    {"size": size, "padding": padding, "stride": stride, "dilation": dilation, "multiplier": m}
    for size in ((15, 15), (14, 11))
    for padding in ("SAME", "VALID")
    for stride, dilation in ((1, 1), (2, 1), (1, 2))
    for m in (1, 2)
]


@pytest.fixture(scope="module")
def from_tensorflow(tmp_path_factory):
    """Return the inputs of every case with what TensorFlow computes from them."""
    folder = tmp_path_factory.mktemp("tensorflow")
    rng = np.random.default_rng(0)
    given = []
    for index, case in enumerate(TENSORFLOW_CASES):
        channels = 6 * case["multiplier"]
        arrays = {
            "x": rng.standard_normal((2, *case["size"], 6), np.float32),
            "depthwise": rng.standard_normal((channels, 1, 3, 3), np.float32),
            "pointwise": rng.standard_normal((5, channels), np.float32),
        }
        window = {name: case[name] for name in ("stride", "dilation", "padding")}
        np.savez(folder / f"{index}.npz", **arrays, **window)
        given.append(arrays)
    subprocess.run(
        [environments.interpreter("tensorflow"), "-c", TENSORFLOW_PROGRAM, folder],
        check=True,
        env={**os.environ, **environments.variables("tensorflow")},
    )
    computed = [np.load(folder / f"{index}.computed.npz") for index in range(len(given))]
    return list(zip(given, computed, strict=True))


@pytest.mark.peers
@pytest.mark.parametrize(
    "index", range(len(TENSORFLOW_CASES)), ids=lambda i: str(TENSORFLOW_CASES[i])
)
def test_our_functions_equal_tensorflows(from_tensorflow, index):
    given, expected = from_tensorflow[index]
    case = TENSORFLOW_CASES[index]
    window = {name: case[name] for name in ("stride", "dilation", "padding")}
    ours = dw.depthwise_conv2d(given["x"], given["depthwise"], **window, layout="NHWC")
    np.testing.assert_allclose(ours, expected["depthwise"], rtol=1e-5, atol=1e-5)
    ours = dw.separable_conv2d(*given.values(), **window, layout="NHWC")
    np.testing.assert_allclose(ours, expected["separable"], rtol=1e-5, atol=1e-4)
