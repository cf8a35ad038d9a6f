"""A small transformer, and its attention computed from its weights in double precision."""

from __future__ import annotations

__all__ = ["attention_of", "weights_of"]

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from attn.data.transforms import InputConfig, prepare


def weights_of(name: str, path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """A file of random weights of a model of timm, with attention that is not uniform."""
    torch.manual_seed(0)
    state = timm.create_model(name, num_classes=7).state_dict()
    for key, value in state.items():
        if key.endswith("attn.qkv.weight"):
            state[key] = value * 20
    torch.save({key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}, path)
    return path


def attention_of(name: str, weights: Path, image: NDArray[np.uint8], *, size: int, layers: int) -> NDArray[np.float64]:
    """softmax(q kᵀ / √d) of the last blocks from their weights, mean over heads and blocks, of the patches alone."""
    network: Any = timm.create_model(name, num_classes=7)
    network.load_state_dict(torch.load(weights))
    network.set_input_size(img_size=(size, size))
    network.eval().double()
    colours = network.pretrained_cfg
    input_3HW, _ = prepare(InputConfig(size=size, mean=colours["mean"], std=colours["std"]), image)
    tokens = network.norm_pre(network._pos_embed(network.patch_embed(input_3HW[None].double())))
    results = []
    with torch.no_grad():
        for block in network.blocks:
            values = block.norm1(tokens)[0].numpy()
            weight, bias = block.attn.qkv.weight.numpy(), block.attn.qkv.bias.numpy()
            heads, width = block.attn.num_heads, weight.shape[1]
            query, key = (
                (values @ part.T + offset).reshape(len(values), heads, -1).transpose(1, 0, 2)
                for part, offset in (
                    (weight[:width], bias[:width]),
                    (weight[width : 2 * width], bias[width : 2 * width]),
                )
            )
            scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(width / heads))
            results.append(scores / scores.sum(-1, keepdims=True))
            tokens = block(tokens)
    prefix = network.num_prefix_tokens
    return np.mean(results[-layers:], axis=(0, 1))[prefix:, prefix:]
