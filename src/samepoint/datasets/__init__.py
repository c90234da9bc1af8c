"""Readers of research data, one a file, and rendered clips in ``synthetic``."""
