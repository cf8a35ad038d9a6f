"""The papers that docstrings refer to by abbreviations, as in `GAIN eq. 4`."""

from __future__ import annotations

__all__ = ["PAPERS", "papers_in"]

import re

PAPERS = {
    "GAIN": 'GAIN: Li et al., "Tell Me Where to Look: Guided Attention Inference Network", CVPR 2018',
    "OAA": 'OAA: Jiang et al., "Integral Object Mining via Online Attention Accumulation", ICCV 2019',
    "ICASC": 'ICASC: Wang et al., "Reducing Visual Confusion with Discriminative Attention", ICCV 2019',
    "AttnBN": 'AttnBN: Li et al., "Attention Bridging Network for Knowledge Transfer", ICCV 2019',
    "SEC": 'SEC: Kolesnikov and Lampert, "Seed, Expand and Constrain", ECCV 2016',
    "DSRG": 'DSRG: Huang et al., "Weakly-Supervised Semantic Segmentation Network with Deep Seeded Region Growing", '
    "CVPR 2018",
}  # fmt: skip
"""Citation by abbreviation."""
ALSO = {"GAIN_ext": "GAIN", "OAA+": "OAA"}


def papers_in(text: str) -> list[str]:
    """Citations of the papers that a text names, in the text's order."""
    words = re.findall(r"[A-Za-z][A-Za-z_]*\+?", text)
    names = dict.fromkeys(ALSO.get(word, word) for word in words)
    return [PAPERS[name] for name in names if name in PAPERS]
