"""Insertion and deletion: whether a map ranks pixels as the classifier's own score depends on them.

Petsiuk, Das and Saenko, "RISE" (BMVC 2018), section 4.2. No masks are needed. Shapes: C classes, H×W input, N = H·W
pixels, S steps, P points = S + 1.
"""

from __future__ import annotations

__all__ = [
    "DELETION",
    "INSERTION",
    "Baseline",
    "Faithfulness",
    "FaithfulnessConfig",
    "area_under",
    "perturbed_scores",
    "with_faithfulness",
]

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from attn.config.base import Config
from attn.data.dataset import AttentionDataset
from attn.data.sample import Record
from attn.data.source import fingerprint
from attn.display import percent
from attn.evaluation.inference import ImageMaps, evaluating
from attn.evaluation.result import DataDescription, Evaluation
from attn.evaluation.score import Perturbation, Protocol, Score
from attn.losses.classification import class_probabilities
from attn.maps.settings import MapSettings
from attn.wording import counted

INSERTION, DELETION = "insertion", "deletion"
Baseline = Literal["blur", "mean"]
AT_ONCE = 16
"""Images of one pass."""


class FaithfulnessConfig(Config):
    """Insertion and deletion of the pixels of some images in the order of their maps (Petsiuk et al., BMVC 2018).

    Deletion begins with the image and replaces the pixels with the highest values of a map first; insertion begins with
    a baseline image and brings them back. The score is the area under the probability of the map's class: the lower,
    or for insertion the higher, the better does the map tell what the classifier looks at. Each map costs
    2 x (`steps` + 1) passes of one image.

    Attributes:
        images: Number of images whose maps are scored, evenly spaced over those with labels.
        steps: Equal shares of the pixels that are exchanged one after the other.
        insertion: Image that insertion begins with: `blur`, the blurred image; `mean`, the colour `input.mean`.
        deletion: Image that deletion ends with.
        blur: Standard deviation of the blur as a share of the input's shorter side; published are 5 of 224 pixels.
    """

    images: int = Field(ge=1, le=10_000_000)
    steps: int = Field(default=50, ge=1, le=1_000)
    insertion: Baseline = "blur"
    deletion: Baseline = "mean"
    blur: float = Field(default=5 / 224, gt=0, le=0.25)

    def unused(self) -> Mapping[str, tuple[str, ...]]:
        return {} if "blur" in (self.insertion, self.deletion) else {"insertion": ("blur",)}

    def describe(self, score: str) -> Perturbation:
        """How one of the two scores is taken, for its protocol."""
        baseline = self.insertion if score == INSERTION else self.deletion
        return Perturbation(steps=self.steps, baseline=baseline, blur=self.blur if baseline == "blur" else None)


class Faithfulness:
    """Accumulates the curves of images, as a classifier is evaluated.

    Args:
        dataset: Inputs of the images, as in evaluation.
        chosen: Positions in the data of the images that count.

    Attributes:
        records: Of the images that were added.
        curves: By score the class index and the curve (P,) of each of their maps.
        empty_maps: Number of maps that are zero everywhere in the input.
    """

    def __init__(
        self, network: nn.Module, dataset: AttentionDataset, chosen: Sequence[int], config: FaithfulnessConfig
    ) -> None:
        self.network, self.dataset, self.config = network, dataset, config
        self.positions = {dataset.source.records[position].image_id: position for position in chosen}
        self.records: list[Record] = []
        self.empty_maps = 0
        self.curves: dict[str, list[tuple[int, NDArray[np.float64]]]] = {INSERTION: [], DELETION: []}

    def __getstate__(self) -> dict[str, Any]:
        """What was accumulated, without what it was computed with: a copy takes no more images."""
        return self.__dict__ | {"network": None, "dataset": None}

    def add(self, maps: ImageMaps) -> None:
        """Add an image, if it is one of the chosen; with a map for each of its labels.

        Pixels of equal value are exchanged in reading order.
        """
        position = self.positions.get(maps.record.image_id)
        if position is None:
            return
        self.records.append(maps.record)
        device = next(self.network.parameters()).device
        sample = self.dataset[position]
        image_3HW, config = sample.image.to(device), self.config
        with evaluating(self.network), torch.no_grad():
            for index in maps.record.labels:
                in_image = torch.from_numpy(np.ascontiguousarray(maps.maps[index]))[None].float()
                map_HW = sample.geometry.from_image(in_image, (image_3HW.shape[1], image_3HW.shape[2]))[0]
                self.empty_maps += not bool(map_HW.any())
                order_N = torch.argsort(map_HW.flatten(), descending=True, stable=True).to(device)

                def scores(images: Tensor, index: int = index) -> Tensor:
                    logits = self.network(images).logits.double()
                    return class_probabilities(logits, exclusive=sample.exclusive)[:, index]

                begin_3HW = _baseline(image_3HW, config.insertion, config.blur)
                inserted_P = perturbed_scores(scores, begin_3HW, image_3HW, order_N, config.steps)
                self.curves[INSERTION].append((index, inserted_P))
                end_3HW = _baseline(image_3HW, config.deletion, config.blur)
                deleted_P = perturbed_scores(scores, image_3HW, end_3HW, order_N, config.steps)
                self.curves[DELETION].append((index, deleted_P))

    def merge(self, other: Faithfulness) -> None:
        """Add the images of another one, which has none of this one's, after this one's."""
        self.records += other.records
        self.empty_maps += other.empty_maps
        for name, curves in other.curves.items():
            self.curves[name] += curves

    def scores(self, protocol: Protocol, classes: Sequence[str]) -> dict[str, Score]:
        """Both scores: means over all maps, and over those of each class; none where no map was scored.

        Args:
            protocol: Of `records`, without the perturbation.
        """
        if not self.curves[INSERTION]:
            return {}
        return {name: self._score(name, protocol, classes) for name in (INSERTION, DELETION)}

    def _score(self, name: str, protocol: Protocol, classes: Sequence[str]) -> Score:
        curves = self.curves[name]
        mean_P = np.mean([curve for _, curve in curves], axis=0)
        areas: dict[str, list[float]] = {class_name: [] for class_name in classes}
        for index, curve in curves:
            areas[classes[index]].append(area_under(curve))
        shares = np.arange(self.config.steps + 1) / self.config.steps
        return Score(
            name=name,
            value=area_under(mean_P),
            protocol=protocol.model_copy(update={"perturbation": self.config.describe(name)}),
            per_class={class_name: float(np.mean(values)) if values else None for class_name, values in areas.items()},
            curve=tuple(zip(shares.tolist(), mean_P.tolist(), strict=True)),
            extras={"pairs": len(curves), "empty_maps": self.empty_maps},
        )


def perturbed_scores(
    scores: Callable[[Tensor], Tensor], start_3HW: Tensor, end_3HW: Tensor, order_N: Tensor, steps: int
) -> NDArray[np.float64]:
    """Scores while an image becomes another one, an equal share of its pixels at each step.

    Args:
        scores: Gives the score (B,) of each of B images (B, 3, H, W).
        order_N: Numbers of the pixels in reading order, the first to be exchanged first.
        steps: S; at step k the first floor(k·N / S) pixels are exchanged.

    Returns:
        float64 (P,): the score of the start image first, of the end image last.
    """
    count, size = len(order_N), start_3HW.shape[-2:]
    rank_N = torch.empty_like(order_N)
    rank_N[order_N] = torch.arange(count, device=order_N.device)
    exchanged_P = torch.arange(steps + 1, device=order_N.device) * count // steps
    results = [
        scores(torch.where((rank_N < part[:, None]).view(-1, 1, *size), end_3HW, start_3HW)).double()
        for part in exchanged_P.split(AT_ONCE)
    ]
    return torch.cat(results).cpu().numpy()


def area_under(curve_P: NDArray[np.float64]) -> float:
    """Area under a curve over [0, 1] with evenly spaced points, by the trapezoidal rule."""
    return float(np.trapezoid(curve_P, dx=1 / (len(curve_P) - 1)))


def with_faithfulness(
    evaluation: Evaluation,
    faithfulness: Faithfulness,
    data: DataDescription,
    map_kind: str,
    layer: str,
    settings: MapSettings,
    refinement: dict[str, Any] | None = None,
) -> Evaluation:
    """The evaluation with insertion and deletion, and a note about the images that they are of."""
    records, classes = faithfulness.records, evaluation.classes
    if not records:
        note = "insertion and deletion were not scored: no image has a label"
        return replace(evaluation, notes=(*evaluation.notes, note))
    protocol = Protocol(
        source=data.source,
        split=data.split,
        images=len(records),
        fingerprint=fingerprint(classes, records),
        scored="maps",
        map_kind=map_kind,
        layer=layer,
        labels="given",
        outputs=data.outputs,
        resize=data.resize,
        frame="input",
        refinement=refinement,
        **settings.protocol(),
    )
    scores = faithfulness.scores(protocol, classes)
    means = ", ".join(f"{name} {percent(score.value)} %" for name, score in scores.items())
    note = f"{means}: means over the maps of {counted(len(records), 'image')}"
    return replace(evaluation, scores=evaluation.scores | scores, notes=(*evaluation.notes, note))


def _baseline(image_3HW: Tensor, kind: Baseline, blur: float) -> Tensor:
    """The image without what a classifier needs: `mean` is 0 in a normalised input."""
    if kind == "mean":
        return torch.zeros_like(image_3HW)
    from torchvision.transforms.v2 import functional as TF  # slow to import

    sigma = blur * min(image_3HW.shape[-2:])
    side = 2 * min(math.ceil(3 * sigma), min(image_3HW.shape[-2:]) - 1) + 1
    return TF.gaussian_blur(image_3HW, [side, side], [sigma, sigma])
