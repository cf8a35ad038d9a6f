"""Jobs that run on this machine or a cluster, and the recipes that they start from."""
