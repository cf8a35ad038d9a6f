"""A trained model's folder may hold anything: it is opened as what was saved, or one error says what is wrong."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from attn.errors import WeightsError
from attn.models.bundle import load_bundle
from attn.models.description import CONFIG
from attn.models.weights import read_weights
from attn.prediction.open import open_any
from tests.bundles import tiny_bundle
from tests.hostile.bundles import BUNDLES, _described, _then, good

LONGEST = 700
REASONS = {
    "NaN": "contains NaN or infinity",
    "infinity": "contains NaN or infinity",
    "what overflows": "contains NaN or infinity",
    "another shape": "has the shape",
    "another config": "config.yaml is not the file",
    "a class twice": "'a' appears 2 times",
    "a file out of the folder": "files",
    "weights that run code": "may execute code",
    "a tensor too few": "is missing",
}


@pytest.fixture(scope="module", autouse=True)
def little_memory() -> object:
    """What claims much is refused before memory is taken."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_the_good_one_is_opened(tmp_path: Path) -> None:
    good(tmp_path, np.random.default_rng(0))
    assert load_bundle(tmp_path).classes == open_any(tmp_path).classes


@pytest.mark.parametrize("name", [name for name in BUNDLES if name != "good"])
def test_any_other_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    BUNDLES[name](tmp_path, np.random.default_rng(0))
    with pytest.raises(WeightsError) as caught:
        open_any(tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < LONGEST
    assert REASONS.get(name, str(tmp_path)) in said
    assert not Path("/tmp/attn-was-here").exists()


def test_models_of_before_are_opened_by_the_hash_of_their_weights(tmp_path: Path) -> None:
    _described(files=...)(tmp_path, np.random.default_rng(0))
    (tmp_path / CONFIG).write_text("data: {source: other}\n")
    assert load_bundle(tmp_path).classes


def test_what_lies_beside_is_not_looked_at(tmp_path: Path) -> None:
    _then(lambda folder: (folder / "card.md").write_text("a card"))(tmp_path, np.random.default_rng(0))
    assert load_bundle(tmp_path).classes


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("NaN", "contains NaN or infinity"),
        ("minus infinity", "contains NaN or infinity"),
        ("classes that are numbers", "classes must be a list of names"),
        ("classes that are a text", "classes must be a list of names"),
        ("a description of 100,000 levels", "is not a model description"),
    ],
)
def test_nor_is_it_what_a_training_begins_from(name: str, why: str, tmp_path: Path) -> None:
    BUNDLES[name](tmp_path, np.random.default_rng(0))
    with pytest.raises(WeightsError, match=why):
        read_weights(str(tmp_path), None)


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attn.models.network import Network

    state = Network.state_dict

    def diverged(self: Network) -> dict[str, object]:
        result = state(self)
        next(iter(result.values())).fill_(float("nan"))
        return result

    monkeypatch.setattr(Network, "state_dict", diverged)
    with pytest.raises(WeightsError, match=r"state_dict\.pt: .* contains NaN or infinity"):
        tiny_bundle(tmp_path / "model")
    assert not (tmp_path / "model").exists()
