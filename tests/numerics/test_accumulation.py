"""Gate and fusion of OAA against loops in double precision NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attn.losses import fuse_max, fuse_mean, gate

Matrix = NDArray[np.float64]


def reference_gate(probabilities: Matrix, labels: NDArray[np.int64], rule: str) -> list[bool]:
    results = []
    for row, present in zip(probabilities, labels, strict=True):
        wanted = [c for c in range(len(row)) if present[c]]
        absent = [row[c] for c in range(len(row)) if not present[c]]
        for c in wanted:
            if rule == "strict":
                results.append(all(row[c] > other for other in absent))
            else:
                results.append(sum(other > row[c] for other in row) < len(wanted))
    return results


@st.composite
def scored(draw: st.DrawFn) -> tuple[Matrix, NDArray[np.int64]]:
    images, classes = draw(st.integers(0, 4)), draw(st.integers(1, 6))
    score = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))  # equal scores often
    rows = [[draw(score) for _ in range(classes)] for _ in range(images)]
    labels = [[draw(st.integers(0, 1)) for _ in range(classes)] for _ in range(images)]
    shape = (images, classes)
    return np.array(rows, np.float64).reshape(shape), np.array(labels, np.int64).reshape(shape)


@pytest.mark.parametrize("rule", ["strict", "top_k"])
@settings(max_examples=100, deadline=None)
@given(case=scored())
def test_gate_is_the_rule_read_aloud(rule: str, case: tuple[Matrix, NDArray[np.int64]]) -> None:
    probabilities, labels = case
    result = gate(torch.from_numpy(probabilities), torch.from_numpy(labels), rule=rule)
    assert result.dtype == torch.bool
    assert result.tolist() == reference_gate(probabilities, labels, rule)


def test_the_rules_differ_as_the_paper_and_the_published_code_do() -> None:
    """Labels A and B, X absent. The code takes A from A > X > B and from X > A > B; the paper only from the first."""
    labels = torch.tensor([[1, 1, 0], [1, 1, 0]])
    probabilities = torch.tensor([[0.9, 0.2, 0.5], [0.5, 0.2, 0.9]])
    assert gate(probabilities, labels).tolist() == [True, False, False, False]
    assert gate(probabilities, labels, rule="top_k").tolist() == [True, False, True, False]


def test_an_image_with_every_class_passes_whole() -> None:
    for rule in ("strict", "top_k"):
        assert gate(torch.tensor([[0.0, 1.0]]), torch.ones(1, 2), rule=rule).all()


def test_gate_refuses_what_is_no_probability() -> None:
    labels = torch.ones(1, 2)
    for wrong in ([[float("nan"), 0.5]], [[1.5, 0.5]], [[-0.1, 0.5]]):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            gate(torch.tensor(wrong), labels)
    with pytest.raises(ValueError, match="shape"):
        gate(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="0 or 1"):
        gate(torch.zeros(1, 2), torch.full((1, 2), 2.0))
    with pytest.raises(ValueError, match="strict or top_k"):
        gate(torch.zeros(1, 2), labels, rule="loose")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_fusions_of_many_maps(count: int) -> None:
    maps = np.random.default_rng(count).random((count, 3, 4, 5))
    largest, mean = torch.zeros(3, 4, 5, dtype=torch.float64), torch.full((3, 4, 5), 9.0, dtype=torch.float64)
    for number, new in enumerate(maps, start=1):
        largest = fuse_max(largest, torch.from_numpy(new))
        mean = fuse_mean(mean, torch.from_numpy(new), number)
    np.testing.assert_array_equal(largest.numpy(), maps.max(axis=0))
    np.testing.assert_allclose(mean.numpy(), maps.mean(axis=0), rtol=1e-12)


def test_each_map_may_be_at_its_own_t() -> None:
    rng = np.random.default_rng(0)
    old, new, t = rng.random((3, 2, 2)), rng.random((3, 2, 2)), np.array([1, 2, 5])
    expected = ((t - 1)[:, None, None] * old + new) / t[:, None, None]
    result = fuse_mean(torch.from_numpy(old), torch.from_numpy(new), torch.from_numpy(t))
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-14)
    # Each position may be at its own, too, as where crops saw them.
    t = rng.integers(1, 4, old.shape)
    result = fuse_mean(torch.from_numpy(old), torch.from_numpy(new), torch.from_numpy(t))
    np.testing.assert_allclose(result.numpy(), ((t - 1) * old + new) / t, rtol=1e-14)


def test_bytes_stay_bytes_and_do_not_overflow() -> None:
    old, new = (torch.from_numpy(np.random.default_rng(n).integers(0, 256, (2, 9), np.uint8)) for n in (1, 2))
    assert torch.equal(fuse_max(old, new), torch.from_numpy(np.maximum(old.numpy(), new.numpy())))
    expected = np.rint((3 * old.numpy().astype(float) + new.numpy()) / 4).astype(np.uint8)
    assert torch.equal(fuse_mean(old, new, 4), torch.from_numpy(expected))


def test_fusions_refuse_what_would_spoil_a_map() -> None:
    good = torch.ones(1, 2, 2)
    for fuse in (fuse_max, lambda old, new: fuse_mean(old, new, 2)):
        with pytest.raises(ValueError, match="finite"):
            fuse(good, torch.full((1, 2, 2), float("nan")))
        with pytest.raises(ValueError, match="one shape and dtype"):
            fuse(good, good.double())
        with pytest.raises(ValueError, match="one shape and dtype"):
            fuse(good, torch.ones(1, 2, 3))
        with pytest.raises(ValueError, match="uint8 or floating"):
            fuse(good.int(), good.int())
    for t in (0, -1, torch.tensor([0])):
        with pytest.raises(ValueError, match="at least 1"):
            fuse_mean(good, good, t)
    for t in (torch.tensor([1, 2]), torch.tensor(1.0), torch.ones(1, 2, dtype=torch.int64)):
        with pytest.raises(ValueError, match="whole number"):
            fuse_mean(good, good, t)
