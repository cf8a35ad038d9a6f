"""AttnBN's step: every row of the paper's tables against its equations, and who may touch what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from attn.data.sample import Batch
from attn.methods import Method, MethodConfig, Progress
from attn.methods.attnbn import AttnBN
from attn.models import ModelConfig, Network

PROGRESS = Progress(epoch=0, step=3, fraction=0.1)
TARGET_LABELS = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
SOURCE_CLASSES = [2, 0]
ROWS: list[tuple[str, ...]] = [
    ("target",),
    ("target", "source"),
    ("source", "attention"),
    ("source", "attention", "target"),
    ("source", "attention", "target", "adversarial"),
    ("source",),
    ("source", "adversarial"),
    ("source", "attention", "adversarial"),
]
WEIGHTS = {"source": 1.0, "attention": 2.0, "target": 1.0, "adversarial": 0.001}


def make_network(head: str = "gap") -> Network:
    torch.manual_seed(0)
    settings = {"name": "vgg16" if head == "fc" else "tiny", "weights": None, "head": head}
    settings |= {"fc_width": 8, "fc_dropout": 0.0} if head == "fc" else {"widths": (4, 6, 8), "batch_norm": "frozen"}
    return ModelConfig.model_validate(settings).build(3).double()


def make_method(network: Network, losses: tuple[str, ...], **settings: Any) -> AttnBN:
    values = {"name": "attnbn", "losses": losses, "source": {"source": "scenes"}} | settings
    method = MethodConfig.members["attnbn"].model_validate(values).build()
    assert isinstance(method, AttnBN)
    torch.manual_seed(1)
    if auxiliary := method.auxiliary(network):
        auxiliary.module.double()
    return method


def make_images(count: int, labels: Tensor, **more: Any) -> Batch:
    images = torch.randn(count, 3, 32, 40, dtype=torch.float64)
    none = torch.zeros((0, 2), dtype=torch.int64)
    return Batch(tuple(range(count)), (), images, labels.double(), (), none, images.new_zeros((0, 32, 40)), **more)


def make_batch() -> Batch:
    torch.manual_seed(2)
    source = make_images(
        2, functional.one_hot(torch.tensor(SOURCE_CLASSES), 3), saliency=torch.rand(2, 32, 40, dtype=torch.float64)
    )
    return replace(make_images(3, torch.tensor(TARGET_LABELS)), source_batch=source)


def classification(network: Network, batch: Batch) -> Tensor:
    terms = []
    for image, labels in zip(batch.images, batch.labels, strict=True):
        probability = network(image[None]).logits[0].sigmoid()
        terms.append(-(labels * probability.log() + (1 - labels) * (1 - probability).log()).mean())
    return torch.stack(terms).mean()


def constraint(network: Network, source: Batch) -> Tensor:
    assert source.saliency is not None
    terms = []
    for image, label, saliency in zip(source.images, SOURCE_CLASSES, source.saliency, strict=True):
        output = network(image[None])
        features = output.features["last"]
        (derivative,) = torch.autograd.grad(output.logits[0, label], features, retain_graph=True)
        attention = (derivative[0].mean(dim=(1, 2))[:, None, None] * features[0]).sum(dim=0).relu()
        attention = attention / attention.max() if attention.max() > 0 else attention
        reduced = functional.interpolate(saliency[None, None], size=attention.shape, mode="area")[0, 0]
        terms.append((attention - reduced).square().mean())
    return torch.stack(terms).mean()


def judged(method: AttnBN, features: Tensor) -> Tensor:
    """D's probability that features come from the source, for every image and position."""
    assert method.discriminator is not None
    return torch.cat([method.discriminator(one[None]) for one in features]).sigmoid()


def reference(network: Network, method: AttnBN, batch: Batch, losses: tuple[str, ...]) -> dict[str, Tensor]:
    source = batch.source_batch
    assert source is not None
    terms = {}
    if "source" in losses:
        terms["source"] = classification(network, source)
    if "attention" in losses:
        terms["attention"] = constraint(network, source)
    if "target" in losses:
        terms["target"] = classification(network, batch)
    if "adversarial" in losses:
        target_features, source_features = (
            network(images).features["last"] for images in (batch.images, source.images)
        )
        terms["adversarial"] = -judged(method, target_features).log().mean()
        of_source, of_target = judged(method, source_features.detach()), judged(method, target_features.detach())
        terms["discriminator"] = -of_source.log().mean() - (1 - of_target).log().mean()
    terms["loss"] = sum((WEIGHTS[name] * terms[name] for name in losses), start=torch.zeros(()).double())
    return terms


@pytest.mark.parametrize(
    ("losses", "head"), [*((losses, "gap") for losses in ROWS), (ROWS[4], "conv"), (ROWS[4], "fc")], ids=str
)
def test_every_row_of_the_tables_is_its_equation(losses: tuple[str, ...], head: str) -> None:
    network, batch = make_network(head), make_batch()
    method = make_method(network, losses)
    batch = batch if method.config.source_stream else replace(batch, source_batch=None)
    parts = method.step(network, batch, PROGRESS).losses
    expected = reference(network, method, make_batch(), losses)
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-8, atol=1e-10, msg=name)
    ours, theirs = (
        torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        for loss in (parts["loss"], expected["loss"])
    )
    for (name, _), own, other in zip(network.named_parameters(), ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-10, msg=name)
    if method.discriminator is not None:
        ours, theirs = (
            torch.autograd.grad(part["discriminator"], list(method.discriminator.parameters()))
            for part in (parts, expected)
        )
        for own, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-8, atol=1e-12)


def test_neither_step_touches_the_other_network() -> None:
    network, batch = make_network(), make_batch()
    method = make_method(network, ROWS[4])
    assert method.discriminator is not None
    parts = method.step(network, batch, PROGRESS).losses
    parts["loss"].backward()
    assert all(parameter.grad is None for parameter in method.discriminator.parameters())
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.zero_grad(set_to_none=True)
    parts["discriminator"].backward()
    assert all(parameter.grad is not None for parameter in method.discriminator.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in method.discriminator.parameters())


def test_fooling_the_discriminator_makes_the_target_pass_for_source() -> None:
    network, batch = make_network(), make_batch()
    method = make_method(network, ("source", "adversarial"), adversarial_weight=1e3)
    before = method.step(network, batch, PROGRESS).losses
    before["loss"].backward()
    torch.optim.SGD(network.parameters(), lr=0.01).step()
    assert method.step(network, batch, PROGRESS).losses["adversarial"] < before["adversarial"]


@pytest.mark.parametrize("losses", [("source",), ("source", "attention")], ids="+".join)
def test_generalisation_never_sees_a_target_image(losses: tuple[str, ...]) -> None:
    network, batch = make_network(), make_batch()
    unusable = replace(batch, images=torch.full_like(batch.images, float("nan")))
    parts = make_method(network, losses).step(network, unusable, PROGRESS).losses
    assert all(bool(value.isfinite()) for value in parts.values())


@pytest.mark.parametrize("losses", [("source", "adversarial"), ("source", "attention", "adversarial")], ids="+".join)
def test_adaptation_never_sees_a_target_label(losses: tuple[str, ...]) -> None:
    network, batch = make_network(), make_batch()
    method = make_method(network, losses)
    other = replace(batch, labels=1 - batch.labels)
    first, second = (method.step(network, given, PROGRESS).losses for given in (batch, other))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_run_can_have_the_target_s_maps() -> None:
    network, batch = make_network(), make_batch()
    result = make_method(network, ("source", "attention")).step(network, batch, replace(PROGRESS, maps=True)).maps
    plain = MethodConfig.members["grad_cam"].model_validate({"name": "grad_cam"}).build()
    expected = plain.step(network, batch, replace(PROGRESS, maps=True)).maps
    assert result is not None
    assert expected is not None
    torch.testing.assert_close(result.maps, expected.maps)
    torch.testing.assert_close(result.logits, expected.logits)
    assert [result.maps.requires_grad, result.logits.requires_grad] == [False, False]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"losses": ()}, "must name one or more of source, attention, target, adversarial"),
        ({"losses": ("source", "source")}, "each once"),
        ({"losses": ("target", "attention")}, "lacks the classification of source images"),
        ({"losses": ("adversarial",)}, "lacks the classification of source images"),
        ({"source": None}, "set method.source"),
        ({"losses": ("source", "nonsense")}, "'source', 'attention', 'target' or 'adversarial'"),
        ({"attention_weight": -1.0}, "greater than or equal to 0"),
        ({"discriminator_betas": (0.9, 1.0)}, "less than 1"),
    ],
)
def test_a_config_that_means_nothing_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make_method(make_network(), **({"losses": ROWS[4]} | settings))


def test_a_method_is_like_any_other() -> None:
    method: Method = make_method(make_network(), ("target",))
    assert (method.layer, method.layers, method.map_kind, method.supervision) == ("last", (), "grad_cam", None)
