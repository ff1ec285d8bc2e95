"""Models of transformers whose causal convolutions are ours."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import depthwise.torch
from depthwise.errors import ModelError
from depthwise.functions import causal
from depthwise.torch import causal_step, patch_causal_conv1d, patch_imports
from sequence_models import CONFIGS, logits_of, sequence_model

NAMES = ("causal_conv1d_fn", "causal_conv1d_update")
MAMBA = "transformers.models.mamba.modeling_mamba"


@pytest.fixture
def calls(monkeypatch):
    """How often sequences and steps were computed by kernels."""
    counted = {"sequences": 0, "steps": 0}
    sequences, step = causal.causal_conv1d, causal_step.update

    def counting_sequences(*arguments, **others):
        counted["sequences"] += 1
        return sequences(*arguments, **others)

    def counting_steps(*arguments):
        y = step(*arguments)
        counted["steps"] += y is not None
        return y

    monkeypatch.setattr(causal, "causal_conv1d", counting_sequences)
    monkeypatch.setattr(causal_step, "update", counting_steps)
    return counted


def functions(module):
    return [vars(module)[name] for name in NAMES]


def mamba():
    return importlib.import_module(MAMBA)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_the_model_as_it_was(name, calls):
    model, ids = sequence_model(name), torch.randint(3, 99, (2, 11))
    expected = logits_of(model, ids, 7)
    assert calls == {"sequences": 0, "steps": 0}
    with patch_causal_conv1d():
        got = logits_of(model, ids, 7)
    layers = calls["sequences"]
    assert layers >= 1
    assert calls["steps"] == 4 * layers
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(logits_of(model, ids, 7), expected, rtol=0, atol=0)
    assert calls["sequences"] == layers


def test_a_patched_model_trains():
    model, ids = sequence_model("Mamba2"), torch.randint(3, 99, (2, 11))

    def gradients():
        loss = model(ids, labels=ids).loss
        return torch.autograd.grad(loss, [*model.parameters()], allow_unused=True)

    expected = gradients()
    with patch_causal_conv1d():
        torch.testing.assert_close(gradients(), expected, rtol=1e-3, atol=1e-5)


def test_patches_may_be_nested_and_undone_in_any_order():
    module = mamba()
    theirs = functions(module)
    first, second = patch_causal_conv1d(), patch_causal_conv1d(module)
    assert module.__name__ in first.modules
    assert second.modules == (MAMBA,)
    ours = functions(module)
    assert ours != theirs
    first.undo()
    first.undo()
    assert functions(module) == ours
    assert first.modules == ()
    with patch_causal_conv1d():
        assert functions(module) == ours
    assert functions(module) == ours
    second.undo()
    assert all(map(lambda now, then: now is then, functions(module), theirs))
    assert patch_imports._finder not in sys.meta_path


def test_a_patch_is_undone_where_the_block_raises():
    theirs, path = functions(mamba()), [*sys.meta_path]
    with pytest.raises(KeyError, match="True"), patch_causal_conv1d():
        {}[functions(mamba()) != theirs]
    assert functions(mamba()) == theirs
    assert sys.meta_path == path


def test_what_somebody_else_replaced_meanwhile_stays(monkeypatch):
    monkeypatch.setattr(mamba(), "causal_conv1d_fn", vars(mamba())["causal_conv1d_fn"])
    update = mamba().causal_conv1d_update
    with patch_causal_conv1d(mamba()):
        mamba().causal_conv1d_fn = print
    assert mamba().causal_conv1d_fn is print
    assert mamba().causal_conv1d_update is update


LATER = """
import sys
from depthwise.torch import patch_causal_conv1d
patch = patch_causal_conv1d()
from transformers.models.lfm2 import modeling_lfm2 as module
assert module.causal_conv1d_fn.replaced_by_depthwise
assert "modeling_lfm2" in " ".join(patch.modules)
assert type(module.__loader__).__module__.startswith(("importlib", "_frozen_importlib"))
assert module.__spec__.loader is module.__loader__
patch.undo()
assert not hasattr(module.causal_conv1d_fn, "replaced_by_depthwise")
from transformers.models.mamba2 import modeling_mamba2
assert not hasattr(modeling_mamba2.causal_conv1d_fn, "replaced_by_depthwise")
"""


def test_a_model_of_another_kind_is_left_as_it_is_when_it_is_loaded():
    module, patch = made(causal_conv1d_fn=None), patch_causal_conv1d()
    with patch, pytest.warns(RuntimeWarning, match="causal_conv1d_fn = None in modeling_made"):
        patch_imports._finder.seen(module)
    assert module.causal_conv1d_fn is None


def test_models_that_are_loaded_later_are_patched_until_it_is_undone():
    subprocess.run([sys.executable, "-W", "ignore", "-c", LATER], check=True, timeout=300)


def made(**functions: Any) -> ModuleType:
    module = ModuleType("modeling_made")
    vars(module).update(functions)
    return module


def fn(x, weight, bias=None, activation=None):
    return F.silu(x) if activation else x


def update(x, conv_state, weight, bias=None, activation=None):
    return x


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (made(), "got neither in modeling_made"),
        (made(causal_conv1d_fn=None, causal_conv1d_update=None), "causal_conv1d_fn = None"),
        (made(is_fast_path_available=False), "got is_fast_path_available"),
        (made(causal_conv1d_fn=fn), r"got causal_conv1d_fn\(x, weight, bias, activation\)"),
        (made(causal_conv1d_fn=fn, causal_conv1d_update=fn), "causal_conv1d_update"),
        (made(causal_conv1d_fn=max, causal_conv1d_update=update), "causal_conv1d_fn"),
    ],
)
def test_what_is_not_known_is_refused_and_nothing_is_replaced(module, said):
    theirs, before = functions(mamba()), dict(vars(module))
    with pytest.raises(ModelError, match=said):
        patch_causal_conv1d(mamba(), module)
    assert vars(module) == before
    assert functions(mamba()) == theirs


def test_functions_of_any_module_are_replaced():
    module = made(causal_conv1d_fn=fn, causal_conv1d_update=update)
    x, weight, state = torch.randn(2, 6, 9), torch.randn(6, 4), torch.zeros(2, 6, 4)
    expected = F.conv1d(F.pad(x, (3, 0)), weight[:, None], groups=6)
    with patch_causal_conv1d(module):
        gelu = module.causal_conv1d_fn(x, weight, activation="gelu")
        steps = [module.causal_conv1d_update(x[..., t : t + 1], state, weight) for t in range(9)]
        other = module.causal_conv1d_update(x[..., :1], state.zero_(), weight, activation="relu")
    torch.testing.assert_close(gelu, F.gelu(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat(steps, 2), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other, F.relu(expected[..., :1]), rtol=1e-4, atol=1e-5)
    assert module.causal_conv1d_fn is fn


def test_packed_sequences_are_kept_apart():
    x, weight = torch.randn(1, 6, 9), torch.randn(6, 4)
    numbers = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2]], dtype=torch.int32)
    with pytest.raises(ValueError, match="packed sequences"):
        mamba().causal_conv1d_fn(x, weight, seq_idx=numbers)
    with patch_causal_conv1d():
        y = mamba().causal_conv1d_fn(x, weight, seq_idx=numbers, another=1)
        with pytest.raises(ValueError, match="packed sequences"):
            mamba().causal_conv1d_fn(x, weight, cu_seqlens=numbers)
    parts = x.split((3, 5, 1), 2)
    alone = [F.conv1d(F.pad(part, (3, 0)), weight[:, None], groups=6) for part in parts]
    torch.testing.assert_close(y, torch.cat(alone, 2), rtol=1e-4, atol=1e-5)


def test_without_transformers_the_error_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, MAMBA, None)
    with pytest.raises(ModelError, match=r"models to patch are those of transformers"):
        patch_causal_conv1d()
    assert "patch_causal_conv1d" in depthwise.torch.__all__
