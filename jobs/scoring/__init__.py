"""What can be scored."""
