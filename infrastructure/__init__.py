"""The starter catalog, its schemas, and what else a wheel carries beside code."""
