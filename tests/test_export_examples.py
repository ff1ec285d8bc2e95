"""What `examples/export` has: built and run as its README says, and held against the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import depthwise as dw
from browser import CHROMIUM, DRIVER, console_errors, requests_outside, start
from exporting import PATIENCE_SECONDS, SANITIZED, STRICT

ROOT = Path(__file__).parents[1]
EXAMPLES = Path("examples") / "export"
CLASSES, HEIGHT, WIDTH = 5, 17, 15
FRAMES, FEATURES, EVERY, LAST_FRAME = 49, 10, 6, 97
PAGE_SECONDS = 20
WARNINGS = [flag for flag in STRICT if flag.startswith(("-W", "-pedantic"))]


def commands_of(title):
    """Return the commands of a section of the README, a line each."""
    text = (ROOT / EXAMPLES / "README.md").read_text()
    body = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.search(r"```sh\n(.*?)```", body, re.DOTALL)[1].replace("\\\n", "").splitlines()


def environment():
    """Return variables with which `depthwise` and `python` are those that run this."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", "RUSTFLAGS": "--deny=warnings"}


def run(commands, folder):
    done = subprocess.run(
        ["bash", "-euc", "\n".join(commands)], cwd=folder, env=environment(),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done


def with_flags(commands, flag, *more):
    """Return commands that have more flags behind one."""
    assert any(flag in line for line in commands)
    return [line.replace(flag, " ".join([flag, *more])) for line in commands]


def needs(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a copy of the examples, with networks and what they are to classify."""
    root = tmp_path_factory.mktemp("clone")
    copy = root / EXAMPLES
    shutil.copytree(
        ROOT / EXAMPLES, copy, ignore=shutil.ignore_patterns("target", "exported*", "*.onnx")
    )
    (root / "tests").symlink_to(ROOT / "tests")
    run(commands_of("Networks"), copy)
    write_ppm(copy / "picture.ppm", picture())
    prepared(picture()).tofile(copy / "image.raw")
    return copy


@pytest.fixture(scope="module")
def exported(folder):
    """Return the folder of the examples, with the network as C."""
    run(commands_of("C")[:1], folder)
    return folder


def picture():
    """Return a picture, larger than the network's in one direction and smaller in the other."""
    return np.random.default_rng(0).integers(0, 256, (41, 13, 3), np.uint8)


def write_ppm(path, pixels):
    height, width, _ = pixels.shape
    header = f"P6\n# by a test\n{width} {height}\n255\n"
    path.write_bytes(header.encode() + pixels.tobytes())


def prepared(pixels):
    """Return the network's input by the rule of the README."""
    rows = np.arange(HEIGHT) * pixels.shape[0] // HEIGHT
    columns = np.arange(WIDTH) * pixels.shape[1] // WIDTH
    return (pixels[rows][:, columns] / 255).astype(np.float32)


def scores_of(pixels, folder):
    """Return what the package computes of a picture."""
    image = np.ascontiguousarray(prepared(pixels).transpose(2, 0, 1))
    return dw.load(folder / "image.onnx")(image[None])[0]


def assert_scores(printed, want):
    np.testing.assert_allclose(np.array(printed, float), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_prints_the_best_classes(compiler, exported):
    needs(compiler)
    commands = with_flags(commands_of("C")[1:], "-O2", *STRICT, *SANITIZED)
    commands = [re.sub("^cc", compiler, line) for line in commands]
    done = run([*commands, "./classify image.raw"], exported)
    printed = re.findall(r"class (\d+): (.+)", done.stdout)
    scores = scores_of(picture(), exported)
    best = [*np.argsort(-scores)] * 2
    assert [int(name) for name, _ in printed] == best
    assert_scores([score for _, score in printed], scores[best])


def test_c_refuses_what_is_no_picture(exported):
    needs("cc")
    whole = (exported / "picture.ppm").read_bytes()
    wrong = {
        "empty": b"", "short": whole[:-120], "deep": b"P6 2 2 65535\n" + bytes(24),
        "wide": b"P6 8193 1 255\n" + bytes(3 * 8193), "flat": b"P6 5 0 255\n",
        "long": (exported / "image.raw").read_bytes() + b"\0",
    }  # fmt: skip
    for name, content in wrong.items():
        (exported / name).write_bytes(content)
    build = with_flags(commands_of("C")[1:2], "-O2", *STRICT, *SANITIZED)
    tries = [f"! ./classify {name}" for name in [*wrong, "absent"]]
    said = run([*build, *tries], exported).stderr.splitlines()
    assert [line.split("; got ")[1] for line in said] == [*wrong, "absent"]


def test_calls_of_cpp_at_a_time_agree(folder):
    needs("cc", "c++")
    flags = ("-O1", *WARNINGS, "-g", "-fsanitize=thread")
    commands = with_flags(commands_of("C++"), "-O2", *flags)
    printed = run(commands, folder).stdout.split()[-CLASSES:]
    assert_scores(printed, scores_of(picture(), folder))


def test_a_crate_of_rust_computes_the_scores(exported):
    needs("cc", "ar", "cargo")
    done = run(commands_of("Rust"), exported)
    assert "3 passed" in done.stdout
    assert_scores(done.stdout.split()[-CLASSES:], scores_of(picture(), exported))


def test_rust_is_as_its_own_tools_want_it(exported):
    needs("cc", "ar", "cargo-clippy", "cargo-fmt")
    run(["cargo fmt --check", "cargo clippy --offline --all-targets"], exported / "rust")


@pytest.fixture
def address(folder):
    """Serve the page; return its address."""
    if find_spec("ziglang") is None:
        pytest.skip("needs ziglang")
    *building, serving = commands_of("A browser")
    run(with_flags(building, "-msimd128", "-std=c99", *WARNINGS), folder)
    serving = serving.replace("8000", "0").replace("python", "exec python -u")
    with subprocess.Popen(
        ["bash", "-c", serving], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            yield re.search(r"http://[0-9.:]+/", server.stdout.readline())[0]
        finally:
            server.terminate()


@pytest.fixture
def chromium():
    if find_spec("selenium") is None:
        pytest.skip("needs selenium")
    needs(CHROMIUM, DRIVER)
    driver = start()
    yield driver
    driver.quit()


_SCORES = """
return [...document.querySelectorAll('#scores tr')]
  .map(row => [row.cells[0].textContent, row.cells[1].textContent])
"""
_PIXELS = """
const canvas = document.querySelector('#picture');
const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
return [canvas.height, canvas.width, ...data]
"""


def awaited(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, PAGE_SECONDS).until(condition)


def choose(driver, path):
    """Choose a file on the page, which lists no scores until it has seen to it."""
    driver.execute_script("document.querySelector('#scores').replaceChildren()")
    driver.find_element("id", "file").send_keys(str(path))


def assert_page(driver, want):
    """Hold the scores on the page, the best first, against others."""
    listed = awaited(driver, lambda page: page.execute_script(_SCORES))
    best = np.argsort(-want)
    assert [name for name, _ in listed] == [f"class {number}" for number in best]
    assert_scores([score for _, score in listed], want[best])


def test_a_page_classifies_its_sample_and_what_is_chosen(address, folder, chromium):
    from PIL import Image

    chromium.get(address)
    awaited(chromium, lambda page: page.execute_script(_SCORES))
    height, width, *data = chromium.execute_script(_PIXELS)
    sample = np.array(data, np.uint8).reshape(height, width, 4)[..., :3]
    assert_page(chromium, scores_of(sample, folder))

    Image.fromarray(picture()).save(folder / "picture.png")
    choose(chromium, folder / "picture.png")
    assert_page(chromium, scores_of(picture(), folder))
    choose(chromium, folder / "README.md")
    message = awaited(chromium, lambda page: page.find_element("id", "message").text)
    assert message.startswith("README.md is no picture")

    assert console_errors(chromium) == []
    assert requests_outside(chromium, address) == []


def signal(count):
    """Return the frames that `listen` of keywords.c computes."""
    frame, feature = np.arange(count)[:, None], np.arange(FEATURES)
    tones = (frame * (2 * feature + 3) % 64 - 32) * (frame // 32)
    return (tones / 16).astype(np.float32)


def heard(folder):
    """Return what is to be heard: frames, and the smoothed scores behind them."""
    network, frames = dw.load(folder / "sound.onnx"), signal(LAST_FRAME)
    smoothed = None
    for count in range(FRAMES, LAST_FRAME + 1, EVERY):
        window = frames[count - FRAMES : count].reshape(1, 1, FRAMES, FEATURES)
        scores = network(window)[0]
        smoothed = scores if smoothed is None else smoothed + (scores - smoothed) / np.float32(4)
        yield count, smoothed


def test_a_cortex_m4_hears_what_the_package_hears(folder):
    """Whole numbers are the same everywhere, and so is every digit."""
    needs("arm-none-eabi-gcc", "qemu-system-arm")
    # -pedantic wants no pointers to functions in the table that the start-up code begins with.
    flags = [flag for flag in WARNINGS if flag != "-pedantic"]
    printed = run(with_flags(commands_of("A microcontroller"), "-std=c99", *flags), folder).stdout
    lines = [line.split() for line in printed.splitlines() if re.match(r"\d+ \S+:", line)]
    words = set()
    for (count, word, *scores), (frames, smoothed) in zip(lines, heard(folder), strict=True):
        assert int(count) == frames
        np.testing.assert_array_equal(np.array(scores, np.float32), smoothed)
        words.add((word, int(smoothed.argmax())))
    assert words == {("up:", 4), ("go:", 11)}
