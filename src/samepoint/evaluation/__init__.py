"""Measuring: metrics by family in ``metrics``."""
