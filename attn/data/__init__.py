"""Data sets of images with labels, masks, boxes and saliency maps, and their way into the network."""
