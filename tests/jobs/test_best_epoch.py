"""Runs with `checkpoint.best` and `training.early_stopping`: what they keep, where they end, which model they leave.

Training is real, in this process. The validation scores are scripted, so that it is known which epoch is the best one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attn.data.source_cache import SourceCache
from attn.errors import ConfigError, DataError, WeightsError
from attn.models.bundle import load_bundle
from attn.registry.card import model_card
from attn.runs.config_reader import read_config
from attn.runs.recipes import config_text, load_config
from attn.runs.sweep.config import Objective
from attn.training.checkpoint import Position, load_shared, save_checkpoint
from attn.training.classifier import ClassifierComponents, build_components
from attn.training.map_scores import score_classifier
from attn.training.selection import Best
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import World
from jobs import train
from jobs.runs.checkpoints import best_checkpoint, commit_checkpoint, newest_checkpoint, newest_checkpoint_name
from jobs.runs.run_folder import RunFolder
from jobs.sweeps.pbt_exploit import PbtExploit
from jobs.sweeps.trial_training import Scorer
from tests.jobs.here import fit_here
from tests.jobs.test_trial import alone_in

QUICK = [
    "data.count=16", "data.size=32", "input.size=32", "model.widths=[8,8,8]", "training.epochs=6",
    "training.batch_size=8", "cluster.workers=1", "tracking.enabled=false", "tracking.preview_images=0",
]  # fmt: skip
SELECTING = ["checkpoint.best=val/mean_ap", "training.early_stopping={metric: val/mean_ap, patience: 2}"]
SCORES = (0.25, 0.5, 0.5, 0.375, 1.0, 1.0)
"""The second epoch is the best one before the fourth, after which two have passed without an improvement."""

Weights = dict[str, Tensor]


def load(root: Path, *more: str, recipe: str = "scenes_grad_cam") -> TrainConfig:
    return load_config(TrainConfig, recipe, [*QUICK, f"root={root}", *more])


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> dict[int, Weights]:
    """The weights after each epoch (from 1), of a training with scripted scores."""
    seen: dict[int, Weights] = {}

    def validate(components: ClassifierComponents, *_: Any) -> dict[str, float]:
        epoch = int(next(iter(components.sampler))[0][0])
        seen[epoch + 1] = {name: value.clone() for name, value in components.network.state_dict().items()}
        return {"val/mean_ap": SCORES[epoch]}

    monkeypatch.setattr(ClassifierComponents, "validate", validate)
    monkeypatch.setattr(train, "_fit", fit_here)
    return seen


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def state_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


@pytest.mark.usefixtures("ray_up")
def test_the_best_epoch_becomes_the_model_and_a_plateau_ends_the_training(
    tmp_path: Path, weights: dict[int, Weights]
) -> None:
    result = train.run(load(tmp_path, *SELECTING), run_id="r")
    folder, selected = tmp_path / "r", dict(weights)
    assert sorted(selected) == [1, 2, 3, 4]
    assert same(load_bundle(result.model).network.state_dict(), selected[2])
    best = {"metric": "val/mean_ap", "epoch": 2, "value": 0.5}
    state = state_of(folder)
    assert (state["epoch"], state["best"], state["metrics"]["val/mean_ap"]) == (4, best, 0.5)
    assert state["stopped_early"] == {"epoch": 4, "metric": "val/mean_ap", "best_epoch": 2}
    described = json.loads((folder / "model/model.json").read_text())
    assert described["info"]["best"] == best
    assert "| weights of | epoch 2, the best by val/mean_ap 50.0 % |" in model_card("r/1", described, {})
    assert {path.name for path in (folder / "checkpoints").iterdir() if path.is_dir()} == {
        "epoch-0002-batch-000000",
        "epoch-0004-batch-000000",
    }
    # A process that dies between the last checkpoint and the model neither continues the training nor loses its end.
    shutil.rmtree(folder / "model")
    (folder / "run.json").write_text(json.dumps(state | {"state": "failed", "model": None}))
    weights.clear()
    assert train.resume(str(folder)).model == result.model
    assert not weights
    assert same(load_bundle(result.model).network.state_dict(), selected[2])
    # Without the selection, the epochs are the same, and the model is that of the last.
    plain = train.run(load(tmp_path), run_id="plain")
    assert all(same(weights[epoch], selected[epoch]) for epoch in selected)
    assert same(load_bundle(plain.model).network.state_dict(), weights[6])
    assert {"best", "stopped_early"}.isdisjoint(state_of(tmp_path / "plain"))


@pytest.mark.usefixtures("ray_up")
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_that_is_interrupted_keeps_its_best_epoch(
    tmp_path: Path, weights: dict[int, Weights], epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after any epoch, and within the next one's first checkpoint."""
    scripted = ClassifierComponents.validate

    def interrupted(components: ClassifierComponents, *more: Any) -> dict[str, float]:
        outcome = scripted(components, *more)
        if len(weights) == epoch + 1:
            raise KeyboardInterrupt
        return outcome

    config = load(tmp_path, *SELECTING, "checkpoint.every_steps=1")
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierComponents, "validate", interrupted)
        with pytest.raises(BaseException, match="cancelled"):
            train.run(config, run_id="r")
    result = train.resume(str(tmp_path / "r"))
    assert sorted(weights) == [1, 2, 3, 4]
    assert same(load_bundle(result.model).network.state_dict(), weights[2])
    assert state_of(tmp_path / "r")["best"]["epoch"] == 2


@pytest.mark.usefixtures("ray_up")
def test_a_trial_reports_the_epoch_that_its_model_is_of(tmp_path: Path, weights: dict[int, Weights]) -> None:
    alone, folder = alone_in(
        tmp_path,
        ["objective.metric=val/mean_ap", "set.training.epochs=6", "set.checkpoint.best=val/mean_ap",
         "set.training.early_stopping.metric=val/mean_ap", "set.training.early_stopping.patience=2",
         "set.data.count=16"],
    )  # fmt: skip
    messages = [alone.step() for _ in range(5)]
    assert [(one["epoch"], one["objective"], one["last_epoch"], one["done"]) for one in messages] == [
        (1, 0.25, False, False), (2, 0.5, False, False), (3, 0.5, False, False), (4, 0.375, True, False),
        (4, 0.5, True, True),
    ]  # fmt: skip
    alone.save_checkpoint(str(tmp_path))
    alone.cleanup()
    state = state_of(Path(folder.uri) / "s-0000")
    assert (state["state"], state["best"]["epoch"], state["metrics"]["val/mean_ap"]) == ("done", 2, 0.5)
    assert same(load_bundle(state["model"]).network.state_dict(), weights[2])
    # What another trial of a population would take over.
    assert [load_shared(tmp_path / name)[0].epoch for name in ("training", "best")] == [4, 2]


def checkpoint(folder: Path, epoch: int, best: int, value: float) -> Path:
    folder.mkdir(parents=True)
    shared = {"model": {"w": torch.full((1,), value)}, "best": {"metric": "m", "epoch": best, "value": 0.5}}
    save_checkpoint(folder, Position(epoch), shared, {}, 0, 1)
    return folder


def test_a_trial_takes_over_the_best_epoch_with_the_weights(tmp_path: Path) -> None:
    """Both trials have a best epoch of the same number."""
    folder = RunFolder(str(tmp_path), "t")
    for epoch, value in ((2, 1.0), (3, 2.0)):
        checkpoint(tmp_path / f"t/checkpoints/epoch-{epoch:04d}-batch-000000", epoch, 2, value)
    commit_checkpoint(folder, "epoch-0003-batch-000000", "epoch-0002-batch-000000")
    folder.update(kind="train", state="running", values={})
    theirs = checkpoint(tmp_path / "x/training", 4, 2, 4.0), checkpoint(tmp_path / "x/best", 2, 2, 3.0)
    PbtExploit(7, 4, {"optimizer.lr": 0.1}).apply(folder, *theirs)

    def weight(path: Path) -> float:
        return float(load_shared(path)[1]["model"]["w"])

    assert weight(newest_checkpoint(folder, tmp_path)) == 4.0
    assert weight(best_checkpoint(folder, Best("m", 2, 0.5), tmp_path)) == 3.0
    assert len(list((tmp_path / "t/checkpoints").glob("*/"))) == 2
    # The next epoch is no better: the best one stays; then one is.
    checkpoint(tmp_path / "t/checkpoints/epoch-0005-batch-000000", 5, 2, 5.0)
    commit_checkpoint(folder, "epoch-0005-batch-000000", "best-before-epoch-0004-of-trial-0007")
    assert weight(best_checkpoint(folder, Best("m", 2, 0.5), tmp_path)) == 3.0
    commit_checkpoint(folder, "epoch-0005-batch-000000", "epoch-0005-batch-000000")
    assert newest_checkpoint_name(folder) == "epoch-0005-batch-000000"
    assert len(list((tmp_path / "t/checkpoints").glob("*/"))) == 1


@pytest.mark.parametrize("loss", ["folder", "manifest", "weights"])
def test_a_best_epoch_that_is_gone_says_what_to_do(tmp_path: Path, loss: str) -> None:
    place = checkpoint(tmp_path / "t/checkpoints/epoch-0002-batch-000000", 2, 2, 1.0)
    if loss == "folder":
        shutil.rmtree(place)
    else:
        (place / {"manifest": "manifest-00000.json", "weights": "training.pt"}[loss]).unlink()
    said = f"epoch 2, the best by m, is gone from {place} or damaged: restore that folder, or begin a new run without"
    with pytest.raises(WeightsError, match=said):
        best_checkpoint(RunFolder(str(tmp_path), "t"), Best("m", 2, 0.5), tmp_path / "scratch")


@pytest.mark.parametrize(
    ("recipe", "changes", "problem"),
    [
        ("scenes_gain", ["checkpoint.best=val/maP"], r"val/maP is no score of this run's epochs .did you mean val/"),
        ("scenes_gain", ["checkpoint.best=train/iou_last"], "no score of this run's epochs.*train/mining"),
        ("scenes_gain", ["checkpoint.best=val/loss", "validation.split=null"], "set validation.split"),
        ("scenes_gain", ["training.early_stopping={metric: seed_miou}", "validation.split=null"],
         "training.early_stopping.metric=seed_miou .*set validation.split"),
        ("segment_scenes", ["checkpoint.best=seed_miou"], "no score of this run's epochs.*val/miou"),
        ("segment_scenes", ["checkpoint.best=val/miou", "retrain.training.early_stopping={metric: val/mean_ap}"],
         "retrain.training.early_stopping.metric=val/mean_ap is no score"),
        ("scenes_oaa", ["training.early_stopping={metric: val/loss}"], "store.fallback=last.*set store.fallback=none"),
        ("scenes_gain", ["training.early_stopping={metric: val/loss, patience: 0}"], "patience"),
    ],
)  # fmt: skip
def test_a_score_that_the_epochs_lack_is_refused(recipe: str, changes: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_config(*config_text(recipe), changes)


@pytest.mark.parametrize("recipe", ["scenes_oaa", "scenes_gain", "segment_scenes"])
def test_what_the_epochs_have_is_accepted(recipe: str) -> None:
    fallback = ["store.fallback=none"] if recipe == "scenes_oaa" else []
    score = "val/miou" if recipe == "segment_scenes" else "seed_miou"
    config = read_config(
        *config_text(recipe), [*fallback, f"checkpoint.best={score}", "training.early_stopping={metric: train/loss}"]
    )
    assert config.selection.metrics == {score, "train/loss"}


@pytest.mark.usefixtures("ray_up")
def test_data_without_what_the_score_needs_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_fit", lambda *_, **__: pytest.fail("no process is started"))
    with pytest.raises(DataError, match=r"checkpoint.best=val/accuracy is not reported: images may have several"):
        train.run(load(tmp_path, "checkpoint.best=val/accuracy"), run_id="r")
    assert not (tmp_path / "r").exists()


def test_a_warm_up_is_no_candidate(tmp_path: Path) -> None:
    config = load(tmp_path, "method.warmup_epochs=3", recipe="scenes_gain")
    assert [config.first_counted(epochs) for epochs in (2, 4, 6)] == [0, 3, 3]
    assert load(tmp_path).first_counted(6) == 0


def test_the_epochs_scores_decide_and_not_those_of_a_sweep_on_another_split(tmp_path: Path) -> None:
    stopping = "training.early_stopping={metric: seed_miou}"
    config = load(tmp_path, "checkpoint.best=seed_miou", stopping, recipe="scenes_gain")
    components, sources = build_components(config, rank=0, world=1), SourceCache()
    scorer = Scorer(Objective(metric="seed_miou", mode="max", split="train"), config, sources)
    trainer = Trainer(config, World.current(), components, scorer=scorer)
    trained = config.data.model_copy(update={"split": "train"})
    assert components.val_dataset is not None
    of_validation, of_training = (
        score_classifier(components.network, source, config, World.current(), refiner=None)["seed_miou"]
        for source in (components.val_dataset.source, sources.get(trained))
    )
    assert of_validation != of_training
    metrics = trainer._scores(5, {"train/loss": 0.5})
    best, plateau = trainer.selection.best, trainer.selection.plateau
    assert best is not None
    assert (best.value, plateau.value) == (of_validation, of_validation)
    # The sweep hears of its own score, also when it asks for that of the best epoch.
    assert metrics["seed_miou"] == best.metrics["seed_miou"] == of_training


@pytest.mark.usefixtures("ray_up", "weights")
def test_a_run_that_keeps_maps_does_not_end_before_the_first_of_them(tmp_path: Path) -> None:
    """By the scores alone it would end after the third epoch; maps are kept from the fourth."""
    settings = [
        "store.start_epoch=3",
        "store.fallback=none",
        "training.early_stopping={metric: val/mean_ap, patience: 1}",
    ]
    config = load(tmp_path, *settings, recipe="scenes_oaa")
    assert [config.first_stopping(6), load(tmp_path, "store.start_epoch=3").first_stopping(6)] == [3, 0]
    train.run(config, run_id="r")
    assert state_of(tmp_path / "r")["epoch"] == 6
    assert state_of(tmp_path / "r")["metrics"]["store/accepted"] > 0
