"""The operator that all tasks share: find corresponding cells (``affinity``), carry values along (``propagate``)."""

from samepoint.correspondence.affinity import Affinity, affinity
from samepoint.correspondence.local import local_correlation
from samepoint.correspondence.propagation import propagate
from samepoint.correspondence.window import Window

__all__ = ["Affinity", "Window", "affinity", "local_correlation", "propagate"]
