"""Loss functions, one equation each."""

from attn.losses.accumulation import fuse_max, fuse_mean, gate
from attn.losses.bridging import adversarial_loss, attention_constraint, discriminator_loss
from attn.losses.classification import class_probabilities, classification_loss, multilabel_soft_margin
from attn.losses.confusion import attention_consistency, confusing_class, soft_iou, target_mask
from attn.losses.integral import integral_cross_entropy, integral_hybrid
from attn.losses.mining import attention_mining, erase, external_supervision, soft_mask
from attn.losses.region_growing import grow_seeds
from attn.losses.segmentation import balanced_seeding, boundary, expansion, floored_log_softmax, seeding

__all__ = [
    "adversarial_loss",
    "attention_consistency",
    "attention_constraint",
    "attention_mining",
    "balanced_seeding",
    "boundary",
    "class_probabilities",
    "classification_loss",
    "confusing_class",
    "discriminator_loss",
    "erase",
    "expansion",
    "external_supervision",
    "floored_log_softmax",
    "fuse_max",
    "fuse_mean",
    "gate",
    "grow_seeds",
    "integral_cross_entropy",
    "integral_hybrid",
    "multilabel_soft_margin",
    "seeding",
    "soft_iou",
    "soft_mask",
    "target_mask",
]
