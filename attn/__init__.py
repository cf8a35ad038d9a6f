"""Attention-guided training of image classifiers, from image-level labels to pixel-level maps."""

__version__ = "0.2.0.dev0"
