"""Objectives, as pure functions of tensors."""

from .matching import matching_loss
from .refinement import refinement_loss

__all__ = ["matching_loss", "refinement_loss"]
