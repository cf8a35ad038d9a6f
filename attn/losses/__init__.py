"""Loss functions, one equation each."""

from attn.losses.classification import multilabel_soft_margin
from attn.losses.mining import attention_mining, erase, external_supervision, soft_mask

__all__ = ["attention_mining", "erase", "external_supervision", "multilabel_soft_margin", "soft_mask"]
