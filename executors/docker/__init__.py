"""The docker executor."""
