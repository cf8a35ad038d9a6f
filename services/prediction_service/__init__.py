"""The prediction service: a trained model that answers over HTTP, on Ray Serve."""
