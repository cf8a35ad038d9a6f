"""Insertion and deletion, against areas by hand of scorers whose every answer is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attn.data.dataset import AttentionDataset
from attn.data.sample import Example, Record, collate
from attn.data.source import OnError, fingerprint
from attn.data.transforms import InputConfig
from attn.errors import ConfigError
from attn.evaluation import ScoringConfig
from attn.evaluation.evaluate import evaluate
from attn.evaluation.faithfulness import Faithfulness, FaithfulnessConfig, area_under, perturbed_scores
from attn.evaluation.inference import ImageMaps
from attn.evaluation.result import DataDescription, Evaluation
from attn.models.output import Output

WEIGHTS = [0.4, 0.1, 0.3, 0.2]
"""Of four pixels, in reading order: the score of an image is the weighted sum of its pixels."""
ORDER = [0, 2, 3, 1]


def weighted(weights: list[float]) -> Callable[[Tensor], Tensor]:
    return lambda images: images[:, 0].flatten(1).double() @ torch.tensor(weights, dtype=torch.float64)


def ends(side: int = 2) -> tuple[Tensor, Tensor]:
    return torch.ones(3, side, side), torch.zeros(3, side, side)


def test_the_curves_of_a_weighted_sum_are_those_by_hand() -> None:
    full, empty = ends()
    order = torch.tensor(ORDER)
    deletion = perturbed_scores(weighted(WEIGHTS), full, empty, order, 4)
    insertion = perturbed_scores(weighted(WEIGHTS), empty, full, order, 4)
    np.testing.assert_allclose(deletion, [1, 0.6, 0.3, 0.1, 0], atol=1e-15)
    np.testing.assert_allclose(insertion, [0, 0.4, 0.7, 0.9, 1], atol=1e-15)
    # (1 + 0) / 2 + 0.6 + 0.3 + 0.1 = 1.5 quarters, and 2.5.
    assert area_under(deletion) == pytest.approx(0.375, abs=1e-15)
    assert area_under(insertion) == pytest.approx(0.625, abs=1e-15)


@pytest.mark.parametrize("turned", [False, True])
def test_no_other_order_is_more_faithful(turned: bool) -> None:
    full, empty = ends()
    worst = perturbed_scores(weighted(WEIGHTS), full, empty, torch.tensor(ORDER[::-1]), 4)
    assert area_under(worst) == pytest.approx(0.625, abs=1e-15)
    for seed in range(8):
        order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
        start, end = (empty, full) if turned else (full, empty)
        area = area_under(perturbed_scores(weighted(WEIGHTS), start, end, order, 4))
        assert 0.375 - 1e-12 <= area <= 0.625 + 1e-12


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_each_step_exchanges_an_equal_share(steps: int) -> None:
    """Also where the pixels cannot be divided evenly, and where there are more steps than one pass has images."""
    full, empty = ends(5)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    passes: list[int] = []

    def left(images: Tensor) -> Tensor:
        passes.append(len(images))
        return images[:, 0].flatten(1).double().sum(1)

    curve = perturbed_scores(left, full, empty, order, steps)
    np.testing.assert_array_equal(curve, [25 - 25 * step // steps for step in range(steps + 1)])
    assert sum(passes) == steps + 1
    assert max(passes) <= 16


class Scorer(nn.Module):
    """The probability of class 0 is the mean of the red channel's right half, of class 1 that of the whole of green."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Output:
        half = images.shape[-1] // 2
        red, green = images[:, 0, :, half:].mean((1, 2)), images[:, 1].mean((1, 2))
        probabilities = torch.stack([red, green], 1).double().clamp(1e-9, 1 - 1e-9)
        return Output(torch.logit(probabilities), {})


class Given:
    """A source of a few examples."""

    on_error: OnError = "raise"
    classes = ("red", "green")

    def __init__(self, examples: list[Example], *, exclusive: bool = False) -> None:
        self.examples, self.exclusive = examples, exclusive
        self.records = [example.record for example in examples]

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        return self.examples[index]

    def fingerprint(self) -> str:
        return fingerprint(self.classes, self.records)


INPUT = InputConfig(size=4, mean=(0, 0, 0), std=(1, 1, 1))
"""Inputs are the pixels divided by 255; the mean colour is black."""


def white(name: str, labels: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> Example:
    return Example(Record(name, labels), np.full((*size, 3), 255, np.uint8))


def columns(first: int, last: int) -> np.ndarray:
    """A map of 8×8 pixels that is 1 in some of its columns."""
    values = np.zeros((8, 8), np.float32)
    values[:, first:last] = 1
    return values


def scored(maps: dict[int, np.ndarray], labels: tuple[int, ...], **options: Any) -> Faithfulness:
    source = Given([white("a", labels)])
    config = FaithfulnessConfig(images=1, **{"steps": 2, "insertion": "mean"} | options)
    faithfulness = Faithfulness(Scorer(), AttentionDataset(source, INPUT, train=False), [0], config)
    faithfulness.add(ImageMaps(source.records[0], None, maps, None))
    return faithfulness


def curve(faithfulness: Faithfulness, name: str) -> list[float]:
    ((_, values),) = faithfulness.curves[name]
    return values.round(6).tolist()


def test_a_map_of_what_the_classifier_sees_and_one_of_the_rest() -> None:
    right, left = scored({0: columns(4, 8)}, (0,)), scored({0: columns(0, 4)}, (0,))
    assert (curve(right, "deletion"), curve(right, "insertion")) == ([1, 0, 0], [0, 1, 1])
    assert (curve(left, "deletion"), curve(left, "insertion")) == ([1, 1, 0], [0, 0, 1])


def test_pixels_of_equal_value_follow_in_reading_order() -> None:
    nothing = scored({1: np.zeros((8, 8), np.float32)}, (1,), steps=4)
    assert curve(nothing, "deletion") == [1, 0.75, 0.5, 0.25, 0]
    assert nothing.empty_maps == 1
    top = scored({0: np.zeros((8, 8), np.float32)}, (0,), steps=8)
    # Half a row at a time: the left half first, which the classifier does not look at.
    assert curve(top, "deletion") == [1, 1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0]


def test_the_curve_begins_with_a_blurred_image() -> None:
    """White stays white when it is blurred; a bright line loses what a Gaussian spreads beyond it."""
    assert curve(scored({1: columns(0, 8)}, (1,), insertion="blur"), "insertion") == [1, 1, 1]
    size, sigma = 32, 0.05 * 32
    example = Example(Record("a", (0,)), np.zeros((size, size, 3), np.uint8))
    example.image[:, size // 2 :] = 255
    config = FaithfulnessConfig(images=1, steps=1, blur=0.05)
    source = Given([example])
    dataset = AttentionDataset(source, INPUT.model_copy(update={"size": size}), train=False)
    faithfulness = Faithfulness(Scorer(), dataset, [0], config)
    faithfulness.add(ImageMaps(example.record, None, {0: np.ones((size, size), np.float32)}, None))
    taps = np.arange(-5, 6)  # 3 sigma, rounded up
    kernel = np.exp(-(taps**2) / (2 * sigma**2))
    row = np.pad((np.arange(size) >= size // 2).astype(np.float64), 5, mode="reflect")
    blurred = np.convolve(row, kernel / kernel.sum(), mode="valid")
    assert curve(faithfulness, "insertion") == pytest.approx([blurred[size // 2 :].mean(), 1], abs=1e-6)


def test_maps_are_brought_into_the_inputs_frame() -> None:
    """The input is the middle of a wide image; what the map says of the rest counts nowhere."""
    example = white("a", (0,), (8, 16))
    source, input = Given([example]), INPUT.model_copy(update={"resize": "crop"})
    values = np.zeros((8, 16), np.float32)
    values[:, 8:12], values[:, 12:] = 0.5, 1  # columns 4 to 12 are seen
    faithfulness = Faithfulness(
        Scorer(),
        AttentionDataset(source, input, train=False),
        [0],
        FaithfulnessConfig(images=1, steps=2, insertion="mean"),
    )
    faithfulness.add(ImageMaps(example.record, None, {0: values}, None))
    assert curve(faithfulness, "deletion") == [1, 0, 0]


class Classifier(nn.Module):
    """Sees red where red is, green where green is; Grad-CAM of each is proportional to the channel."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2, bias=False)
        self.linear.weight.data = torch.tensor([[40.0, 0, 0], [0, 40, 0]])

    def forward(self, images: Tensor) -> Output:
        logits = self.linear(images.mean((2, 3))) - 2
        return Output(logits, {"last": images}, linear_weight=self.linear.weight)


def colored(name: str, labels: tuple[int, ...]) -> Example:
    pixels = np.zeros((16, 16, 3), np.uint8)
    for label in labels:
        pixels[4 * label : 4 * label + 6, 3:9, label] = 255
    return Example(Record(name, labels), pixels)


def evaluation(examples: list[Example], chosen: list[int], *, exclusive: bool = False, **options: Any) -> Evaluation:
    source, input = Given(examples, exclusive=exclusive), INPUT.model_copy(update={"size": 16})
    dataset = AttentionDataset(source, input, train=False)
    config = ScoringConfig(faithfulness=FaithfulnessConfig(images=max(len(chosen), 1), steps=16, **options))
    assert config.faithfulness is not None
    network = Classifier()
    return evaluate(
        network,
        [collate([dataset[index]]) for index in range(len(examples))],
        source.classes,
        config,
        "grad_cam",
        torch.device("cpu"),
        data=DataDescription(source="given", split="val", resize="squash 16x16"),
        faithfulness=Faithfulness(network, dataset, chosen, config.faithfulness),
    )


def test_both_scores_are_taken_without_masks_and_say_how() -> None:
    examples = [colored("a", (0,)), colored("b", (0, 1)), colored("c", ()), colored("d", (0,))]
    result = evaluation(examples, [0, 1, 2])
    insertion, deletion = result.scores["insertion"], result.scores["deletion"]
    shown = f"insertion {100 * insertion.value:.1f} %, deletion {100 * deletion.value:.1f} %"
    assert f"{shown}: means over the maps of 3 images" in result.notes
    # 36 of 256 pixels make the object: three steps of 16 pixels; the fewest steps leave nothing of it.
    # The probability without any is 0.12.
    assert insertion.value > 0.85 > 0.2 > deletion.value
    assert insertion.extras == {"pairs": 3, "empty_maps": 0}
    assert insertion.per_class.keys() == {"red", "green"}
    by_hand = sum((a + b) / 2 for (_, a), (_, b) in itertools.pairwise(deletion.curve)) / 16
    assert deletion.value == pytest.approx(by_hand, abs=1e-12)
    for score, baseline, blur in ((insertion, "blur", 5 / 224), (deletion, "mean", None)):
        protocol = score.protocol
        assert (protocol.scored, protocol.labels, protocol.frame, protocol.images) == ("maps", "given", "input", 3)
        assert protocol.perturbation is not None
        assert protocol.perturbation.model_dump() == {"steps": 16, "baseline": baseline, "blur": blur}
        assert [point[0] for point in score.curve] == [step / 16 for step in range(17)]
    other = evaluation(examples, [0, 1, 2], insertion="mean", blur=0.1)
    assert other.scores["insertion"].hash != insertion.hash
    assert other.scores["deletion"] == deletion, "its baseline is not blurred"
    fewer = evaluation(examples, [0])
    assert fewer.scores["insertion"].hash != insertion.hash
    assert fewer.scores["insertion"].per_class["green"] is None


def test_of_exclusive_classes_the_probabilities_sum_to_1() -> None:
    softmax = evaluation([colored("a", (0,))], [0], exclusive=True).scores["deletion"]
    sigmoid = evaluation([colored("a", (0,))], [0]).scores["deletion"]
    # Of a black image both logits are equal.
    assert (softmax.curve[-1][1], sigmoid.curve[-1][1]) == (0.5, pytest.approx(torch.tensor(-2.0).sigmoid().item()))


def test_images_without_labels_have_no_maps_to_score() -> None:
    result = evaluation([colored("a", ())], [])
    assert "insertion" not in result.scores
    assert "insertion and deletion were not scored: no image has a label" in result.notes


def test_what_it_cannot_score_is_refused() -> None:
    from attn.config.resolve import resolve
    from attn.runs.evaluate import EvaluateModelConfig, EvaluateStoreConfig

    text, wanted = "data: {source: voc, root: x}", "evaluation.faithfulness.images=5"
    assert resolve(EvaluateModelConfig, text, "x", [wanted]).evaluation.faithfulness == FaithfulnessConfig(images=5)
    with pytest.raises(ConfigError, match=r"a map store has none: score the trained model"):
        resolve(EvaluateStoreConfig, text, "x", [wanted])
    with pytest.raises(ConfigError, match=r"evaluation: faithfulness is of maps, and maps=false makes none"):
        resolve(EvaluateModelConfig, text, "x", [wanted, "evaluation.maps=false"])
    with pytest.raises(ConfigError, match=r"evaluation.faithfulness.images is missing"):
        resolve(EvaluateModelConfig, text, "x", ["evaluation.faithfulness.steps=5"])
    with pytest.raises(ConfigError, match=r"insertion = 'grey' is not available \(one of blur or mean"):
        resolve(EvaluateModelConfig, text, "x", [wanted, "evaluation.faithfulness.insertion=grey"])
