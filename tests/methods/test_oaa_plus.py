"""OAA+: which loss a step takes, what it trains, and which settings contradict each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from attn import store
from attn.data.sample import Batch
from attn.errors import ConfigError
from attn.losses import integral_cross_entropy, integral_hybrid
from attn.maps import MapKind, attention, pairs_of
from attn.methods import MethodConfig, Progress
from attn.models import ModelConfig, Network
from attn.runs.recipes import load_config
from attn.training.train_config import TrainConfig

NOW = Progress(0, 0, 0.0)
LOSSES = {"hybrid": integral_hybrid, "mce": integral_cross_entropy}


def _method(**settings: Any) -> Any:
    return MethodConfig.members["oaa_plus"].model_validate({"name": "oaa_plus", "maps": "/maps"} | settings)


def _network(head: str = "conv") -> Network:
    torch.manual_seed(0)
    return ModelConfig.model_validate({"name": "tiny", "weights": None, "head": head}).build(3)


def _batch() -> Batch:
    torch.manual_seed(1)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0]])
    maps = torch.rand(3, 3, 4, 4) * (torch.rand(3, 3, 4, 4) > 0.4) * labels[..., None, None]
    empty = torch.zeros((0, 2), dtype=torch.int64), torch.zeros((0, 32, 32))
    return Batch((0, 1, 2), (), torch.randn(3, 3, 32, 32), labels, (), *empty, soft_labels=maps)


@pytest.mark.parametrize("absent", ["negative", "constrain", "ignore"])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_is_that_of_the_class_maps(kind: str, absent: Any) -> None:
    batch, network = _batch(), _network()
    assert batch.soft_labels is not None
    losses = _method(integral_loss=kind, absent_classes=absent).build().step(network, batch, NOW).losses
    class_maps = network(batch.images).class_maps
    assert class_maps is not None
    assert losses.keys() == {"loss", "integral"}
    expected = LOSSES[kind](class_maps, batch.soft_labels, batch.labels, absent=absent)
    torch.testing.assert_close(losses["loss"], expected)
    assert losses["integral"].item() == losses["loss"].item()


def test_the_hybrid_loss_fills_what_the_plain_one_leaves_low() -> None:
    """A faintly attended body: the plain loss settles where q = p, the hybrid one lets it rise (section 3.3)."""
    batch = _batch()
    truth = torch.zeros(3, 3, 4, 4)
    truth[0, 0, :, :2], truth[0, 0, 0, 0] = 0.2, 1.0
    batch = replace(batch, soft_labels=truth)
    results: dict[str, torch.Tensor] = {}
    for kind in LOSSES:
        free = torch.zeros(3, 3, 4, 4, requires_grad=True)
        optimizer = torch.optim.Adam([free], lr=0.2)
        for _ in range(200):
            optimizer.zero_grad()
            LOSSES[kind](free, truth, batch.labels).backward()
            optimizer.step()
        results[kind] = free.detach().sigmoid()[0, 0]
    body = torch.tensor([1, 2, 3])
    assert results["mce"][body, 1].tolist() == pytest.approx([0.2] * 3, abs=0.01)
    assert float(results["hybrid"][body, 1].min()) > 0.9
    for kind in LOSSES:
        assert float(results[kind][:, 2:].max()) < 0.1


@pytest.mark.parametrize("kind", ["cam", "integral"])
def test_maps_are_handed_out_as_they_are_looked_at(kind: MapKind) -> None:
    batch, network = _batch(), _network()
    method = _method(map_kind=kind).build()
    assert method.map_kind == kind
    result = method.step(network, batch, replace(NOW, maps=True)).maps
    assert result is not None
    expected = attention(network(batch.images), pairs_of(batch.labels), kind=kind)
    torch.testing.assert_close(result.maps, expected.detach())


def test_half_precision_costs_the_loss_nothing() -> None:
    batch, network = _batch(), _network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = _method().build().step(network, batch, NOW).losses["loss"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(_method().build().step(network, batch, NOW).losses["loss"].item(), rel=0.02)


def test_a_network_without_class_maps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.head=conv"):
        _method().build().step(_network("gap"), _batch(), NOW)
    with pytest.raises(ConfigError, match=r"method\.name=oaa_plus reads the class-aware convolution.*model\.head=conv"):
        load_config(TrainConfig, "scenes_oaa_plus", ["model.head=gap", "model.head_convolutions=0"])
    with pytest.raises(ValueError, match="soft labels"):
        _method().build().step(_network(), replace(_batch(), soft_labels=None), NOW)


@pytest.mark.parametrize("field", [{"integral_loss": "plain"}, {"absent_classes": "drop"}, {"version": 0}, {"maps": 3}])
def test_wrong_settings_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(field))):
        _method(**field)


def test_a_run_names_the_version_that_it_begins_with(tmp_path: Path) -> None:
    result = store.create(str(tmp_path / "maps"), rows=[("a", 0)], grid=(2, 2))
    config = _method(maps=str(tmp_path / "maps"))
    assert config.resolved_versions().version is None, "there is none yet, which is told where the maps are opened"
    session = result.begin("oaa")
    for epoch in range(2):
        writer = session.writer(0)
        writer.add("a", 0, np.ones((2, 2)))
        session.commit(epoch, [writer.seal()])
    pinned = config.resolved_versions()
    assert pinned.version == result.newest().version
    session.commit(2, [])
    assert pinned.resolved_versions() == pinned
    assert pinned.soft_labels.version == pinned.version
