"""Scores of maps while training: what several workers count of their images adds up to what one counts of all."""

from __future__ import annotations

import contextlib

import pytest
import torch

from attn.data.dataset import AttentionDataset
from attn.data.loader import Loader, build_loader
from attn.data.sample import Example, collate
from attn.data.sampler import shards
from attn.data.source import Source
from attn.data.view import SourceView
from attn.errors import DataError, WeightsError
from attn.evaluation.compute import compute_scores
from attn.evaluation.config import ScoringConfig
from attn.evaluation.evaluate import evaluate
from attn.evaluation.refined import MapRefinement
from attn.evaluation.result import DataDescription
from attn.maps.settings import MapSettings
from attn.runs.recipes import load_config
from attn.runs.sweep.config import Objective
from attn.training import map_scores
from attn.training.classifier import build_components
from attn.training.train_config import TrainConfig
from attn.training.validation import _scores as validation_scores
from attn.training.validation import _share as validation_share
from attn.training.world import World
from jobs.sweeps import trial_run

SETTINGS = ["data.count=8", "data.size=32", "input.size=32", "model.widths=[8,8,8]", "cluster.workers=1"]


class Broken(SourceView):
    """A source of which some images cannot be read."""

    broken: tuple[int, ...] = ()

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        if index in self.broken:
            raise DataError(f"image {index} is broken")
        return super().load(index, mask=mask, saliency=saliency)


def _loader(source: Source, config: TrainConfig, rank: int, workers: int) -> Loader:
    dataset = AttentionDataset(source, config.input, train=False)
    return build_loader(dataset, shards(len(dataset), 2, rank=rank, world=workers))


@pytest.mark.parametrize("workers", [1, 2, 3, 40])
def test_shares_add_up(workers: int) -> None:
    config = load_config(TrainConfig, "scenes_gain", SETTINGS)
    components = build_components(config, rank=0, world=1)
    assert components.val_dataset is not None
    source = components.val_dataset.source
    whole = map_scores.score_classifier(components.network, source, config, World.current(), refiner=None)
    assert {"seed_miou", "direct_miou", "mean_ap", "energy"} <= whole.keys()
    shares = [
        map_scores._share(components.network, source, config, World(rank, workers, torch.device("cpu")), maps=True)
        for rank in range(workers)
    ]
    first = map_scores._joined(shares, source)
    assert list(first.records) == [record.image_id for record in source.records]
    data = DataDescription(source="scenes", split="val", resize="")
    result = compute_scores(first, source.classes, first.config, data, map_kind="grad_cam", layer="last").metrics()
    assert result == pytest.approx(whole, rel=1e-5)  # float32 sums of another batch size


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("broken", [(3,), (2, 5), (7,), (3, 4, 5)])
def test_unreadable_images_do_not_count_and_their_neighbours_count_once(workers: int, broken: tuple[int, ...]) -> None:
    """The truth are the scores of the readable images alone."""
    config = load_config(TrainConfig, "scenes_gain", SETTINGS)
    components = build_components(config, rank=0, world=1)
    assert components.val_dataset is not None
    source, network = components.val_dataset.source, components.network
    readable = [index for index in range(8) if index not in broken]
    expected = map_scores.score_classifier(
        network, SourceView(source, readable, source.classes), config, World.current(), refiner=None
    )
    faulty = Broken(source, range(8), source.classes)
    faulty.broken, faulty.on_error = broken, "skip"
    worlds = [World(rank, workers, torch.device("cpu")) for rank in range(workers)]
    joined = map_scores._joined(
        [map_scores._share(network, faulty, config, world, maps=True) for world in worlds], faulty
    )
    assert list(joined.records) == [source.records[index].image_id for index in readable]
    data = DataDescription(source="scenes", split="val", resize="")
    result = compute_scores(joined, source.classes, joined.config, data, map_kind="grad_cam", layer="last").metrics()
    assert result == pytest.approx(expected, rel=1e-5)
    # So do the scores of validation.
    with torch.no_grad():
        shares = [
            validation_share(network, loader, World.current(), contextlib.nullcontext())
            for loader in (_loader(faulty, config, rank, workers) for rank in range(workers))
        ]
    scores = validation_scores(shares, "sklearn")
    assert scores["val/mean_ap"] == pytest.approx(expected["mean_ap"], rel=1e-5)
    assert scores["val/mean_auc"] == pytest.approx(expected["mean_auc"], rel=1e-5)


def test_the_work_of_images_that_are_neighbours_is_shared() -> None:
    """Those with masks cost most, and may come one after another."""
    config = load_config(TrainConfig, "scenes_gain", SETTINGS)
    components = build_components(config, rank=0, world=1)
    assert components.val_dataset is not None
    source = components.val_dataset.source
    shares = [
        map_scores._share(components.network, source, config, World(rank, 2, torch.device("cpu")), maps=True)
        for rank in range(2)
    ]
    names = [record.image_id for record in source.records]
    assert [list(share.records) for share in shares] == [names[::2], names[1::2]]


def test_maps_are_made_as_the_validation_says() -> None:
    made = ["validation.maps.scales=[0.5,1,2]", "validation.maps.flip=true"]
    config = load_config(TrainConfig, "scenes_gain", [*SETTINGS, *made])
    components = build_components(config, rank=0, world=1)
    assert components.val_dataset is not None
    source, network, method = components.val_dataset.source, components.network, config.method.build()
    settings = MapSettings(scales=(0.5, 1, 2), flip=True)
    dataset = AttentionDataset(
        source, config.input, train=False, with_masks=True, scales=(0.5, 2), stride=config.model.output_stride
    )
    options = {"data": DataDescription(source="scenes", split="val", resize=""), "settings": settings}
    scoring = ScoringConfig(layer=method.layer)
    batches = [collate([dataset[index] for index in range(8)])]
    device, classes = torch.device("cpu"), source.classes
    expected = evaluate(network, batches, classes, scoring, method.map_kind, device, **options).metrics()
    taken = map_scores.score_classifier(network, source, config, World.current(), refiner=None)
    assert taken == expected
    plain = load_config(TrainConfig, "scenes_gain", SETTINGS)
    assert (
        map_scores.score_classifier(network, source, plain, World.current(), refiner=None)["energy"]
        != expected["energy"]
    )
    trial = trial_run._evaluation(config, Objective(metric="energy"), "runs")
    assert (trial.maps, trial.data.split) == (settings, "val")


@pytest.mark.parametrize("made", [[], ["validation.maps.refine.name=pamr"], ["validation.maps.refine.name=crf"]])
def test_the_protocol_is_that_of_an_evaluation(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The refinement of the maps is a part of it, and is opened once for all validations of a training."""
    config = load_config(TrainConfig, "scenes_gain", [*SETTINGS, *made])
    components = build_components(config, rank=0, world=1)
    assert components.val_dataset is not None
    source, network, method = components.val_dataset.source, components.network, config.method.build()
    settings, opened = config.validation.maps, []
    data, device = DataDescription(source="scenes", split="val", resize=""), torch.device("cpu")
    expected = evaluate(
        network,
        [collate([AttentionDataset(source, config.input, train=False, with_masks=True)[index] for index in range(8)])],
        source.classes,
        ScoringConfig(layer=method.layer),
        method.map_kind,
        device,
        data=data,
        settings=settings,
        refinement=MapRefinement.of(settings.refine, source, device),
    )
    if settings.refine is not None:
        open_it = type(settings.refine).open
        monkeypatch.setattr(type(settings.refine), "open", lambda *given: opened.append(given) or open_it(*given))
    taken = map_scores.evaluate_classifier(
        network, source, config, World.current(), refiner=components.refiner, data=data
    )
    assert {name: score.protocol for name, score in taken.items()} == {
        name: score.protocol for name, score in expected.scores.items()
    }
    assert taken["seed_miou"].value == expected.scores["seed_miou"].value
    assert taken["seed_miou"].protocol.hash == expected.scores["seed_miou"].protocol.hash
    for _ in range(2):
        assert components.evaluate(["seed_miou"], World.current())["seed_miou"] == taken["seed_miou"].value
    assert len(opened) == (settings.refine is not None)


@pytest.mark.parametrize("selection", ["checkpoint.best=seed_miou", "training.early_stopping.metric=energy"])
def test_a_refinement_that_cannot_be_had_stops_a_training_before_its_first_step(selection: str) -> None:
    """By maps that it scores while training; a training that scores none needs no refinement."""
    refine = "validation.maps.refine={name: affinity, model: timm/vit_tiny_patch16_224, weights: /gone.pt}"
    config = load_config(TrainConfig, "scenes_gain", [*SETTINGS, refine, selection])
    with pytest.raises(WeightsError, match=r"there is no weights file /gone\.pt: correct maps\.refine\.weights"):
        build_components(config, rank=0, world=1)
    build_components(load_config(TrainConfig, "scenes_gain", [*SETTINGS, refine]), rank=0, world=1)
