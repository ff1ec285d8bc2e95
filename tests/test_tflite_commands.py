"""`depthwise optimize`, `run` and `bench` of files of TFLite; what is missing without packages."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from depthwise.bench.inference import files
from depthwise.commands.cli import app
from depthwise.measure import network_files
from onnx_models import assert_close
from tflite_files import by_litert, noise
from tflite_networks import small

RUN = CliRunner()
IMAGE = noise(1, 12, 12, 3)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(small())
    return path


def test_optimize_measures_beside_onnx_runtime(file, tmp_path):
    fast = tmp_path / "fast.dw"
    line = ["optimize", str(file), "--threads", "1", "--save", str(fast), "--json"]
    done = RUN.invoke(app, line)
    assert done.exit_code == 0, done.output
    measured = json.loads(done.stdout)["measured"]
    assert measured["reference"] == "ONNX Runtime"
    assert measured["largest_difference"] <= measured["tolerance"]
    assert fast.exists()


def test_run_computes_arrays(file, tmp_path):
    np.save(tmp_path / "x.npy", IMAGE)
    line = ["run", str(file), "--input", str(tmp_path / "x.npy"), "--output"]
    done = RUN.invoke(app, [*line, str(tmp_path / "y.npy")])
    assert done.exit_code == 0, done.output
    assert_close([np.load(tmp_path / "y.npy")], by_litert(file.read_bytes(), [IMAGE]))


def test_bench_gives_engines_a_model_of_onnx(file, tmp_path):
    posed = files.read(str(file), ())
    assert posed.variants("onnxruntime") == ("nchwc",)
    posed.write(tmp_path)
    assert not (tmp_path / network_files.ONNX).is_symlink()
    given = network_files.inputs(tmp_path)
    wanted = by_litert(file.read_bytes(), [given["image"]])
    assert_close(network_files.expected(tmp_path), wanted)


WITHOUT = """
import sys

sys.modules["tflite"] = None
from depthwise.errors import ModelError
from depthwise.loading import load
try:
    load(sys.argv[1])
except ModelError as error:
    print(error)
"""


def test_without_the_schema(file):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(file)], capture_output=True, text=True, check=True
    )
    assert "tflite is not installed" in done.stdout
    assert ".[tflite]" in done.stdout
