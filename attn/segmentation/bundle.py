"""A trained segmentation network on disk; see `attn.models.bundle`."""

from __future__ import annotations

__all__ = ["Segmenter", "load_segmenter", "save_segmenter"]

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from attn.data.transforms import InputConfig
from attn.models.bundle import build_with_weights, find_bundle, read_bundle, write_bundle
from attn.models.description import describing
from attn.segmentation.networks import SegmentationModelConfig, SegmentationNetwork
from attn.segmentation.predict import SegmentInferenceConfig
from attn.segmentation.usage import segmenter_usage

TASK = "segmentation"


@dataclass(frozen=True)
class Segmenter:
    """A trained segmentation network, ready to use, in evaluation mode.

    Attributes:
        classes: Names, without the background, in the order of the channels behind the first.
        input: How images became the network's input in training.
        inference: How its scores become masks, as in the run.
        info: Its origin (run, method, labels) as plain values.
        path: The bundle's folder.
        sha256: Of the file with the weights.
    """

    network: SegmentationNetwork
    classes: tuple[str, ...]
    input: InputConfig
    inference: SegmentInferenceConfig
    path: Path
    info: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @property
    def config_file(self) -> Path:
        """The resolved config of the run that trained it."""
        return self.path / "config.yaml"


def save_segmenter(
    folder: Path,
    state_dict: dict[str, torch.Tensor],
    *,
    model: SegmentationModelConfig,
    classes: tuple[str, ...],
    input: InputConfig,
    inference: SegmentInferenceConfig,
    config_yaml: str,
    info: dict[str, Any],
) -> None:
    """Write a segmentation network's bundle."""
    described = {
        "classes": list(classes),
        "model": json.loads(model.model_dump_json()),
        "input": json.loads(input.model_dump_json()),
        "inference": json.loads(inference.model_dump_json()),
        "info": info,
    }
    usage = segmenter_usage(classes, input, inference, model.stride)
    write_bundle(folder, state_dict, TASK, described, usage, config_yaml)


def load_segmenter(target: str | Path, root: str = "runs") -> Segmenter:
    """Open a trained segmentation network on the CPU.

    Raises:
        WeightsError: There is none, it is damaged, it is a classifier, or it was written by a newer format.
    """
    folder = find_bundle(str(target), root)
    described = read_bundle(folder, TASK)
    with describing(folder):
        texts = {name: json.dumps(described[name]) for name in ("input", "inference")}
        model_text = json.dumps({**described["model"], "weights": None})
        model = SegmentationModelConfig.model_validate_json(model_text, strict=True)
        input = InputConfig.model_validate_json(texts["input"], strict=True)
        inference = SegmentInferenceConfig.model_validate_json(texts["inference"], strict=True)
        classes = tuple(described["classes"])
    network = build_with_weights(lambda: model.build(len(classes)), folder)
    return Segmenter(network, classes, input, inference, folder, described.get("info", {}), described["sha256"])
