"""Executors: one folder a plugin, reached only through the entry points."""
