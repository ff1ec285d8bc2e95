"""Networks of `transformers` with random weights as files of ONNX, and inputs for them.

They are narrow and have few blocks.  Nothing is downloaded.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx
import torch
import transformers
from torch import nn

from depthwise.bench.networks.weights import randomized
from small_networks import NETWORKS as SMALL

_WORDS = 64
"""How many words those of text know."""
_BINS = 16
"""How many frequencies those of sound read."""
_STAGES = {"num_labels": 10, "depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 40, 64]}
_LAYERS = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip
_TEXT = {"vocab_size": _WORDS, **_LAYERS}
_VIT = {"image_size": 64, "patch_size": 16, "num_labels": 10, **_LAYERS}
_MOBILEVIT = {
    "hidden_sizes": [32, 40, 48], "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 64],
    "num_labels": 10, "image_size": 64,
}  # fmt: skip
_SEGFORMER = {**_STAGES, "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 32}


@dataclass(frozen=True)
class Exported:
    """A network, and what it is called with.

    Attributes:
        model: the name of its class in `transformers`, or of a network of `small_networks`.
        config: what its configuration is given.
        sizes: height and width, or the length; each is tried, one after another.
        open_sizes: whether these may be any; the batch always may.
        takes: what it is called with.
        result: which of what it returns is held against.
        masked: whether it is told that all words are there; else it looks, with what no opset has.
        opset: of the file.
    """

    model: str
    config: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[tuple[int, ...], ...] = ((64, 64), (96, 80), (64, 64))
    open_sizes: bool = True
    takes: Literal["image", "text", "sound", "wave"] = "image"
    result: str = "logits"
    masked: bool = False
    opset: int = 17

    def module(self) -> nn.Module:
        """Return the network as a module from tensors to a tensor."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if self.model in SMALL:
                model = SMALL[self.model]()
            else:
                kind = getattr(transformers, self.model)
                model = kind(kind.config_class(**self.config))
        if self.takes == "image":
            randomized(model, (1, 3, *self.sizes[0]))
        return _Plain(model.eval(), self.result, masked=self.masked)

    def inputs(self, size: tuple[int, ...], batch: int) -> list[torch.Tensor]:
        """Return what the network is called with."""
        chance = torch.Generator().manual_seed(sum(size) + batch)
        if self.takes == "text":
            return [torch.randint(0, _WORDS, (batch, *size), generator=chance)]
        channels = {"image": (3,), "sound": (_BINS,), "wave": ()}[self.takes]
        return [torch.randn(batch, *channels, *size, generator=chance)]


class _Plain(nn.Module):
    def __init__(self, model: nn.Module, result: str, *, masked: bool) -> None:
        super().__init__()
        self.model, self._result, self._masked = model, result, masked

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        how = {"attention_mask": torch.ones_like(x)} if self._masked else {}
        return getattr(self.model(x, **how), self._result)


def exported(network: Exported, *, anyway: bool, newest: bool = False) -> onnx.ModelProto:
    """Return the file of a network.

    Args:
        network: any.
        anyway: whether its batch, and the sizes that may be, are left open.
        newest: by torch's newest exporter, which needs onnxscript.
    """
    given = network.inputs(network.sizes[0], 2 if newest and anyway else 1)
    last = given[0].ndim
    places = range(last - len(network.sizes[0]), last) if network.open_sizes else ()
    axes = {0: "n", **{axis: f"size{axis}" for axis in places}} if anyway else {}
    how: dict[str, Any] = {"dynamo": False, "opset_version": network.opset}
    how["dynamic_axes"] = {"x": axes}
    if newest:
        sizes = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
        how = {"dynamo": True, "dynamic_shapes": ((sizes,),), "verbose": False}
    content, level = io.BytesIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            torch.onnx.export(
                network.module(),
                tuple(given),
                content,
                input_names=["x"],
                output_names=["y"],
                **how,
            )
    finally:
        logging.disable(level)
    return onnx.load_from_string(content.getvalue())


SMALL_ONES = {
    **{
        name.partition(".")[2]: Exported(name, sizes=((32, 32), (40, 48), (32, 32)))
        for name in SMALL
        if name.startswith("transformers.")
    },
    "segformer": Exported(
        "SegformerForSemanticSegmentation",
        {
            "num_labels": 5, "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [4, 2],
            "hidden_sizes": [16, 32], "patch_sizes": [7, 3], "strides": [4, 2],
            "num_attention_heads": [1, 2], "mlp_ratios": [2, 2], "decoder_hidden_size": 16,
        },
        ((32, 32), (64, 48), (32, 32)),
    ),
    "bert": Exported(
        "BertModel", _TEXT, ((12,), (20,), (12,)), takes="text", result="last_hidden_state"
    ),
}  # fmt: skip
"""With so few kernels that it takes a few seconds to compile them."""

_ONCE_AND_AGAIN = ((64, 64), (64, 64))
"""Of networks that cut images into as many pieces as the example has."""
WHOLE_ONES = {
    "mobilenet_v1": Exported(
        "MobileNetV1ForImageClassification", {"num_labels": 10, "depth_multiplier": 0.25}
    ),
    "mobilenet_v2": Exported(
        "MobileNetV2ForImageClassification", {"num_labels": 10, "depth_multiplier": 0.35}
    ),
    "mobilenet_v2 of pixels": Exported(
        "MobileNetV2ForSemanticSegmentation",
        {"num_labels": 5, "depth_multiplier": 0.35, "output_stride": 16},
    ),
    "efficientnet": Exported(
        "EfficientNetForImageClassification",
        {"width_coefficient": 0.25, "depth_coefficient": 0.4, "hidden_dim": 320, "num_labels": 10},
    ),
    "convnext": Exported("ConvNextForImageClassification", _STAGES),
    "convnext_v2": Exported("ConvNextV2ForImageClassification", _STAGES),
    "mobilevit": Exported("MobileViTForImageClassification", _MOBILEVIT, _ONCE_AND_AGAIN),
    "mobilevit of pixels": Exported(
        "MobileViTForSemanticSegmentation", {**_MOBILEVIT, "output_stride": 16}, _ONCE_AND_AGAIN
    ),
    "mobilevit_v2": Exported(
        "MobileViTV2ForImageClassification",
        {"num_labels": 10, "width_multiplier": 0.5, "image_size": 64}, _ONCE_AND_AGAIN, opset=18,
    ),
    "segformer": Exported("SegformerForImageClassification", _SEGFORMER),
    "segformer of pixels": Exported("SegformerForSemanticSegmentation", _SEGFORMER),
    "pvt_v2": Exported(
        "PvtV2ForImageClassification",
        {**_STAGES, "image_size": 64, "num_attention_heads": [1, 2, 5, 8]},
    ),
    "poolformer": Exported("PoolFormerForImageClassification", _STAGES),
    "swiftformer": Exported(
        "SwiftFormerForImageClassification",
        {
            "image_size": 64, "depths": [1, 1, 1, 1], "embed_dims": [16, 24, 32, 48],
            "num_labels": 10,
        },
        ((64, 64),), open_sizes=False,
    ),
    "levit": Exported(
        "LevitForImageClassification",
        {
            "image_size": 64, "hidden_sizes": [32, 48, 64], "depths": [1, 1, 1],
            "num_attention_heads": [2, 2, 2], "key_dim": [16, 16, 16], "num_labels": 10,
        },
        ((64, 64),), open_sizes=False,
    ),
    "regnet": Exported(
        "RegNetForImageClassification",
        {
            "embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1],
            "groups_width": 16, "num_labels": 10,
        },
    ),
    "resnet": Exported(
        "ResNetForImageClassification",
        {
            "embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1],
            "num_labels": 10,
        },
    ),
    "focalnet": Exported(
        "FocalNetForImageClassification",
        {
            "image_size": 64, "embed_dim": 16, "depths": [1, 1], "focal_levels": [2, 2],
            "focal_windows": [3, 3], "num_labels": 10,
        },
    ),
    "cvt": Exported(
        "CvtForImageClassification",
        {"embed_dim": [16, 32, 48], "num_heads": [1, 2, 3], "depth": [1, 1, 2], "num_labels": 10},
    ),
    "dinov2": Exported(
        "Dinov2Model", {**_VIT, "patch_size": 8}, ((64, 64),), open_sizes=False,
        result="last_hidden_state",
    ),
    "vit": Exported("ViTForImageClassification", _VIT, ((64, 64),), open_sizes=False),
    "swin": Exported(
        "SwinForImageClassification",
        {
            "image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [2, 2],
            "num_heads": [2, 2], "window_size": 4, "num_labels": 10,
        },
        ((64, 64),), open_sizes=False,
    ),
    "gpt2": Exported(
        "GPT2LMHeadModel",
        {
            "vocab_size": _WORDS, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64,
            "use_cache": False,
        },
        ((12,), (20,), (12,)), takes="text", masked=True,
    ),
    "mamba": Exported(
        "MambaForCausalLM",
        {"vocab_size": _WORDS, "hidden_size": 32, "num_hidden_layers": 2, "use_cache": False},
        ((12,),), open_sizes=False, takes="text",
    ),
    "wav2vec2": Exported(
        "Wav2Vec2Model",
        {
            **_LAYERS, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
        ((2000,), (3000,), (2000,)), takes="wave", result="last_hidden_state",
    ),
}  # fmt: skip
"""With all their stages."""
