"""Objectives, as pure functions of tensors; random draws come from an explicit generator."""

from .adversary import CorrelationDiscriminator, adversary_loss, reverse_gradient, scheduled_coefficient
from .contrastive import ContrastiveHead, contrastive_loss
from .cycle import cycle_loss
from .dann import domain_loss
from .end_point import end_point_error
from .matching import matching_loss
from .occlusion import occlusion_bound, visible_by_flow
from .random_walk import random_walk_loss, walk_patches
from .reconstruction import drop_channel, reconstruct_colour, reconstruction_loss
from .refinement import refinement_loss
from .relation import relation_loss
from .soft_target import Label, TeacherNorm, soft_target_loss

__all__ = [
    "ContrastiveHead",
    "CorrelationDiscriminator",
    "Label",
    "TeacherNorm",
    "adversary_loss",
    "contrastive_loss",
    "cycle_loss",
    "domain_loss",
    "drop_channel",
    "end_point_error",
    "matching_loss",
    "occlusion_bound",
    "random_walk_loss",
    "reconstruct_colour",
    "reconstruction_loss",
    "refinement_loss",
    "relation_loss",
    "reverse_gradient",
    "scheduled_coefficient",
    "soft_target_loss",
    "visible_by_flow",
    "walk_patches",
]
