"""The attention of a frozen vision transformer of timm between the patches of an image.

Shapes: P patches, a g×g grid; T tokens, the patches after the class and register tokens.
"""

from __future__ import annotations

__all__ = ["FrozenTransformer"]

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attn.data.transforms import InputConfig, prepare
from attn.errors import ConfigError, DataError, WeightsError
from attn.files.locations import require_allowed
from attn.models.weights import StateDict, read_state_dict

IMAGENET = "imagenet"
EXAMPLE = "timm/vit_small_patch14_dinov2"
FIELD = "maps.refine"
SHOWN = 4
_one_at_a_time = threading.Lock()  # the hooks of a pass are on the network


class _Complete(Exception):
    """Ends a pass whose attention is complete."""


@dataclass(frozen=True)
class FrozenTransformer:
    """A vision transformer with the input size and the blocks that its attention is read from.

    Attributes:
        side: Patches of a side of the input.
        prefix: Number of tokens before those of the patches.
        layers: Number of blocks, counted from the last.
        sha256: Of the file of weights; of timm's own weights, of their names and values.
    """

    network: nn.Module
    input: InputConfig
    side: int
    prefix: int
    layers: int
    sha256: str
    device: torch.device

    @classmethod
    def read(cls, model: str, weights: str, *, size: int, layers: int) -> Self:
        """Build a transformer and read its weights.

        Args:
            model: `timm/NAME`.
            weights: Path or `s3://` URI of a state dict, or `imagenet` for timm's own.
            size: Side of the input in pixels.

        Raises:
            ConfigError: There is no such model, it has no attention between patches or fewer blocks, or the size does
                not fit its patches.
            WeightsError: The weights cannot be had, or do not fit the model.
        """
        network = _build(model, pretrained=weights == IMAGENET)
        blocks = _blocks(network, model)
        if layers > len(blocks):
            raise ConfigError(f"{FIELD}.layers={layers}: {model} has {len(blocks)} blocks; set at most that many")
        patch = _patch(network, model)
        if size % patch:
            lower = size // patch * patch
            choice = " or ".join(str(side) for side in (lower, lower + patch) if side)
            raise ConfigError(
                f"{FIELD}.size={size} is no multiple of the patch of {model} ({patch}): set it to {choice}"
            )
        sha256 = _digest(network.state_dict()) if weights == IMAGENET else _load(network, model, weights)
        _set_size(network, model, size)
        network.eval().requires_grad_(False)
        for block in blocks[-layers:]:
            block.attn.fused_attn = False  # the fused function does not say what was attended to
        described: Any = network
        colours = described.pretrained_cfg
        input = InputConfig(size=size, mean=tuple(colours["mean"]), std=tuple(colours["std"]))
        prefix = int(getattr(network, "num_prefix_tokens", 1))
        transformer = cls(network, input, size // patch, prefix, layers, sha256, torch.device("cpu"))
        transformer._attention(np.zeros((1, 1, 3), np.uint8), model)  # a network of another kind shows here
        return transformer

    def to(self, device: torch.device) -> Self:
        return replace(self, network=self.network.to(device), device=device)

    def attention(self, image_HW3: NDArray[np.uint8]) -> Tensor:
        """Mean over the heads and the last blocks of the attention from patch to patch: (P, P), rows attend.

        Args:
            image_HW3: RGB; squashed to the input's size.
        """
        return self._attention(image_HW3, "the model")

    def _attention(self, image_HW3: NDArray[np.uint8], model: str) -> Tensor:
        input_3HW, _ = prepare(self.input, image_HW3)
        network: Any = self.network
        patches, results = self.side**2, list[Tensor]()

        def keep(module: nn.Module, arguments: Any, output: Tensor) -> None:
            tokens = self.prefix + patches
            if output.ndim != 4 or tuple(output.shape[-2:]) != (tokens, tokens):
                raise ConfigError(_without_attention(model))
            results.append(output[0, :, self.prefix :, self.prefix :].mean(0))
            if len(results) == self.layers:
                raise _Complete  # what the last block makes of its attention is not needed

        with _one_at_a_time, torch.no_grad():
            attention = [block.attn.attn_drop for block in network.blocks[-self.layers :]]
            hooks = [module.register_forward_hook(keep) for module in attention]
            try:
                network.forward_features(input_3HW[None].to(self.device))
            except _Complete:
                pass
            finally:
                for hook in hooks:
                    hook.remove()
        if len(results) != self.layers:
            raise ConfigError(_without_attention(model))
        return torch.stack(results).mean(0)


def _build(model: str, *, pretrained: bool) -> nn.Module:
    import timm  # takes seconds, and is needed here only

    from attn.models.timm_hub import known_name, with_own_weights

    name = known_name(model, f"{FIELD}.model")
    if pretrained:
        return with_own_weights(name, f"{FIELD}.weights", num_classes=0)
    try:
        return timm.create_model(name, num_classes=0)
    except Exception as error:  # timm raises anything
        raise ConfigError(f"{FIELD}.model={model}: timm cannot build it ({_first_line(error)})") from error


def _without_attention(model: str) -> str:
    return (
        f"{FIELD}.model={model} has no attention from every patch to every patch, which affinity needs: choose a plain "
        f"vision transformer, such as {EXAMPLE}"
    )


def _blocks(network: nn.Module, model: str) -> Sequence[Any]:
    blocks: Any = getattr(network, "blocks", None)
    needed = ("attn_drop", "fused_attn")
    if not isinstance(blocks, (nn.Sequential, nn.ModuleList)) or not all(
        hasattr(getattr(block, "attn", None), name) for block in blocks for name in needed
    ):
        raise ConfigError(_without_attention(model))
    return list(blocks)


def _patch(network: nn.Module, model: str) -> int:
    embedding: Any = getattr(network, "patch_embed", None)
    patch = getattr(embedding, "patch_size", None)
    if not isinstance(patch, tuple) or len(set(patch)) != 1:
        raise ConfigError(_without_attention(model))
    return int(patch[0])


def _set_size(network: nn.Module, model: str, size: int) -> None:
    sized: Any = network
    own: tuple[int, ...] = tuple(sized.patch_embed.img_size or (size, size))
    if own == (size, size):
        return
    if not hasattr(network, "set_input_size"):
        raise ConfigError(f"{FIELD}.size={size}: {model} takes inputs of {own[0]} pixels only; set it to that")
    sized.set_input_size(img_size=(size, size))


def _match_grid(network: nn.Module, state: StateDict) -> None:
    """Give the network the grid of patches that the state dict's position embeddings are of."""
    from attn.models.timm_positions import POSITIONS, side_of

    sized: Any = network
    if POSITIONS in state and hasattr(network, "set_input_size") and (side := side_of(state[POSITIONS], network)):
        patch = sized.patch_embed.patch_size
        sized.set_input_size(img_size=(side * patch[0], side * patch[1]))


def _load(network: nn.Module, model: str, weights: str) -> str:
    """Read a state dict into the network; gives the file's SHA-256."""
    try:
        require_allowed(weights)
        digest = hashlib.sha256()
        state = read_state_dict(weights, field=f"{FIELD}.weights", observe=digest.update)
    except DataError as error:
        raise WeightsError(f"{error}: correct {FIELD}.weights") from None
    described: Any = network
    classifier = described.pretrained_cfg.get("classifier") or "head"
    layers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    state = {name: value for name, value in state.items() if name.rpartition(".")[0] not in layers}
    _match_grid(network, state)
    own = network.state_dict()
    faults = {
        "missing": [name for name in own if name not in state],
        "not in this model": [name for name in state if name not in own],
        "of another shape": [
            f"{name} is {tuple(value.shape)}, not {tuple(own[name].shape)}"
            for name, value in state.items()
            if name in own and value.shape != own[name].shape
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in faults.items() if names)
        raise WeightsError(
            f"{weights} does not fit {model}. {listed}. Choose {FIELD}.model and {FIELD}.weights that belong together"
        )
    network.load_state_dict(state)
    return digest.hexdigest()


def _digest(state: StateDict) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name}\t{tuple(value.shape)}\n".encode())
        digest.update(value.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
