"""Loss functions, one equation each."""

from attn.losses.accumulation import fuse_max, fuse_mean, gate
from attn.losses.bridging import adversarial_loss, attention_constraint, discriminator_loss
from attn.losses.classification import multilabel_soft_margin
from attn.losses.growth import grow_seeds
from attn.losses.integral import integral_cross_entropy, integral_hybrid
from attn.losses.mining import attention_mining, erase, external_supervision, soft_mask
from attn.losses.segmentation import balanced_seeding, boundary, expansion, floored_log_softmax, seeding

__all__ = [
    "adversarial_loss",
    "attention_constraint",
    "attention_mining",
    "balanced_seeding",
    "boundary",
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
    "soft_mask",
]
