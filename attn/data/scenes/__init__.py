"""Generated scenes: objects with a small discriminative part and a large plain body, in contexts that hint at them.

Labels, masks, boxes, saliency, discriminative ("telling") parts and context of a scene are known exactly.
"""

from attn.data.scenes.look_alikes import FAMILIES, LOOK_ALIKES
from attn.data.scenes.palette import class_palette
from attn.data.scenes.scene import Scene, render
from attn.data.scenes.splits import CLASSES, CONTEXTS, HOME, SPLITS

__all__ = [
    "CLASSES",
    "CONTEXTS",
    "FAMILIES",
    "HOME",
    "LOOK_ALIKES",
    "SPLITS",
    "Scene",
    "class_palette",
    "render",
]
