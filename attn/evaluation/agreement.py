"""A threshold of attention maps without masks: the one at which they agree best with saliency.

Shapes: H×W image, T thresholds.
"""

from __future__ import annotations

__all__ = ["SaliencyAgreement"]

import hashlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attn.data.sample import Record
from attn.display import percent
from attn.evaluation.extent import exceeding
from attn.evaluation.score import ThresholdRule
from attn.saliency.source import GIVEN
from attn.wording import counted


class SaliencyAgreement:
    """IoU of what the maps claim and what is salient, at every threshold of the maps.

    Of each image the union of {map > t} over its classes is compared with {saliency > s}; the mean over the images is
    the agreement at t. The t with the highest is `best`. An image without a salient pixel does not count.

    Attributes:
        images: How many counted.
    """

    def __init__(self, thresholds: Sequence[float] | NDArray[np.float64], saliency_threshold: float) -> None:
        """Nothing counted yet.

        Args:
            thresholds: t, strictly increasing.
            saliency_threshold: s, of saliency in [0, 1].
        """
        self.thresholds = np.asarray(thresholds, np.float64)
        self.saliency_threshold = saliency_threshold
        self.images = 0
        self._total = np.zeros(self.thresholds.size)
        self._digests = dict[str, str]()  # of what is salient, by the image's line in the fingerprint

    def add(self, record: Record, highest_HW: NDArray[Any], saliency_HW: NDArray[np.uint8]) -> None:
        """Count an image.

        Args:
            highest_HW: The highest map of its classes at each pixel, in [0, 1].
            saliency_HW: 0 to 255.

        Raises:
            ValueError: Their shapes differ.
        """
        if highest_HW.shape != saliency_HW.shape:
            raise ValueError(f"the maps have the shape {highest_HW.shape}, the saliency {saliency_HW.shape}")
        salient = saliency_HW > self.saliency_threshold * 255
        if not salient.any():
            return
        # A pixel is claimed at the thresholds that it exceeds, which are the first ones.
        exceeded = np.searchsorted(self.thresholds, highest_HW.ravel(), side="left")
        claimed = exceeding(exceeded, self.thresholds.size)
        both = exceeding(exceeded[salient.ravel()], self.thresholds.size)
        self._total += both / (claimed + salient.sum() - both)
        self.images += 1
        line = f"{record.image_id}\t{','.join(map(str, record.labels))}"
        self._digests[line] = hashlib.sha256(np.packbits(salient).data).hexdigest()

    def merge(self, other: Self) -> None:
        """Add the images of another one with the same thresholds."""
        self.images += other.images
        self._total += other._total
        self._digests |= other._digests

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean IoU over the images at every threshold; NaN without images."""
        return self._total / self.images if self.images else np.full(self.thresholds.size, np.nan)

    @property
    def best(self) -> int:
        """Index of the threshold with the highest mean; the lowest of several. Defined if images were counted."""
        return int(self._total.argmax())

    def figures(self) -> dict[str, Any]:
        """The agreement at the best threshold, and of how many images. Defined if images were counted."""
        return {"agreement": float(self.mean[self.best]), "agreement_images": self.images}

    def rule(self, saliency: str) -> ThresholdRule:
        """The rule of the threshold, for a protocol.

        Args:
            saliency: Its origin.
        """
        return ThresholdRule(
            rule="saliency_agreement",
            values=tuple(self.thresholds.tolist()),
            saliency=saliency,
            saliency_threshold=self.saliency_threshold,
            images=self.images,
            fingerprint=self._fingerprint(of_pixels=saliency == GIVEN),
        )

    def describe(self, saliency: str) -> str:
        """The threshold for a person.

        Args:
            saliency: Its origin.
        """
        if not self.images:
            return f"no threshold by agreement with saliency ({saliency}): no image has a label and a salient pixel"
        threshold, iou = self.thresholds[self.best], percent(self.mean[self.best])
        images = counted(self.images, "image")
        return f"threshold {threshold:g} by agreement with saliency ({saliency}), mean IoU {iou} % of {images}"

    def _fingerprint(self, *, of_pixels: bool) -> str:
        """SHA-256 over the sorted ids and labels of the images that counted.

        Args:
            of_pixels: And over what is salient. What is computed is known by its method, and rounded differently
                elsewhere.
        """
        lines = [f"{line}\t{digest}" if of_pixels else line for line, digest in sorted(self._digests.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
