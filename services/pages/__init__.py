"""The pages of the service: seen in a browser, without any file of another server."""
