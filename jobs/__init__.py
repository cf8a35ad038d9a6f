"""What runs on the cluster: jobs, and the recipes that they start from."""
