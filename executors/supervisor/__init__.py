"""The supervisor executor."""
