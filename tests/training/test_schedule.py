"""Learning-rate schedules and parameter groups against the papers' own words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from attn.training.optimizer import OptimizerConfig, build_optimizer
from attn.training.schedule import Constant, Cosine, Poly, Step


def test_step_divides_by_ten_at_iteration_20000_of_30000() -> None:
    schedule = Step(at=(20_000 / 30_000,))
    factors = [schedule.factor(step / 30_000) for step in (0, 19_999, 20_000, 29_999)]
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.1])


def test_step_divides_every_2000_of_8000() -> None:
    schedule = Step(at=(0.25, 0.5, 0.75))
    np.testing.assert_allclose([schedule.factor(i / 8000) for i in (1999, 2000, 4000, 6000)], [1, 0.1, 0.01, 0.001])


def test_poly_and_cosine_are_the_formulas() -> None:
    shares = np.linspace(0, 0.999, 50)
    np.testing.assert_allclose([Poly().factor(s) for s in shares], (1 - shares) ** 0.9)
    expected = 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * shares))
    np.testing.assert_allclose([Cosine(final=0.1).factor(s) for s in shares], expected)


def test_warm_up_rises_to_the_full_rate() -> None:
    schedule = Constant(warmup=0.2)
    factors = [schedule.factor(s) for s in (0.0, 0.1, 0.2, 0.9)]
    assert 0 < factors[0] < 0.01 < factors[1] < factors[2] == factors[3] == 1


def test_a_step_outside_the_run_is_refused() -> None:
    with pytest.raises(ValidationError, match="shares of the run"):
        Step(at=(20_000.0,))


class TwoPart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 2)

    def is_head(self, name: str) -> bool:
        return name.startswith("head")


def test_groups_have_the_rates_and_decay_of_the_published_code() -> None:
    config = OptimizerConfig.model_validate_json(
        '{"lr": 0.001, "weight_decay": 0.0005, "multipliers": {"backbone_bias": 2, "head_weight": 10, "head_bias": 20}}'
    )
    groups = {group["name"]: group for group in build_optimizer(TwoPart(), config).param_groups}
    rates = {name: group["base_lr"] for name, group in groups.items()}
    assert rates == pytest.approx(
        {"backbone_weight": 0.001, "backbone_bias": 0.002, "head_weight": 0.01, "head_bias": 0.02}
    )
    decays = {name: group["weight_decay"] for name, group in groups.items()}
    assert decays == {"backbone_weight": 5e-4, "backbone_bias": 0, "head_weight": 5e-4, "head_bias": 0}
    assert sum(p.numel() for g in groups.values() for p in g["params"]) == sum(
        p.numel() for p in TwoPart().parameters()
    )


def test_frozen_parameters_and_groups_of_rate_zero_are_left_out() -> None:
    network = TwoPart()
    network.backbone.requires_grad_(False)
    config = OptimizerConfig.model_validate_json('{"multipliers": {"head_bias": 0}}')
    (group,) = build_optimizer(network, config).param_groups
    assert group["name"] == "head_weight"
    assert torch.equal(group["params"][0], network.head.weight)
