"""Find the same point through every frame of a video."""

__version__ = "0.1.0"
