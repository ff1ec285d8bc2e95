"""Models named on a command line: what is loaded, what is refused and why."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch
from torch import nn

from depthwise.errors import ModelError
from depthwise.torch.loading import load


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.fixture
def exported(folder):
    """The file of an exported program, and what it computes."""
    model, x = network().eval(), torch.randn(1, 3, 8, 8)
    torch.export.save(torch.export.export(model, (x,)), folder / "model.pt2")
    return folder / "model.pt2", x, model(x)


def test_an_exported_program_is_loaded_in_eval_mode(exported):
    file, x, y = exported
    model = load(str(file))
    assert not any(module.training for module in model.modules())
    torch.testing.assert_close(model(x), y)


@pytest.mark.parametrize("content", ["text", "archive"])
def test_another_file_is_no_exported_program(folder, caplog, content):
    file = folder / "other.pt2"
    if content == "text":
        file.write_text("a model")
    else:
        torch.save({}, file)
    with pytest.raises(ModelError, match=r"torch\.export\.save writes; got .*other\.pt2"):
        load(str(file))
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["no/model.pt2", "model.pt", "model.pth"])
def test_a_file_that_is_not_there(folder, name):
    with pytest.raises(ModelError, match=f"no such file: {name}"):
        load(name, trust=True)


def test_a_pickled_module_runs_code_and_needs_trust(folder):
    torch.save(network(), "model.pt")
    with pytest.raises(ModelError, match="runs whatever code it names, which --trust allows"):
        load("model.pt")
    model = load("model.pt", trust=True)
    assert isinstance(model, nn.Sequential)
    assert not model.training


def test_a_pickle_of_something_else_is_refused(folder):
    torch.save(network().state_dict(), "weights.pt")
    with pytest.raises(ModelError, match=r"weights.pt gave OrderedDict \(weights alone have no"):
        load("weights.pt", trust=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(nn.ReLU()).save("script.pt")
    with pytest.raises(ModelError, match="gave RecursiveScriptModule"):
        load("script.pt", trust=True)
    (folder / "text.pt").write_text("a model")
    with pytest.raises(ModelError, match=r"text\.pt cannot be loaded: UnpicklingError"):
        load("text.pt", trust=True)


MODULE = """
from torch import nn

class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3))

made = Network()
width = 3

def of_width(width):
    return nn.Conv2d(3, width, 3)

def broken():
    return {}["weight"]

def dictionary():
    return {"weight": 1}

def leaving():
    exit(7)
"""


@pytest.fixture
def models(folder):
    package = folder / "dw_loading_test"
    package.mkdir()
    (package / "models.py").write_text(MODULE)
    (package / "leaving.py").write_text("raise SystemExit(3)\n")
    (package / "broken.py").write_text("import torch\nimport dw_no_such_module\n")
    return "dw_loading_test.models"


@pytest.mark.parametrize("name", ["Network", "made"])
def test_a_factory_or_a_module_in_the_current_folder(models, name):
    model = load(f"{models}:{name}")
    assert type(model).__name__ == "Network"
    assert not model.training


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models:nothing", r"dw_loading_test\.models has no 'nothing'"),
        ("models:", "has no ''"),
        ("models:width", r":width\(\) raised TypeError: 'int' object is not callable"),
        ("models:leaving", r":leaving\(\) raised SystemExit: 7 \("),
        ("leaving:model", r"leaving cannot be imported: SystemExit: 3 \("),
        ("models:of_width", r"TypeError: .*argument: 'width' \(.*\.py:\d+\)"),
        ("models:broken", r"KeyError: 'weight' \(.*models\.py:15\)"),
        ("models:dictionary", r"torch\.nn\.Module; .*:dictionary\(\) gave dict \(weights alone"),
        ("nowhere:made", r"nowhere cannot be imported: ModuleNotFoundError: No module named"),
        ("broken:made", r"broken cannot be imported: .*dw_no_such_module.*broken\.py:2\)"),
    ],
)
def test_factories_that_make_no_model(models, name, message):
    with pytest.raises(ModelError, match=message):
        load(f"dw_loading_test.{name}")


@pytest.mark.parametrize("name", ["mobilenet", "model.onnx", "", "."])
def test_what_is_no_form_of_a_model(name):
    with pytest.raises(ModelError, match=r"\.pt2.*--trust.*module:factory; got"):
        load(name)
