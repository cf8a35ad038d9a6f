"""The walk along a transformer's attention equals its formula; what does not fit is one error."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from attn.errors import AttnError, ConfigError, WeightsError
from attn.maps.refine import AffinityConfig
from attn.maps.refine.affinity import box_mask, transition
from attn.models import weights as weights_module
from tests.maps.refine.transformers import attention_of, weights_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_of("test_vit", tmp_path_factory.mktemp("weights") / "vit.pth")


def config(weights: Path, **fields: Any) -> AffinityConfig:
    return AffinityConfig(model="timm/test_vit", weights=str(weights), **{"size": 80, **fields})


def image(height: int = 40, width: int = 60, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_formula(
    attention: NDArray[np.float64], map_hw: NDArray[Any], *, normalisations: int, power: float, steps: int
) -> NDArray[np.float64]:
    matrix = attention**power
    for _ in range(normalisations):
        matrix = matrix / np.array([matrix[:, column].sum() for column in range(len(matrix))])
        matrix = matrix / np.array([[matrix[row].sum()] for row in range(len(matrix))])
    step = (matrix + matrix.T) / 2
    refined = map_hw.reshape(-1).astype(np.float64) @ np.linalg.matrix_power(step, steps)
    return (refined / refined.max()).reshape(map_hw.shape)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"layers": 1, "normalisations": 3, "power": 2.5, "steps": 1},
        {"layers": 6, "steps": 5, "normalisations": 2, "size": 112},
    ],
)
def test_the_walk_follows_the_attention(weights: Path, fields: dict[str, Any]) -> None:
    chosen = config(weights, **fields)
    refiner, photograph = chosen.open(CPU), image()
    side = chosen.size // 16
    maps = np.random.default_rng(1).random((3, side, side), np.float32)
    result = refiner(photograph, maps)
    attention = attention_of("test_vit", weights, photograph, size=chosen.size, layers=chosen.layers)
    assert attention.std() > 0.01, "a uniform attention would prove nothing"
    assert result.dtype == np.float32
    for one, before in zip(result, maps, strict=True):
        expected = by_formula(
            attention, before, normalisations=chosen.normalisations, power=chosen.power, steps=chosen.steps
        )
        np.testing.assert_allclose(one, expected, atol=3e-4)
        assert np.abs(one - before / before.max()).max() > 0.1, "the map has moved"


def test_the_map_starts_in_its_boxes_alone(weights: Path) -> None:
    photograph = image()
    before = np.zeros((1, 5, 5), np.float32)
    before[0, 0, 0], before[0, 1, 1], before[0, 4, 3], before[0, 2, 4] = 1.0, 0.5, 0.6, 0.3
    masked = before.copy()
    masked[0, 2, 4] = 0  # below the threshold, and in no box
    masked[0, 0, 1], before[0, 0, 1] = 0.1, 0.1  # below it, and in the box of the two that touch at a corner
    result = config(weights, boxes=0.4).open(CPU)(photograph, before)
    plain = config(weights).open(CPU)
    np.testing.assert_allclose(result, plain(photograph, masked), atol=1e-6)
    assert np.abs(result - plain(photograph, before)).max() > 0.01
    assert box_mask(before[0], 0.4).astype(int).tolist() == [
        [1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0],
    ]  # fmt: skip


def test_stretched_maps_begin_at_zero(weights: Path) -> None:
    maps, photograph = np.random.default_rng(1).random((2, 5, 5), np.float32), image()
    plain, stretched = (config(weights, stretch=stretch).open(CPU)(photograph, maps) for stretch in (False, True))
    assert plain.min() > 0
    low = plain.min((1, 2), keepdims=True)
    np.testing.assert_allclose(stretched, (plain - low) / (1 - low), atol=1e-5)


@pytest.mark.parametrize("stretch", [False, True])
def test_a_single_hot_patch_spreads_however_faint_it_becomes(weights: Path, stretch: bool) -> None:
    chosen, photograph = config(weights, size=384, steps=10, stretch=stretch), image()
    side = chosen.size // 16
    maps = np.zeros((2, side, side), np.float32)
    maps[0, 0, 0] = 1
    result = chosen.open(CPU)(photograph, maps)
    attention = attention_of("test_vit", weights, photograph, size=chosen.size, layers=chosen.layers)
    expected = by_formula(attention, maps[0], normalisations=1, power=1, steps=chosen.steps)
    if chosen.stretch:
        expected = (expected - expected.min()) / (1 - expected.min())
    np.testing.assert_allclose(result[0], expected, atol=1e-3)
    assert not result[1].any(), "a map of zeros stays one"


def test_a_map_of_equal_values_is_not_stretched(weights: Path) -> None:
    """Its differences are those of rounding alone."""
    refiner = config(weights, size=16, stretch=True).open(CPU)
    np.testing.assert_array_equal(refiner(image(), np.full((1, 3, 3), 0.5, np.float32)), np.ones((1, 1, 1)))
    flat = config(weights, normalisations=100, steps=100, stretch=True).open(CPU)
    result = flat(image(), np.ones((1, 5, 5), np.float32))
    assert result.min() > 0.99, "columns and rows sum to 1, so that the walk leaves a constant map as it is"


def test_a_step_is_symmetric_and_survives_weights_that_vanish() -> None:
    attention = torch.eye(4, dtype=torch.float64) * 0.5
    attention[:, 0] = 0
    step = transition(attention, normalisations=2, power=3)
    assert torch.equal(step, step.T)
    assert bool(step.isfinite().all())


def test_it_can_be_pickled_and_leaves_no_hook(weights: Path) -> None:
    refiner, photograph = config(weights).open(CPU), image()
    maps = np.random.default_rng(1).random((1, 9, 7), np.float32)
    result = refiner(photograph, maps)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(refiner))(photograph, maps), result)
    hooks = [module._forward_hooks for module in refiner.transformer.network.modules()]  # pyright: ignore
    assert not any(hooks)


def test_half_precision_and_a_missing_classifier_fit(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights)
    halves = {name: value.half() for name, value in state.items() if not name.startswith("head.")}
    torch.save(halves, tmp_path / "half.pth")
    maps, photograph = np.random.default_rng(1).random((1, 5, 5), np.float32), image()
    ours, theirs = (config(path).open(CPU) for path in (weights, tmp_path / "half.pth"))
    np.testing.assert_allclose(ours(photograph, maps), theirs(photograph, maps), atol=0.02)
    digests = [one.description["weights"] for one in (ours, theirs)]
    assert all(len(digest) == 64 for digest in digests)
    assert digests[0] != digests[1]


def test_register_tokens_are_no_patches(tmp_path: Path) -> None:
    weights = weights_of("test_vit2", tmp_path / "registers.pth")
    maps, photograph = np.random.default_rng(1).random((1, 5, 5), np.float32), image()
    chosen = AffinityConfig(model="timm/test_vit2", weights=str(weights), size=80)
    expected = by_formula(
        attention_of("test_vit2", weights, photograph, size=80, layers=4), maps[0], normalisations=1, power=1, steps=2
    )
    np.testing.assert_allclose(chosen.open(CPU)(photograph, maps)[0], expected, atol=3e-4)


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"size": 90}, ConfigError, r"size=90 is no multiple of the patch of timm/test_vit \(16\): set it to 80 or 96"),
        ({"size": 8}, ConfigError, r"size=8 is no multiple .*: set it to 16$"),
        ({"layers": 7}, ConfigError, r"layers=7: timm/test_vit has 6 blocks"),
        (
            {"model": "timm/test_vitt"},
            ConfigError,
            r"model=timm/test_vitt: .* no network 'test_vitt'.*timm/test_vit",
        ),
        ({"model": "test_vit"}, ConfigError, r"model=test_vit: .*begin with timm/: did you mean timm/test_vit"),
        ({"model": "timm/test_vit.r9"}, ConfigError, r"model=timm/test_vit\.r9: .*no weights 'r9': it has r160_in1k"),
        ({"model": "timm/test_resnet"}, ConfigError, "has no attention from every patch to every patch"),
        ({"model": "timm/test_convnext"}, ConfigError, "has no attention from every patch"),
        ({"model": "timm/xcit_nano_12_p16_224"}, ConfigError, "has no attention from every patch"),
        ({"model": "timm/test_vit2"}, WeightsError, r"does not fit timm/test_vit2\. \d+ missing: .*reg_token"),
        ({"model": "timm/test_vit3"}, WeightsError, r"of another shape: .*Choose maps\.refine\.model and"),
        ({"weights": "nowhere.pth"}, WeightsError, r"no weights file .*nowhere\.pth: correct maps\.refine\.weights"),
    ],
)
def test_what_does_not_fit_is_one_error(
    weights: Path, fields: dict[str, Any], kind: type[AttnError], message: str
) -> None:
    values = {"model": "timm/test_vit", "weights": str(weights), "size": 80, **fields}
    with pytest.raises(kind, match=message):
        AffinityConfig(**values).open(CPU)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"x": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(WeightsError, match=r"pickles that would execute code are refused"):
        config(tmp_path / "harmful.pth").open(CPU)
    assert not (tmp_path / "harm").exists()


def test_the_digest_is_of_the_weights_that_are_used(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is replaced while it is opened gives the old weights and their digest, or the new ones and theirs."""
    file, opened = tmp_path / "w.pth", list[Path]()
    file.write_bytes(weights.read_bytes())
    sha256, plain = hashlib.sha256(weights.read_bytes()).hexdigest(), weights_module.check_finite

    def replaced(*given: Any) -> None:
        opened.append(file)
        file.write_bytes(b"other weights")
        plain(*given)

    monkeypatch.setattr(weights_module, "check_finite", replaced)
    assert config(file).open(CPU).description["weights"] == sha256
    assert opened == [file]
