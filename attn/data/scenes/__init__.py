"""Generated scenes: objects with a small telling part and a large plain body, in contexts that give it away.

Everything about a scene is known exactly: labels, masks, boxes, saliency, the telling parts and the context.
"""

from attn.data.scenes.look_alikes import FAMILIES, LOOK_ALIKES
from attn.data.scenes.palette import class_palette
from attn.data.scenes.scene import Scene, render, telling_parts
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
    "telling_parts",
]
