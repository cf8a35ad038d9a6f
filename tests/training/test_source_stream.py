"""The second stream of images, and the training loop with a second network: alone, in two processes, and resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor

from attn.data.source import Source
from attn.data.sources.generated import ScenesConfig
from attn.data.transforms import InputConfig
from attn.errors import ConfigError, DataError
from attn.methods.base import SourceStream
from attn.runs.recipes import load_config
from attn.training.checkpoint import Position
from attn.training.classifier import build_components
from attn.training.reporter import EpochRecord, StepRecord
from attn.training.source_stream import SourceBatches, build_source_batches
from attn.training.train_config import TrainConfig
from attn.training.trainer import Trainer
from attn.training.world import World
from tests.training.alone import lone_trainer
from tests.training.double import DoubleTrainer
from tests.training.two_workers import run_two

CLASSES = ("boat", "plane", "cow")
SOURCE = ScenesConfig(count=7, size=32, seed=1, objects=(1, 1), single_label=True, classes=CLASSES[:2])


def make_stream(batch_size: int = 2, *, rank: int = 0, world: int = 1, **changes: Any) -> SourceBatches:
    wanted = SourceStream(SOURCE.model_copy(update=changes), saliency=True, single_label=True)
    return build_source_batches(
        wanted, wanted.source.build(), InputConfig(size=32), CLASSES, batch_size=batch_size, rank=rank, world=world,
        seed=3, shuffle=True,
        workers=0,
    )  # fmt: skip


def build(wanted: SourceStream, source: Source, seed: int = 3) -> SourceBatches:
    return build_source_batches(
        wanted, source, InputConfig(size=32), CLASSES, batch_size=2, rank=0, world=1, seed=seed, shuffle=True, workers=0
    )


def test_batches_run_through_epochs_of_their_own_and_can_begin_anywhere() -> None:
    stream = make_stream()
    whole = list(stream.batches(0, 12))
    assert len(whole) == 12
    assert {name for batch in whole[:4] for name in batch.image_ids} == {
        r.image_id for r in stream.dataset.source.records
    }
    for first, count in ((0, 3), (3, 4), (5, 7), (11, 1)):
        for expected, item in zip(whole[first : first + count], stream.batches(first, count), strict=True):
            assert item.image_ids == expected.image_ids
            assert torch.equal(item.images, expected.images)
            assert item.saliency is not None
            assert expected.saliency is not None
            assert torch.equal(item.saliency, expected.saliency)


@pytest.mark.parametrize(("images", "count"), [(3, 3), (0.45, 3), (7, 7), (1, 1), (0.01, 1)])
def test_some_of_the_source_s_images(images: float, count: int) -> None:
    """AttnBN, table 2: drawn at random; fewer are a part of more, and the others are never seen."""
    source = SOURCE.build()
    stream = build(SourceStream(SOURCE, images=images, single_label=True), source)
    drawn = {record.image_id for record in stream.dataset.source.records}
    assert len(drawn) == count
    assert {name for batch in stream.batches(0, 12) for name in batch.image_ids} == drawn
    more = build(SourceStream(SOURCE, images=min(7, count + 2)), source)
    assert drawn <= {record.image_id for record in more.dataset.source.records} <= {r.image_id for r in source.records}
    others = [build(SourceStream(SOURCE, images=3), source, seed=seed).dataset.source.records for seed in range(6)]
    assert len({tuple(records) for records in others}) > 1


def test_more_images_than_the_source_has() -> None:
    with pytest.raises(DataError, match="method.source_images=8, but the source has 7 images: give fewer"):
        build(SourceStream(SOURCE, images=8), SOURCE.build())


def test_the_global_batch_does_not_depend_on_the_workers() -> None:
    alone = [batch.image_ids for batch in make_stream(4).batches(1, 5)]
    shares = [make_stream(2, rank=rank, world=2).batches(1, 5) for rank in range(2)]
    for expected, first, second in zip(alone, *shares, strict=True):
        assert expected[0::2] == first.image_ids
        assert expected[1::2] == second.image_ids


def test_labels_are_by_the_run_s_own_classes() -> None:
    stream = make_stream(7, classes=("plane", "boat"))
    batch = next(iter(stream.batches(0, 1)))
    boats = torch.tensor([0 in record.labels for record in batch.records])
    assert batch.labels.shape == (7, 3)
    assert torch.equal(batch.labels[:, 0] > 0, boats)
    assert not batch.labels[:, 2].any()
    assert 0 < int(boats.sum()) < 7


def test_what_the_method_needs_of_each_image_is_checked_before_the_run() -> None:
    with pytest.raises(DataError, match=r"image 'train-\d+' has the classes \w+, \w+, where exactly one.*single_label"):
        make_stream(objects=(3, 3), single_label=False, context_bias=0.0)
    wanted = SourceStream(SOURCE.model_copy(update={"classes": CLASSES}))
    with pytest.raises(DataError, match="method.source has images of .*cow.* which data does not have"):
        build_source_batches(
            wanted, wanted.source.build(), InputConfig(), CLASSES[:2], batch_size=1, rank=0, world=1, seed=0,
            shuffle=True, workers=0,
        )  # fmt: skip
    with pytest.raises(DataError, match="method.source has no images in split 'train'"):
        make_stream(count=1, seed=0, objects=(3, 3), context_bias=0.0)


def load(*overrides: str) -> TrainConfig:
    quick = [
        "data.count=12", "data.size=32", "input.size=32", "training.batch_size=4", "training.epochs=2",
        "method.source.count=7", "method.source.size=32", "model.widths=[4,6,8]", "model.batch_norm=frozen",
        "cluster.workers=1", "tracking.enabled=false", "validation.split=null", "method.adversarial_weight=0.1",
    ]  # fmt: skip
    return load_config(TrainConfig, "scenes_attnbn", [*quick, *overrides])


@dataclass
class Kept:
    """Keeps what a run reports; interrupts it at a step where asked."""

    folder: Path | None = None
    end_at: int = 0
    steps: list[StepRecord] = field(default_factory=list)
    saved: list[Path] = field(default_factory=list)

    def step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def cancelled(self) -> bool:
        return False

    def epoch(self, record: EpochRecord, trainer: Trainer) -> None:
        pass

    def checkpoint(self, position: Position, metrics: dict[str, float], write: Callable[[Path], None]) -> None:
        if self.folder is not None:
            self.saved.append(self.folder / f"{position.epoch}-{position.batch}")
            self.saved[-1].mkdir()
            write(self.saved[-1])
        if self.end_at and position.step >= self.end_at:
            raise KeyboardInterrupt


def weights(trainer: Trainer) -> dict[str, Tensor]:
    assert trainer.auxiliary is not None
    both = {"network": trainer.network, "discriminator": trainer.auxiliary.module}
    return {f"{key} {name}": value.clone() for key, part in both.items() for name, value in part.state_dict().items()}


def moments(trainer: Trainer) -> dict[int, dict[str, Tensor]]:
    """What the discriminator's optimiser remembers."""
    assert trainer.auxiliary is not None
    return trainer.auxiliary.optimizer.state_dict()["state"]


def test_resuming_within_an_epoch_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    config = load("checkpoint.every_steps=1")
    calm = lone_trainer(config)
    expected = calm.fit(Kept())
    hit = Kept(tmp_path, end_at=4)
    with pytest.raises(KeyboardInterrupt):
        lone_trainer(config).fit(hit)
    assert hit.saved[-1].name == "1-1"
    again = lone_trainer(config)
    assert again.fit(Kept(), start=hit.saved[-1]) == expected
    for name, value in weights(calm).items():
        assert torch.equal(weights(again)[name], value), name
    ours, theirs = (moments(trainer) for trainer in (again, calm))
    assert all(torch.equal(ours[key][name], theirs[key][name]) for key in theirs for name in theirs[key])


def test_both_networks_move_and_the_parts_are_recorded() -> None:
    kept, trainer = Kept(), lone_trainer(load("training.epochs=1"))
    before = weights(trainer)
    trainer.fit(kept)
    after = weights(trainer)
    assert {name.split()[0] for name in after if not torch.equal(after[name], before[name])} == {
        "network", "discriminator",
    }  # fmt: skip
    names = {"loss", "source", "attention", "target", "adversarial", "discriminator"}
    assert all(record.losses.keys() == names for record in kept.steps)


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = {}
    for number, overrides in enumerate(RUNS):
        trainer = DoubleTrainer(load(*overrides, "cluster.workers=2"), World.current())
        metrics = trainer.fit(Kept())
        results[number] = (metrics, weights(trainer))
    torch.save(results, f"{folder}/found-{rank}.pt")
    dist.destroy_process_group()


RUNS = (
    ("training.epochs=1",),
    ("training.epochs=1", "training.accumulate_steps=2", "method.source_batch_size=8"),
)


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> list[dict[int, Any]]:
    folder = tmp_path_factory.mktemp("workers")
    run_two(_worker, str(folder))
    return [torch.load(folder / f"found-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_two_workers_train_both_networks_like_one_process(shares: list[dict[int, Any]], number: int) -> None:
    alone = DoubleTrainer(load(*RUNS[number]), World.current())
    metrics, expected = alone.fit(Kept()), weights(alone)
    for item in shares:
        assert item[number][0] == pytest.approx(metrics, rel=1e-9)
        for name, value in expected.items():
            torch.testing.assert_close(item[number][1][name], value, rtol=1e-9, atol=1e-12, msg=name)
    for name in expected:
        assert torch.equal(*(item[number][1][name] for item in shares)), name


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method.source_batch_size=3", "cluster.workers=2"], "source_batch_size=3 must be a multiple of"),
        (["input.resize=short_side", "training.accumulate_steps=4"], "puts images of two sources into one batch"),
        (["method.source.sourc=x"], "method.source.sourc is not a known field.*did you mean method.source.source"),
        (["method.source.source=x"], "method.source.source = 'x' is not available"),
        (["method.losses=[target,advers]"], "method.losses.1 = 'advers' is not available"),
    ],
)
def test_faults_of_the_config_name_the_field(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        load(*overrides)


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """Two photographs in VOC's layout, each of one class, without saliency maps."""
    root = tmp_path / "VOC2012"
    for folder in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("a_1\nb_2\n")
    for value, name in enumerate(("a_1", "b_2"), start=1):
        Image.new("RGB", (40, 32)).save(root / f"JPEGImages/{name}.jpg")
        Image.new("L", (40, 32), value).save(root / f"SegmentationClass/{name}.png")
    return root


def test_a_source_without_saliency_names_the_image(voc_root: Path) -> None:
    places = ["data.source=voc", f"data.root={voc_root}", "method.source.source=voc", f"method.source.root={voc_root}"]
    config = load_config(
        TrainConfig, "scenes_attnbn", [*places, "method.source.single_label=true", "validation.split=null"]
    )
    with pytest.raises(DataError, match="image 'a_1' has no saliency map: set method.source.saliency"):
        build_components(config, rank=0, world=1)


def test_switching_terms_off_needs_neither_stream_nor_network() -> None:
    parts = build_components(load("method.losses=[target]"), rank=0, world=1)
    assert (parts.source_batches, parts.auxiliary) == (None, None)
    parts = build_components(load("method.losses=[source]"), rank=0, world=1)
    assert parts.auxiliary is None
    assert parts.source_batches is not None
    assert not parts.source_batches.dataset.with_saliency
    assert len(list(islice(parts.source_batches.batches(0, 2), 2))) == 2
