"""Which pairs a multi-hot matrix asks for, and how pairs are checked and grouped."""

from __future__ import annotations

import pytest
import torch

from attn.maps import pairs_of
from attn.maps.pairs import check_pairs, ranks_of


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_pairs_are_ordered_by_image_then_class(dtype: torch.dtype) -> None:
    labels = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 0, 1]], dtype=dtype)
    pairs = pairs_of(labels)
    assert pairs.dtype == torch.int64
    assert pairs.tolist() == [[0, 1], [0, 2], [2, 0], [2, 2]]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (2, 3)])
def test_no_class_no_pair(shape: tuple[int, int]) -> None:
    assert pairs_of(torch.zeros(shape)).shape == (0, 2)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (torch.zeros(3), r"\(3,\)"),
        (torch.tensor([[0.0, 2.0]]), "0.0 to 2.0"),
        (torch.tensor([[-1, 1]]), "-1 to 1"),
        (torch.tensor([[0.0, float("nan")]]), "nan"),
    ],
)
def test_labels_that_are_not_multi_hot_are_refused(labels: torch.Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        pairs_of(labels)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (torch.zeros(4, dtype=torch.int64), r"\(4,\)"),
        (torch.zeros((4, 3), dtype=torch.int64), r"\(4, 3\)"),
        (torch.zeros((1, 2)), "float32"),
        (torch.zeros((1, 2), dtype=torch.int32), "int64, not torch.int32"),
        (torch.zeros((1, 2), dtype=torch.uint8), "int64, not torch.uint8"),
        (torch.tensor([[2, 0]]), r"image must lie in \[0, 2\), not 2 to 2"),
        (torch.tensor([[0, 1], [1, 3]]), r"class must lie in \[0, 3\), not 1 to 3"),
        (torch.tensor([[-1, 0], [1, 0]]), "-1 to 1"),
    ],
)
def test_pairs_outside_the_batch_are_refused(pairs: torch.Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_pairs(pairs, images=2, classes=3)


def test_pairs_of_one_rank_belong_to_different_images() -> None:
    pairs = torch.tensor([[5, 1], [0, 3], [5, 0], [5, 1], [2, 2], [0, 0]])
    assert ranks_of(pairs).tolist() == [0, 0, 1, 2, 0, 1]
    assert ranks_of(pairs[:0]).tolist() == []
