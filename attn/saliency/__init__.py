"""Saliency maps of images: given by the data, of a network, or of an image's border."""
