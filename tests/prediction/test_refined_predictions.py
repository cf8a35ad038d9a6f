"""`attn predict` with refined maps: those that `attn evaluate` scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attn.data.decode import read_mask
from attn.data.sample import Sample, collate
from attn.data.sources.folder import FolderConfig
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import prepare
from attn.evaluation.inference import image_maps
from attn.evaluation.refined import MapRefinement
from attn.maps.refine import RefinementConfig
from attn.maps.refine.crf import CrfRefinementConfig
from attn.maps.refine.pamr import PamrConfig
from attn.maps.settings import MapSettings
from attn.models.bundle import load_bundle
from attn.prediction import ImagePredictConfig, open_predictor
from tests.bundles import CLASSES, tiny_bundle
from tests.services.cli.conftest import Attn
from tests.services.cli.conftest import attn as attn  # the command line as a function


@pytest.mark.parametrize("refine", [PamrConfig(iterations=2, size=48), CrfRefinementConfig()])
def test_refined_maps_are_those_of_evaluation(attn: Attn, tmp_path: Path, refine: RefinementConfig) -> None:
    """Also of the CRF, by which the map of a class depends on the other predicted ones."""
    folder = tmp_path / "data/train/x"
    folder.mkdir(parents=True)
    scene = ScenesConfig(count=1, size=64).build().load(0).image
    Image.fromarray(scene[:, :60]).save(folder / "a b.png")
    model = str(tiny_bundle(tmp_path / "model"))
    source = FolderConfig(root=str(tmp_path / "data")).build()
    image, maps = source.load(0).image, MapSettings(flip=True, refine=refine)
    refinement, bundle = MapRefinement.of(refine, source, torch.device("cpu")), load_bundle(model)
    assert refinement is not None
    pixels, geometry = prepare(bundle.input, image)
    sample = Sample(0, source.records[0], pixels, torch.zeros(3), geometry)
    options: dict[str, Any] = {"probability": 0.01, "grid": refinement.grid, "settings": maps}
    (seen,) = image_maps(bundle.network, collate([sample]), kind="grad_cam", labels=False, predicted=True, **options)
    expected = refinement.of_image(0, seen, predicted=tuple(seen.maps))
    expected = expected.predicted_maps or expected.maps
    assert len(expected) == 3
    predictor = open_predictor(model, ImagePredictConfig(probability=0.01, maps=maps))
    result = predictor(image)
    assert predictor.min_side is None, "what is seen in the image counts, too"
    stack = [np.full(image.shape[:2], np.float32(0.3))]
    for index, name in enumerate(CLASSES):
        np.testing.assert_allclose(result.map(name), expected[index], atol=1e-6)
        stack.append(expected[index])
    assert (result.mask != np.stack(stack).argmax(0)).mean() < 0.001
    words = [f"maps.refine={{{', '.join(f'{name}: {value}' for name, value in given(refine).items())}}}"]
    out = str(tmp_path / "out")
    done = attn(
        "predict", str(folder), "--model", model, "--out", out, "maps.flip=true", *words, "--probability", "0.01"
    )
    assert done.status == 0, done.err
    assert f"maps: flip, {refine.name}" in done.out
    (row,) = csv.DictReader((tmp_path / "out/summary.csv").open())
    assert row["maps"] == f"flip, {refine.name}"
    np.testing.assert_array_equal(read_mask(row["mask"], None, 3), result.mask)
    nothing = open_predictor(model, ImagePredictConfig(probability=0.999, maps=maps))(image)
    assert (nothing.labels, nothing.mask.any()) == ((), False)


def given(config: RefinementConfig) -> dict[str, Any]:
    return {"name": config.name} | config.model_dump(mode="json", include=config.model_fields_set)
