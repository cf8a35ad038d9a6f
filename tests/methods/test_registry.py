"""Every method on every backbone: a new one of either is tested by being registered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, lru_cache
from itertools import combinations
from typing import Any

import pytest
import torch

from attn.data.sample import Batch
from attn.maps import attention, pairs_of
from attn.methods import Auxiliary, HasAuxiliary, Method, MethodConfig, Progress
from attn.models import ModelConfig, Network, architecture, architectures
from attn.models.map_size import MapSize
from tests.models.thin import thin_network
from tests.models.thin_timm import THIN

CLASSES = 3
SETTINGS: dict[str, dict[str, Any]] = {
    "grad_cam": {},
    "gain": {"extra_supervision": "masks", "layer": "inner", "weight_gradient": True},
    "icasc": {"map_kind": "pixel"},
    "oaa_plus": {"maps": "/runs/oaa/store", "map_kind": "integral"},
    "attnbn": {"source": {"source": "scenes"}},
}
PROGRESS = Progress(epoch=1, step=1, fraction=0.1)


def _config(name: str) -> MethodConfig:
    return MethodConfig.members[name].model_validate({"name": name} | SETTINGS.get(name, {}))


def _heads(method: str, heads: Iterable[str]) -> list[str]:
    return [head for head in heads if head == "conv" or not _config(method).needs_class_maps]


METHODS = sorted(MethodConfig.members)
NETWORKS = [*architectures(), *THIN]


def _offered(name: str) -> tuple[str, ...]:
    """The heads of a network; those of timm's are known here, because to look at them all takes two seconds."""
    return ("gap", "conv") if name in THIN else architecture(name).heads


def _cases() -> Iterator[tuple[str, str, str, bool]]:
    """Every method on every network once, with heads and exclusive classes in turn: each pair of the four is there."""
    for row, name in enumerate(NETWORKS):
        for column, method in enumerate(METHODS):
            heads = _heads(method, _offered(name))
            turn = row + column
            yield method, name, heads[turn % len(heads)], bool(turn // len(heads) % 2)


# By network and head, because the last few initialised networks are kept.
CASES = sorted(_cases(), key=lambda case: (NETWORKS.index(case[1]), case[2]))


def _method(name: str) -> Method:
    return _config(name).build()


def _model(name: str, head: str, batch_norm: str) -> ModelConfig:
    settings = {"name": name, "weights": None, "head": head, "fc_width": 128, "head_width": 128, "fc_dropout": 0.0}
    settings |= {"head_convolutions": int(head == "conv"), "batch_norm": batch_norm}
    return ModelConfig.model_validate(settings)


@lru_cache(maxsize=4)
def _initialised(
    name: str, head: str, layers: tuple[str, ...], batch_norm: str
) -> tuple[Network, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network = thin_network(_model(name, head, batch_norm), CLASSES, layers)
    return network, {key: value.clone() for key, value in network.state_dict().items()}


def _network(name: str, head: str, layers: tuple[str, ...], batch_norm: str = "train") -> Network:
    """A network as initialised; tests have it one after another, because to copy it takes longer than a step."""
    network, start = _initialised(name, head, layers, batch_norm)
    network.load_state_dict(start)
    network.zero_grad(set_to_none=True)
    return network


@cache
def _sizes(name: str, head: str) -> tuple[int, tuple[int, int]]:
    """A small input whose maps have several pixels each way: its height and width, and theirs."""
    map_size = MapSize(_model(name, head, "train"))
    sizes = [size for size in (32, 56, 64, 128) if size % architecture(name).multiple == 0]
    return next((size, map_size((size, size))) for size in sizes if min(map_size((size, size))) > 1)


def _auxiliary(method: Method, network: Network) -> Auxiliary | None:
    return method.auxiliary(network) if isinstance(method, HasAuxiliary) else None


def _batch(network: Network, method_name: str, *, exclusive: bool = False) -> Batch:
    size, map_size = _sizes(network.config.name, network.config.head)
    torch.manual_seed(1)
    labels = torch.tensor([[0.0, 0, 1] if exclusive else [1, 0, 1], [0, 1, 0]])
    pairs = torch.tensor([[0, 2]] if exclusive else [[0, 0], [0, 2]])
    regions = (torch.rand(len(pairs), size, size) > 0.5).float()
    batch = Batch((0, 1), (), torch.randn(2, 3, size, size), labels, (), pairs, regions, exclusive=exclusive)
    batch = replace(batch, soft_labels=torch.rand(2, CLASSES, *map_size))
    if _config(method_name).source_stream is None:
        return batch
    source = replace(batch, images=torch.randn(2, 3, size, size), labels=torch.eye(CLASSES)[:2])
    return replace(batch, source_batch=replace(source, saliency=torch.rand(2, size, size)))


def _hooks(network: Network) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)


def test_each_pair_of_what_a_case_is_made_of_is_in_one() -> None:
    every = {
        (method, name, head, exclusive)
        for method in METHODS
        for name in NETWORKS
        for head in _heads(method, architecture(name).heads)
        for exclusive in (False, True)
    }
    for one, other in combinations(range(4), 2):
        pairs = {(case[one], case[other]) for case in CASES}
        assert {(case[one], case[other]) for case in every} - pairs == set()


@pytest.mark.parametrize(("method_name", "name", "head", "exclusive"), CASES)
def test_every_method_trains_every_network(method_name: str, name: str, head: str, exclusive: bool) -> None:
    method = _method(method_name)
    network = _network(name, head, method.layers)
    auxiliary, batch = _auxiliary(method, network), _batch(network, method_name, exclusive=exclusive)
    start = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    images = batch.images.clone()

    losses = method.step(network, batch, PROGRESS).losses
    losses["loss"].backward()

    assert losses["loss"].requires_grad
    assert losses.keys() == {"loss", *_config(method_name).terms(PROGRESS.epoch)}
    with_graph = {"loss"} | ({auxiliary.loss} if auxiliary else set())
    assert {key for key, value in losses.items() if value.requires_grad} == with_graph
    assert all(value.ndim == 0 and bool(value.isfinite()) for value in losses.values())
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    assert [key for key, gradient in gradients.items() if gradient is None] == []
    assert [key for key, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()] == []
    assert [module.training for module in network.modules()] == modes
    assert _hooks(network) == 0
    if auxiliary is not None:
        assert all(parameter.grad is None for parameter in auxiliary.module.parameters())
        network.zero_grad(set_to_none=True)
        losses[auxiliary.loss].backward()
        assert all(parameter.grad is None for parameter in network.parameters())
        results = [parameter.grad for parameter in auxiliary.module.parameters()]
        assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in results)
    assert all(getattr(module, "track_running_stats", True) for module in network.modules())
    assert torch.equal(batch.images, images)
    assert batch.images.grad is None

    network.load_state_dict(start)
    network.zero_grad(set_to_none=True)
    again = method.step(network, batch, PROGRESS).losses
    again["loss"].backward()
    assert {key: value.item() for key, value in again.items()} == {key: value.item() for key, value in losses.items()}
    assert all(torch.equal(p.grad, gradients[key]) for key, p in network.named_parameters() if p.grad is not None)


@pytest.mark.parametrize("name", METHODS)
def test_every_config_survives_being_saved(name: str) -> None:
    config = _config(name)
    assert MethodConfig.members[name].model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("method_name", "head"), [(method, head) for method in METHODS for head in _heads(method, ("gap", "conv"))]
)
@pytest.mark.parametrize("epoch", [0, 5])
def test_every_method_hands_out_its_maps_when_asked(method_name: str, epoch: int, head: str) -> None:
    """Raw maps of the present classes, by the method's own kind and layer; asking changes no loss."""
    method = _method(method_name)
    # Where a second stream goes through the network too, its statistics would be those of both.
    network = _network("tiny", head, method.layers, "frozen" if _config(method_name).source_stream else "train")
    _auxiliary(method, network)
    batch = _batch(network, method_name)
    start = {key: value.clone() for key, value in network.state_dict().items()}
    without = method.step(network, batch, replace(PROGRESS, epoch=epoch))
    assert without.maps is None
    plain = without.losses
    assert plain.keys() == {"loss", *_config(method_name).terms(epoch)}
    network.load_state_dict(start)
    result = method.step(network, batch, replace(PROGRESS, epoch=epoch, maps=True))
    assert result.maps is not None
    maps, logits, losses = result.maps.maps, result.maps.logits, result.losses
    assert {key: value.item() for key, value in losses.items()} == {key: value.item() for key, value in plain.items()}
    assert [maps.requires_grad, logits.requires_grad] == [False, False]
    losses["loss"].backward()  # the graph is still whole
    network.load_state_dict(start)
    output = network(batch.images)
    expected = attention(output, pairs_of(batch.labels), kind=method.map_kind, layer=method.layer)
    torch.testing.assert_close(maps, expected.detach())
    torch.testing.assert_close(logits, output.logits.detach())


OTHERS: dict[str, Any] = {
    "alpha": 0.3, "mask_scale": 7.0, "mask_threshold": 0.25, "mining_score": "logit", "mining_parameters": "fixed",
    "mining_normalizer": "constant", "extra_weight": 3.0, "extra_map": "raw", "extra_absent": True,
    "weight_gradient": False,
    "iou_inner": 0.0, "iou_last": 0.5, "consistency": 2.0, "mask_fraction": 0.4, "mask_gradient": True,
    "normalize": "none", "warmup_epochs": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name in METHODS if "warmup_epochs" in MethodConfig.members[name].model_fields]
)
def test_idle_fields_change_nothing_before_the_warm_up_ends(name: str) -> None:
    """Neither the loss nor a gradient, until the epoch in which the method's own terms begin."""
    # With a hard mask, or maps of a few pixels, ICASC's terms may have no gradient, whatever their weights.
    config = _config(name).model_copy(update={"warmup_epochs": 1, "mask_scale": 2.0})
    network = _network("tiny", "gap", ("inner",), "frozen")
    batch = replace(_batch(network, name), images=torch.randn(2, 3, 128, 128))

    def trained(method: MethodConfig, epoch: int) -> list[torch.Tensor]:
        network.zero_grad()
        method.build().step(network, batch, replace(PROGRESS, epoch=epoch)).losses["loss"].backward()
        return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    idle = config.idle_fields(0)
    assert idle
    assert config.idle_fields(1) == frozenset()
    others = {field: config.model_copy(update={field: OTHERS[field]}) for field in idle}
    plain = trained(config, 0)
    for field, other in others.items():
        assert all(map(torch.equal, plain, trained(other, 0))), field
    after = trained(config, 1)
    assert not all(map(torch.equal, after, trained(config.model_copy(update={"warmup_epochs": 2}), 1)))
    changed = [field for field, other in others.items() if not all(map(torch.equal, after, trained(other, 1)))]
    assert len(changed) >= len(idle) - 1, changed  # ICASC's `alpha` is a constant without gradient
