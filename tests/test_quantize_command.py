"""`depthwise quantize`: data in files and folders, what is printed and written, and refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from depthwise import console
from depthwise.commands import cli
from depthwise.errors import ArrayError, DepthwiseError, ModelError
from depthwise.onnx import quantizing
from depthwise.onnx.pictures import Pictures, arrays_of
from onnx_models import by_runtime
from quantized_networks import NETWORKS, images, quantized

BEFORE = b"what was there"


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run the command where a model and data are; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    data = np.concatenate(images(4, seed=2))
    classes = np.concatenate([by_runtime(NETWORKS["relu"](), [x])[0] for x in images(4, seed=2)])
    Path("model.onnx").write_bytes(NETWORKS["relu"]().SerializeToString())
    Path("whole.onnx").write_bytes(quantized("relu").SerializeToString())
    np.save("data.npy", data)
    np.savez("data.npz", x=data, labels=classes.argmax(1))
    Path("int8.onnx").write_bytes(BEFORE)

    def run(*words, data="data.npz", model="model.onnx", output="int8.onnx"):
        line = ["depthwise", "quantize", model, "--data", data, "--output", output, *words]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code or 0, *capsys.readouterr()

    return run


def test_it_writes_a_model_and_prints_a_table(command):
    code, out, err = command("--threads", "1")
    assert (code, err) == (0, "")
    made = onnx.load("int8.onnx")
    onnx.checker.check_model(made, full_check=True)
    assert "QuantizeLinear" in {each.op_type for each in made.graph.node}
    assert max(map(len, out.splitlines())) <= console.PIPE_WIDTH
    assert "depthwise 5x5" in out
    assert "right on" in out
    assert "the float network on 100.0%" in out.replace("\n", " ")


def test_json_has_all_of_it_and_csv_a_line_for_each_layer(command):
    code, out, _ = command("--json", "--keep-float", "gemm*", "--reduce-range")
    assert code == 0
    found = json.loads(out)
    assert [row["dtype"] for row in found["layers"]] == ["int8"] * 5 + ["float32"]
    assert found["accuracy"]["correct_before"] == 1
    assert found["bytes_after"] == Path("int8.onnx").stat().st_size
    assert found["calibration"] == "percentile"
    code, out, _ = command("--csv", "--calibration", "minmax", "--tolerance", "0.5")
    assert code == 0
    assert out.splitlines()[0] == "name,kind,dtype,error"
    assert len(out.splitlines()) == 7


def test_it_draws_the_layers(command):
    code, _, _ = command("--plot", "layers.png", data="data.npy")
    assert code == 0
    with Image.open("layers.png") as picture:
        assert picture.width > picture.height > 100
    (code, _, err) = command("--plot", "layers.what")
    assert code == 2
    assert "suffix is one of" in err


def test_what_results_are_compared_with_may_be_other_data(command):
    data = images(1)[0]
    np.savez("test.npz", x=data, labels=np.array([0, 1]))
    code, out, _ = command("--test", "test.npz", "--json")
    assert code == 0
    assert json.loads(out)["accuracy"]["images"] == 2
    assert json.loads(out)["calibrated_images"] == 8


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {"model": "nothing.onnx"}, "there is no such file: nothing.onnx"),
        ([], {"model": "whole.onnx"}, "quantized already"),
        ([], {"model": "data.npy"}, "a model is a file of ONNX"),
        ([], {"data": "nothing.npz"}, "there is no nothing.npz"),
        ([], {"data": "model.onnx"}, "an input is an array in a file .npy; got model.onnx"),
        ([], {"data": "broken.npz"}, "a file is one that can be read; got broken.npz"),
        ([], {"data": "empty"}, "got none of either in empty"),
        ([], {"output": "model.onnx/int8.onnx"}, "results go to a file that can be written"),
        (["--keep-float", "conv99"], {}, "got 'conv99'"),
        (["--size", "big"], {}, "a size is height and width, as 224x224; got 'big'"),
        (["--mean", "a,b"], {}, "mean and std are numbers with commas between them; got 'a,b'"),
        (["--mean", "nan"], {}, "mean and std are numbers"),
        (["--tolerance", "-1"], {}, "tolerance is a relative error above 0; got -1"),
        (["--calibration", "mean"], {}, "'mean' is not one of"),
        (["--json", "--csv"], {}, "got both"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line_and_writes_nothing(
    command, words, options, message
):
    Path("broken.npz").write_bytes(b"no archive")
    Path("empty").mkdir()
    code, out, err = command(*words, **options)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("depthwise: ")
    assert err.count("\n") == 1
    assert Path("int8.onnx").read_bytes() == BEFORE


def test_an_interrupt_leaves_what_was_there(command, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(quantizing, "errors", interrupted)
    code, out, _ = command()
    assert (code, out) == (130, "")
    assert Path("int8.onnx").read_bytes() == BEFORE
    assert not list(Path().glob(".depthwise-*"))


def pictures(folder, *colours, size=(8, 6)):
    folder.mkdir()
    for number, colour in enumerate(colours):
        Image.new("RGB", size, colour).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_images_become_arrays_as_the_input_lies(tmp_path):
    folder = pictures(tmp_path / "photos", (255, 0, 51), (0, 102, 0))
    planes = arrays_of(folder, (None, 3, 4, 5), "float32", Pictures())
    assert planes.shape == (2, 3, 4, 5)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes[:, :, 2, 2], [[1, 0, 0.2], [0, 0.4, 0]], rtol=1e-6)
    scaled = Pictures(size=(4, 5), mean=(0.5, 0, 0.2), std=(0.5,))
    last = arrays_of(folder, (None, None, None, 3), "float32", scaled)
    assert last.shape == (2, 4, 5, 3)
    np.testing.assert_allclose(last[:, 1, 1], [[1, 0, 0], [-1, 0.8, -0.4]], atol=1e-6)
    raw = arrays_of(folder, (1, 2, 2, 3), "uint8", Pictures())
    assert raw[0, 0, 0].tolist() == [255, 0, 51]
    grey = arrays_of(folder, (1, 1, 2, 2), "float32", Pictures())
    assert grey.shape == (2, 1, 2, 2)
    assert grey[0, 0, 0, 0] == pytest.approx((255 * 299 + 51 * 114) / 1000 / 255, abs=1 / 255)


def test_images_are_cut_in_the_middle_and_never_stretched(tmp_path):
    folder = pictures(tmp_path / "photos")
    wide = Image.new("L", (30, 10), 0)
    wide.paste(255, (10, 0, 20, 10))
    wide.save(folder / "wide.png")
    (found,) = arrays_of(folder, (1, 1, 10, 10), "float32", Pictures())
    assert (found == 1).all()


def test_a_folder_may_have_arrays(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full((1, 2), number, np.float32))
    found = arrays_of(tmp_path, (None, 1, 2), "float32", Pictures())
    np.testing.assert_array_equal(found, [[[0, 0]], [[1, 1]], [[2, 2]]])
    np.save(tmp_path / "3.npy", np.zeros((2, 1, 2), np.float32))
    assert arrays_of(tmp_path, (None, 1, 2), "float32", Pictures()).shape == (5, 1, 2)
    np.save(tmp_path / "4.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(ArrayError, match=r"one shape and type; got \(1, 1, 2\) .* in 0.npy and"):
        arrays_of(tmp_path, (None, 1, 2), "float32", Pictures())


@pytest.mark.parametrize(
    ("sizes", "how", "error", "words"),
    [
        ((None, 8), {}, ArrayError, r"of 1 or 3 channels; got \(any, 8\)"),
        ((1, 4, 8, 8), {}, ArrayError, "of 1 or 3 channels"),
        ((1, 3, 8, 3), {}, ArrayError, "of 1 or 3 channels"),
        ((1, 3, None, 8), {}, ModelError, r"one that is given .--size 224x224."),
        ((1, 3, 8, 8), {"size": (4, 8)}, ModelError, "takes, 8x8; got 4x8"),
        ((1, 3, 8, 8), {"mean": (1, 2)}, ArrayError, r"mean is a number, or 3 of them"),
        ((1, 3, 8, 8), {"std": (0.0,)}, ArrayError, "std is not 0"),
    ],
)
def test_images_for_no_such_input_are_refused(tmp_path, sizes, how, error, words):
    folder = pictures(tmp_path / "photos", (1, 2, 3))
    with pytest.raises(error, match=words):
        arrays_of(folder, sizes, "float32", Pictures(**how))


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ModelError, match=r"got .*bad.png: cannot identify"):
        arrays_of(tmp_path, (1, 3, 8, 8), "float32", Pictures())


def test_without_pillow_the_error_says_what_installs_it(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "photos", (1, 2, 3))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DepthwiseError, match="pip install pillow"):
        arrays_of(folder, (1, 3, 8, 8), "float32", Pictures())
