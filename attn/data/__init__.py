"""Images with labels, masks, boxes and saliency: where they come from and how they reach the network."""
