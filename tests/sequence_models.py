"""Tiny language models of `transformers` that have causal convolutions, with random weights.

Nothing is downloaded.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

_ALL = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
_SSD = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16, "mamba_chunk_size": 8}
_DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_CONV = {"layer_types": ["conv", "full_attention"]}

CONFIGS: dict[str, dict[str, Any]] = {
    "Mamba": {},
    "Mamba2": {
        "num_heads": 8, "head_dim": 8, "state_size": 16, "n_groups": 2, "chunk_size": 8,
    },
    "FalconMamba": {},
    "Lfm2": _ATTENTION | _CONV,
    "Lfm2Moe": _ATTENTION | _CONV | _EXPERTS | {"num_dense_layers": 1},
    "Lfm3": _ATTENTION | _CONV,
    "Qwen3Next": _ATTENTION | _DELTA | _EXPERTS | {
        "head_dim": 8, "shared_expert_intermediate_size": 16,
    },
    "Qwen3_5": _ATTENTION | _DELTA | {"head_dim": 8},
    "OlmoHybrid": _ATTENTION | _DELTA | {"linear_num_key_heads": 4},
    "KimiLinear": _ATTENTION | {
        "num_key_value_heads": 4, "linear_head_dim": 8, "linear_num_heads": 4, "kv_lora_rank": 8,
        "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "mlp_layer_types": ["dense", "dense"],
    },
    "Zamba": {
        "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 4,
        "intermediate_size": 48, "attn_layer_period": 3, "attn_layer_offset": 1,
        "mamba_dt_rank": 4,
    },
    "Zamba2": {
        "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
        "mamba_d_state": 16, "n_mamba_heads": 8, "mamba_headdim": 8, "mamba_ngroups": 1,
        "chunk_size": 8, "layers_block_type": ["mamba", "hybrid", "mamba"], "num_mem_blocks": 1,
        "use_mem_rope": True,
    },
    "Bamba": _ATTENTION | _SSD | {"attn_layer_indices": [1]},
    "Jamba": _ATTENTION | {
        "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4, "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "GraniteMoeHybrid": _ATTENTION | _SSD | {
        "layer_types": ["mamba", "attention"], "num_local_experts": 4, "num_experts_per_tok": 2,
        "shared_intermediate_size": 16,
    },
    "FalconH1": _ATTENTION | _SSD | {"head_dim": 8, "mamba_d_ssm": 64},
    "NemotronH": _ATTENTION | {
        "head_dim": 8, "layers_block_type": ["mamba", "attention"], "mamba_num_heads": 8,
        "mamba_head_dim": 8, "ssm_state_size": 16, "n_groups": 2, "chunk_size": 8,
    },
}  # fmt: skip
"""What each model's configuration has beside its defaults."""


def sequence_model(name: str) -> nn.Module:
    """Return a model of two layers or a few, in eval mode."""
    kind = "TextConfig" if name == "Qwen3_5" else "Config"
    config = getattr(transformers, name + kind)(**(_ALL | CONFIGS[name]))
    torch.manual_seed(0)
    model: nn.Module = getattr(transformers, f"{name}ForCausalLM")(config)
    return model.eval()


def logits_of(model: nn.Module, ids: torch.Tensor, prefill: int) -> list[torch.Tensor]:
    """Return the logits of a prefill of so many tokens, then of the others one by one."""
    with torch.no_grad():
        out = model(ids[:, :prefill], use_cache=True)
        cache = "past_key_values" if "past_key_values" in out else "cache_params"
        logits = [out.logits]
        for now in ids[:, prefill:].split(1, dim=1):
            out = model(now, use_cache=True, **{cache: out[cache]})
            logits.append(out.logits)
    return logits
