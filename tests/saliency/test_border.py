"""Saliency of an image's border colours."""

from __future__ import annotations

import numpy as np

from attn.saliency.border import border_saliency


def test_what_stands_out_from_the_border() -> None:
    image = np.full((60, 90, 3), 40, np.uint8)
    image[20:40, 30:60] = (200, 60, 30)
    saliency = border_saliency(image)
    assert saliency.shape == (60, 90)
    assert saliency.dtype == np.uint8
    assert saliency[25:35, 35:55].min() > 4 * max(1, saliency[:10].max())
    assert not border_saliency(np.full((5, 7, 3), 9, np.uint8)).any()
    assert not border_saliency(np.zeros((1, 1, 3), np.uint8)).any()
