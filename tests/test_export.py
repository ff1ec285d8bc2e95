"""`export`: problems and networks as C and objects, built and run here; names, folders, errors."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import depthwise as dw
from depthwise.errors import (
    ArrayError,
    DepthwiseError,
    MemoryBudgetError,
    ModelError,
    SpecError,
    TargetError,
)
from depthwise.exporting.names import distinct, named_after
from depthwise.problem.parse import specification
from exporting import SANITIZED, assert_right, built, name_of, run, sources
from onnx_models import model, node, noise, port
from pages import place
from quantized_networks import NETWORKS, quantized
from strategies import specs
from test_families import LINES
from tiny_networks import SHAPES, file

PROBLEM = "depthwise c5 hw7 k3 p1 nhwc bias relu"
HERE = "x86-64" if dw.compile(PROBLEM).target.architecture == "x86_64" else "aarch64"


def kernels_of(line):
    return specification(line).kernels


def is_exported(spec):
    """Whether it takes no table, and its arrays lie in memory as they are computed."""
    return not spec.kind.startswith("causal") and not spec.element.storage


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("causal")])
def test_every_kind_of_problem_is_right_in_c(line, tmp_path):
    for number, kernel in enumerate(kernels_of(line)):
        dw.export(kernel, tmp_path / str(number), name="f")
        assert_right(tmp_path / str(number))


@given(spec=specs().filter(is_exported))
@settings(max_examples=12)
def test_problems_are_right_in_c(spec, tmp_path_factory):
    for kernel in spec.kernels:
        folder = tmp_path_factory.mktemp("c") / "f"
        dw.export(kernel, folder, name="f")
        assert_right(folder, *SANITIZED)


@pytest.mark.parametrize("form", ["c", "object"])
@pytest.mark.parametrize("optimize", ["speed", "memory"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_network_is_right(dtype, optimize, form, tmp_path):
    folder = tmp_path / "net"
    report = dw.export(
        file("small", dtype), folder, target=HERE, format=form, optimize=optimize, name="net"
    )
    assert_right(folder, *SANITIZED)
    header = (folder / "net.h").read_text()
    assert f"NET_ARENA_BYTES {report.arena_bytes}" in header
    assert sorted(report.files) == sorted(
        str(each.relative_to(folder)) for each in folder.rglob("*")
        if each.is_file() and each.name != "program"
    )  # fmt: skip


@pytest.mark.parametrize("options", [
    {"workers": 3}, {"blob": True}, {"workers": 2, "blob": True, "optimize": "memory"},
])  # fmt: skip
def test_threads_and_weights_of_the_callers_are_right(options, tmp_path):
    for dtype in ("float32", "int8"):
        folder = tmp_path / dtype
        dw.export(file("small", dtype), folder, name="net", **options)
        assert_right(folder, *SANITIZED)


def test_clang_accepts_it_too(tmp_path):
    dw.export(file("small", "int8"), tmp_path / "net", name="net", optimize="memory", workers=2)
    assert_right(tmp_path / "net", "-Wno-unknown-warning-option", compiler=["clang"])


def test_cmake_builds_it_and_runs_its_test(tmp_path):
    for form in ("c", "object"):
        folder = tmp_path / form
        dw.export(file("small"), folder, name="net", target=HERE, format=form)
        build = str(folder / "build")
        for words in (
            ["cmake", "-S", str(folder), "-B", build], ["cmake", "--build", build],
            ["ctest", "--test-dir", build, "--output-on-failure"],
        ):  # fmt: skip
            subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("other", ["77.5f", "(0.0f / 0.0f)"])
def test_the_test_of_an_export_can_fail(other, tmp_path):
    dw.export(file("small", "int8"), tmp_path / "net", name="net")
    vectors = tmp_path / "net" / "net_vectors.c"
    text = vectors.read_text()
    start = text.index("net_want_scores[5] = {")
    number = re.compile(r"-?[0-9.]+(e-?[0-9]+)?f").search(text, start)
    vectors.write_text(text[: number.start()] + other + text[number.end() :])
    done = subprocess.run([str(built(tmp_path / "net"))], check=False, capture_output=True)
    assert (done.returncode, b"scores[0]" in done.stdout) == (1, True)


def library(folder):
    """Return the function of an export in a shared library of this process."""
    path = folder / "shared.so"
    own = [each for each in sources(folder) if not each.endswith(("_test.c", "_vectors.c"))]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", *own, "-o", str(path), "-lm"], check=True)
    return getattr(ctypes.CDLL(str(path)), name_of(folder))


def wanted(name, dtype, image):
    """Return what the package itself computes."""
    return dw.load(file(name, dtype))(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))


def image(seed):
    batch, channels, height, width = SHAPES["small"]
    shape = batch, height, width, channels
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("optimize", ["speed", "memory"])
def test_it_reads_and_writes_its_arrays_and_its_arena_alone(optimize, tmp_path):
    report = dw.export(file("small", "int8"), tmp_path / "net", name="net", optimize=optimize)
    function = library(tmp_path / "net")
    x = image(1)
    for at_end in (True, False):
        given = place(x, at_end=at_end, read_only=True)
        out = place(np.full((1, 5), np.nan, np.float32), at_end=at_end)
        arena = place(np.zeros(report.arena_bytes, np.uint8), at_end=at_end)
        function(*(ctypes.c_void_p(each.array.ctypes.data) for each in (given, out, arena)))
        assert out.alone_written
        assert arena.alone_written
        np.testing.assert_array_equal(out.array, wanted("small", "int8", x))


def test_calls_at_a_time_have_nothing_to_do_with_each_other(tmp_path):
    report = dw.export(file("small", "int8"), tmp_path / "net", name="net", optimize="memory")
    function = library(tmp_path / "net")
    images = [image(seed) for seed in range(4)]
    results = [np.zeros((1, 5), np.float32) for _ in images]

    def compute(x, out):
        arena = np.full(report.arena_bytes, 255, np.uint8)
        for _ in range(20):
            function(*(ctypes.c_void_p(each.ctypes.data) for each in (x, out, arena)))

    threads = [
        threading.Thread(target=compute, args=pair) for pair in zip(images, results, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x, out in zip(images, results, strict=True):
        np.testing.assert_array_equal(out, wanted("small", "int8", x))


def test_a_budget_of_memory_is_kept_or_refused(tmp_path):
    least = dw.export(file("small", "int8"), tmp_path / "a", optimize="memory").arena_bytes
    most = dw.export(file("small", "int8"), tmp_path / "b").arena_bytes
    assert least < most
    between = (least + most) // 2
    report = dw.export(file("small", "int8"), tmp_path / "c", memory=between, name="net")
    assert report.arena_bytes <= between
    assert_right(tmp_path / "c")
    with pytest.raises(MemoryBudgetError, match="1000"):
        dw.export(file("small", "int8"), tmp_path / "d", memory=1000)
    assert not (tmp_path / "d").exists()


def test_size_is_less_code(tmp_path):
    usual, small = (
        dw.export(file("small"), tmp_path / aim, name="net", optimize=aim)
        for aim in ("speed", "size")
    )
    assert_right(tmp_path / "size")
    assert small.files["net.c"] < usual.files["net.c"]
    if usual.code_bytes is not None:
        assert small.code_bytes < usual.code_bytes


@pytest.mark.parametrize(("name", "whole"), [
    ("silu", True), ("residual", False), ("branches", True), ("branches", False), ("gated", True),
    ("gated", False), ("product", True),
])  # fmt: skip
def test_networks_of_all_kinds_are_right(name, whole, tmp_path):
    """Softmax, concatenations, squeeze-and-excite, and a flattened image are among them."""
    model = quantized(name) if whole else NETWORKS[name]()
    dw.export(model.SerializeToString(), tmp_path / "f", name="f", optimize="memory")
    assert_right(tmp_path / "f", *SANITIZED)
    if name == "branches":
        assert "@40" in (tmp_path / "f" / "f.c").read_text()  # images that lie in others


def test_weights_of_a_problem_are_those_given(tmp_path):
    spec = specification("depthwise c3 hw5 k3 p1 nhwc bias")
    x, weight, bias, _ = dw.random_problem(spec, seed=7)
    dw.export(spec, tmp_path / "f", name="f", operands={"weight": weight, "bias": bias})
    out, arena = np.zeros(spec.output_shape, np.float32), np.zeros(64, np.uint8)
    library(tmp_path / "f")(*(ctypes.c_void_p(each.ctypes.data) for each in (x, out, arena)))
    np.testing.assert_allclose(out, dw.compile(spec)(x, weight, bias), rtol=1e-5, atol=1e-5)
    with pytest.raises(SpecError, match="operands are weight, bias; got weight"):
        dw.export(spec, tmp_path / "g", operands={"weight": weight})
    with pytest.raises(ArrayError, match="bias"):
        dw.export(spec, tmp_path / "g", operands={"weight": weight, "bias": bias[:1]})


def test_the_same_export_has_the_same_files(tmp_path):
    for folder in ("a", "b"):
        dw.export(file("small"), tmp_path / folder, name="net", target=HERE)
    for made in sorted((tmp_path / "a").rglob("*.?")):
        again = tmp_path / "b" / made.relative_to(tmp_path / "a")
        assert made.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    "name",
    ["", "1st", "a-b", "int", "class", "main", "ä", "a" * 60, "_a", "printf", "rows_0", "size_t"],
)
def test_names_are_those_of_functions(name, tmp_path):
    with pytest.raises(SpecError, match="a name is that of a function in C"):
        dw.export(PROBLEM, tmp_path / "f", name=name)
    assert not list(tmp_path.iterdir())


def test_names_of_arrays_are_made_for_c():
    assert distinct(["x.1", "x_1", "X 1", "int", "arena", "", "3d", "f_w0", "size_t"], "f") == [
        "x_1", "x_1_2", "x_1_3", "data_of_int", "data_of_arena", "data", "data_3d", "data_of_f_w0",
        "data_of_size_t",
    ]  # fmt: skip
    assert named_after("My net (v2)", "network") == "my_net_v2"


WEIGHTS = {"p": noise(4, 3, 3, 3), "q": noise(6, 4, 3, 3), "r": noise(2, 6, 3, 3)}
PADS = {"pads": [1, 1, 1, 1]}


@pytest.mark.parametrize("optimize", ["speed", "memory"])
@pytest.mark.parametrize("name", [
    "f_w0", "i", "arena", "memmove", "f_version", "f_want_y", "x", "x0", "rings", "to", "sums",
])  # fmt: skip
def test_arrays_of_any_name_are_right(name, optimize, tmp_path):
    nodes = [node("Conv", f"{name} p", "a", **PADS), node("Conv", "a q", "b", **PADS),
             node("Conv", "b r", "y", **PADS)]  # fmt: skip
    network = model(nodes, [port(name, (1, 3, 16, 16))], ["y"], WEIGHTS)
    dw.export(network.SerializeToString(), tmp_path / "f", name="f", workers=2, optimize=optimize)
    assert_right(tmp_path / "f", "-Wshadow")


@pytest.mark.parametrize("optimize", ["speed", "memory"])
@pytest.mark.parametrize(("before", "after"), [((16, 16), (32, 8)), ((16, 16), (4, 64))])
def test_images_seen_in_other_shapes_are_right(before, after, optimize, tmp_path):
    nodes = [node("Conv", "x p", "a", **PADS), node("Reshape", "a shape", "b"),
             node("Conv", "b q", "c", **PADS), node("Conv", "c r", "y", **PADS)]  # fmt: skip
    shape = {"shape": np.array([1, 4, *after], np.int64)}
    network = model(nodes, [port("x", (1, 3, *before))], ["y"], WEIGHTS | shape)
    dw.export(network.SerializeToString(), tmp_path / "f", name="f", optimize=optimize)
    assert_right(tmp_path / "f", *SANITIZED)


def test_objects_of_the_same_name_are_the_same(tmp_path):
    found = {}
    for optimize in ("speed", "memory"):
        for dtype in ("float32", "int8"):
            folder = tmp_path / f"{optimize}_{dtype}"
            dw.export(file("small", dtype), folder, target="cortex-m4f", optimize=optimize)
            for made in folder.glob("objects/*.o"):
                assert found.setdefault(made.name, made.read_bytes()) == made.read_bytes()


def test_a_folder_of_somebody_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("what was there")
    with pytest.raises(DepthwiseError, match="it holds other files"):
        dw.export(PROBLEM, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "README.md").read_text() == "what was there"


def test_a_folder_is_replaced_only_where_that_is_wanted(tmp_path):
    folder = tmp_path / "f"
    dw.export(PROBLEM, folder, name="one")
    before = sorted(folder.rglob("*"))
    with pytest.raises(DepthwiseError, match="--force"):
        dw.export(PROBLEM, folder, name="two")
    assert sorted(folder.rglob("*")) == before
    dw.export(PROBLEM, folder, name="two", force=True)
    assert (folder / "two.h").exists()
    assert not (folder / "one.h").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    there = tmp_path / "file"
    there.write_text("what was there")
    for folder in (there, there / "below"):
        with pytest.raises(DepthwiseError):
            dw.export(PROBLEM, folder, force=True)
    assert there.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"target": "cortex-m99"}, TargetError, "cortex-m55"),
    ({"target": "c", "format": "object"}, TargetError, "no code but C"),
    ({"workers": -1}, SpecError, "threads"),
    ({"plan": "nothing tw1"}, DepthwiseError, "nothing"),
    ({"optimize": "fast"}, SpecError, "speed, size, memory"),
    ({"format": "zip"}, SpecError, "static-library"),
    ({"memory": 0}, SpecError, "bytes of memory are at least 1"),
])  # fmt: skip
def test_refusals_say_what_to_do(options, error, words, tmp_path):
    with pytest.raises(error, match=re.escape(words)):
        dw.export(PROBLEM, tmp_path / "f", **options)
    assert not list(tmp_path.iterdir())


def test_what_takes_a_table_of_sequences_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"depthwise1d with the padding p3,0 .*: causal c4 l9 k4"):
        dw.export("causal c4 l9 k4", tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_what_no_kernel_computes_is_named(tmp_path):
    strange = model(
        [node("Relu", "x", "s"), node("CumSum", "s axis", "y")],
        [port("x", (1, 4))], [port("y", (1, 4))], {"axis": np.array(1, np.int64)},
    )  # fmt: skip
    with pytest.raises(ModelError, match="CumSum"):
        dw.export(strange.SerializeToString(), tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_sizes_that_are_open_are_asked_for(tmp_path):
    weight = np.ones((2, 3, 3, 3), np.float32)
    open_sizes = model(
        [node("Conv", "x w", "y")], [port("x", (1, 3, "h", "w"))], [port("y", None)], {"w": weight}
    )
    with pytest.raises(ModelError, match="give its shape"):
        dw.export(open_sizes.SerializeToString(), tmp_path / "f")
    dw.export(open_sizes.SerializeToString(), tmp_path / "f", inputs={"x": (1, 3, 9, 8)}, name="f")
    assert_right(tmp_path / "f")


@pytest.mark.skipif(shutil.which("cppcheck") is None, reason="needs cppcheck")
def test_cppcheck_finds_nothing(tmp_path):
    dw.export(file("small", "int8"), tmp_path / "net", name="net", optimize="memory", workers=2)
    words = ["cppcheck", "--quiet", "--error-exitcode=1", "--std=c99", str(tmp_path / "net")]
    subprocess.run(words, check=True)


def test_a_c_plus_plus_program_takes_the_header(tmp_path):
    dw.export(PROBLEM, tmp_path / "f", name="f")
    program = Path(tmp_path / "main.cpp")
    program.write_text('#include "f/f.h"\nint main() { return f_version()[0] == 0; }\n')
    for words in (
        ["gcc", "-c", f"{tmp_path}/f/f.c", "-o", f"{tmp_path}/f.o"],
        ["gcc", "-c", f"{tmp_path}/f/f_weights.c", "-o", f"{tmp_path}/w.o"],
        ["g++", "-Wall", "-Wextra", "-Werror", str(program), f"{tmp_path}/f.o", f"{tmp_path}/w.o",
         "-lm", "-o", f"{tmp_path}/main"],
    ):  # fmt: skip
        subprocess.run(words, check=True)
    run(Path(tmp_path / "main"))
