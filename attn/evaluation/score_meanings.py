"""What each score means: one table, which `attn explain` prints and a page of the documents lists."""

from __future__ import annotations

__all__ = ["MEANINGS", "Meaning", "meaning_of"]

from dataclasses import dataclass

EVALUATE, SEGMENT = ("attn evaluate",), ("attn segment predict", "attn pipeline")
CUES = ("attn segment", "attn segment cues", "attn pipeline")
LABELS = "labels of whole images"


@dataclass(frozen=True)
class Meaning:
    """A score in words.

    Attributes:
        of: What is scored, such as `classifier`.
        text: What it measures, and how it is averaged.
        range: Its values in files; people are shown percent, except for a loss.
        better: `higher` or `lower`.
        needs: What the data must have.
        source: Paper or protocol that it comes from.
        commands: What computes it.
    """

    of: str
    text: str
    needs: str
    source: str
    commands: tuple[str, ...]
    range: str = "0 to 1"
    better: str = "higher"

    @property
    def unit(self) -> str:
        return "none" if self.range == "any number" else "a fraction in files and JSON, percent where it is printed"


MEANINGS: dict[str, Meaning] = {
    "mean_ap": Meaning(
        "classifier",
        "Mean over the classes of average precision: how well the classifier puts images with a class before images "
        "without it. A class that all images have, or none, is left out. During a training it is val/mean_ap.",
        LABELS,
        "scikit-learn's rule, or that of PASCAL VOC, by evaluation.average_precision and validation.average_precision",
        (*EVALUATE, "attn train"),
    ),
    "mean_auc": Meaning(
        "classifier",
        "Mean over the classes of the area under the ROC curve: the probability that an image with the class has a "
        "higher score than one without it. Chance gives 0.5.",
        LABELS,
        "scikit-learn's rule",
        (*EVALUATE, "attn train"),
    ),
    "recall": Meaning(
        "classifier",
        "Mean over the classes: the share of the images with the class for which it is predicted, that is has a "
        "probability above evaluation.probability.",
        LABELS,
        "GAIN, table 4: of images of an object without its usual context, such as a boat without water",
        EVALUATE,
    ),
    "specificity": Meaning(
        "classifier",
        "Mean over the classes: the share of the images without the class for which it is not predicted, that is has "
        "no probability above evaluation.probability.",
        LABELS,
        "GAIN, table 4: of images of a context without its object, such as water without a boat",
        EVALUATE,
    ),
    "accuracy": Meaning(
        "classifier",
        "The share of the images whose most probable class is theirs. In the training of a segmentation network "
        "val/accuracy is another score: the share of the pixels with the right class.",
        "exactly one class for each image; for pixels, masks",
        "ICASC's tables",
        (*EVALUATE, "attn train", "attn segment"),
    ),
    "accuracy_top5": Meaning(
        "classifier",
        "The share of the images whose class is among the five most probable ones.",
        "exactly one class for each image, and more than five classes",
        "ICASC's tables",
        EVALUATE,
    ),
    "seed_miou": Meaning(
        "maps of the given labels",
        "Mean IoU, over the classes and the background, of the maps as seeds: a pixel goes to the class of the largest "
        "map if that exceeds a threshold. One threshold serves all images: the best of a grid (evaluation.thresholds) "
        "on the images that are scored.",
        "masks",
        "the seed protocol, usual in weakly supervised segmentation",
        EVALUATE,
    ),
    "seed_miou_agreement": Meaning(
        "maps of the given labels",
        "As seed_miou, at the threshold at which the maps of the scored images agree best with saliency. It is chosen "
        "without masks, so that it can be had where there are none.",
        "masks, and saliency (evaluation.saliency)",
        "the seed protocol; the threshold is of this project",
        EVALUATE,
    ),
    "direct_miou": Meaning(
        "maps of the predicted classes",
        "Mean IoU, over the classes and the background: a map claims the pixels above a share of its maximum "
        "(evaluation.claim), and a pixel goes to the most probable of the classes that claim it. Mistakes of the "
        "classifier count.",
        "masks",
        "the direct protocol: AttnBN, section 4.2; the share of 20 % is that of GAIN and SEC",
        EVALUATE,
    ),
    "direct_miou_best": Meaning(
        "maps of the predicted classes",
        "As direct_miou, at the best share of a grid on the images that are scored.",
        "masks",
        "the direct protocol: AttnBN, section 4.2",
        EVALUATE,
    ),
    "coverage": Meaning(
        "maps of the given labels",
        "The share of an object's area where its map exceeds the threshold of seed_miou, as a mean over all pairs of "
        "an image and one of its classes. `attn segment cues` prints cue_coverage under this name.",
        "masks",
        "of this project; it says how much of the object a map finds",
        EVALUATE,
    ),
    "precision": Meaning(
        "maps of the given labels",
        "The share of the area where a map exceeds the threshold of seed_miou that lies on the object, as a mean over "
        "the pairs of an image and one of its classes that have such an area. `attn segment cues` prints cue_precision "
        "under this name.",
        "masks",
        "of this project; it says how little of the surroundings a map takes",
        EVALUATE,
    ),
    "energy": Meaning(
        "maps of the given labels",
        "The share of a map's sum that lies on the object, as a mean over all pairs of an image and one of its "
        "classes. It needs no threshold.",
        "masks",
        "the energy-based pointing game",
        EVALUATE,
    ),
    "pointing": Meaning(
        "maps of the given labels",
        "The share of the pairs of an image and one of its classes whose map has its maximum on the object, or within "
        "evaluation.pointing_tolerance pixels of it.",
        "masks",
        "the pointing game",
        EVALUATE,
    ),
    "insertion": Meaning(
        "maps of the given labels",
        "The area under the probability of a map's class while the pixels come into a blurred image, those with the "
        "highest values of the map first; as a mean over all pairs of an image and one of its classes. It says how far "
        "the classifier's own score follows the map. evaluation.faithfulness.images says of how many images.",
        LABELS,
        "RISE (Petsiuk et al., BMVC 2018)",
        EVALUATE,
    ),
    "deletion": Meaning(
        "maps of the given labels",
        "As insertion, while the pixels of the image become the mean colour, those with the highest values of the map "
        "first.",
        LABELS,
        "RISE (Petsiuk et al., BMVC 2018)",
        EVALUATE,
        better="lower",
    ),
    "miou": Meaning(
        "masks of a segmentation network",
        "Mean IoU over the classes and the background, at the images' own size, without the CRF. During a training "
        "val/miou is the same at one scale. `attn segment cues` prints cue_miou under this name.",
        "masks",
        "PASCAL VOC's measure of segmentation",
        (*SEGMENT, "attn segment"),
    ),
    "miou_crf": Meaning(
        "masks of a segmentation network",
        "As miou, of the masks after the dense CRF.",
        "masks",
        "PASCAL VOC's measure of segmentation; the CRF is that of SEC and DSRG",
        SEGMENT,
    ),
    "cue_miou": Meaning(
        "cues",
        "Mean IoU over the classes and the background, of the pixels that have a cue.",
        "masks",
        "of this project; OAA reports the mIoU of whole masks made of maps",
        CUES,
    ),
    "cue_miou_all": Meaning(
        "cues",
        "As cue_miou, of all pixels: one without a cue counts as missed. `attn segment cues` prints it as miou_all.",
        "masks",
        "of this project",
        CUES,
    ),
    "cue_coverage": Meaning(
        "cues",
        "The share of the pixels that have a cue. `attn segment cues` prints it as coverage.",
        "masks",
        "of this project",
        CUES,
    ),
    "cue_precision": Meaning(
        "cues",
        "The share of the cues that are right. `attn segment cues` prints it as precision.",
        "masks",
        "of this project",
        CUES,
    ),
    "overlap": Meaning(
        "maps of a class and of the class it is confused with",
        "Mean over the images of the soft IoU of both maps within the object's map, for the inner and the last layer. "
        "The confusing class is the absent one with the highest score.",
        LABELS,
        "ICASC, eq. 6 and 7",
        ("attn compare --confusion",),
        better="lower",
    ),
    "loss": Meaning(
        "a training",
        "Mean of the loss over an epoch's steps (train/loss), or of the classification loss over the validation split "
        "(val/loss). Losses of different methods are not comparable.",
        LABELS,
        "the method's paper",
        ("attn train", "attn segment"),
        range="any number",
        better="lower",
    ),
}
"""By the score's name, without the split before it (`val/`)."""
OTHER_NAMES = {"miou_all": "cue_miou_all"}
"""Names under which a command prints a score that has no other meaning."""


def meaning_of(name: str) -> tuple[str, Meaning] | None:
    """A score's own name and meaning, whatever stands before its name: `val/mean_ap`, `best/miou`; None if unknown."""
    last = name.rpartition("/")[2]
    last = OTHER_NAMES.get(last, last)
    return (last, MEANINGS[last]) if last in MEANINGS else None
