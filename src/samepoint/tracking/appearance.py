"""Objects told apart by what they look like: a linear discriminant on descriptors, fitted anew in every frame.

Label propagation knows where an object was; it has no notion of what the object is, so that background laid bare by a
moving body keeps the body's label, and an object that turns is lost. Methods that learn the object's looks
within the video (OSVOS, CVPR 2017; FRTM, CVPR 2020) are strong there. Ours is their simplest kind: ridge regression of
the labels on the descriptors, in closed form from second moments, so that it needs neither steps nor training data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_RIDGE = 1e-2  # of the mean of the diagonal
_RECENT = 0.5  # share of what was found in recent frames, beside the masks given
_MEMORY = 0.9  # of the recent moments, what stays in each frame
_NEAR, _NEAR_SHARE = 15, 0.7  # background this close to an object, in cells, has this share of the background's weight
_SURE = 0.8  # cells are learnt from where their strongest label is at least that
_FLOOR = 1e-3  # a label that propagation does not give a cell
_DOUBT = 0.15  # added to the background's logits: labels that spread by blurring take more than they lose
_SAMPLE = 4096  # cells of a class in a frame, evenly picked where there are more


class Appearance:
    """What the background and each object look like, and what each cell looks like most.

    Of each class, 0 the background, second moments E[x x'] (D, D) of its descriptors are kept, whose last element is 1:
    of the cells where its mask was given, and a running mean over frames since. All classes weigh the same.

    Args:
        say: weight of the discriminant's scores beside the logarithm of the propagated labels.
    """

    def __init__(self, say: float) -> None:
        self.say = say
        self.given: dict[int, Tensor] = {}
        self.recent: dict[int, Tensor] = {}

    def give(self, looks: Tensor, labels: Tensor, objects: Iterable[int], given: Iterable[int]) -> None:
        """Learn from a frame in which masks were given.

        Args:
            looks: descriptors (D, h, w), the last channel 1.
            labels: soft labels (V, h, w), the background first.
            objects: of the channels after the background's.
            given: those whose masks were given in this frame.
        """
        classes, hard = [0, *objects], labels.argmax(0)
        weights = _weights(hard)
        for label in [0, *given]:
            moment, _ = _moment(looks, hard == classes.index(label), weights)
            if moment is None:  # an object smaller than any cell
                continue
            if label == 0 and 0 in self.given:
                moment = (self.given[0] + moment) / 2
            self.given[label] = self.recent[label] = moment

    def judge(self, looks: Tensor, labels: Tensor, objects: Iterable[int], share: Tensor | float = 1.0) -> Tensor:
        """Soft labels (V, h, w) from propagated ones and from looks, which have a share (h, w) of their say."""
        classes = [0, *objects]
        known = [channel for channel, label in enumerate(classes) if label in self.given]
        if len(known) < 2 or 0 not in self.given:
            return labels
        total, means = torch.zeros_like(self.given[0]), []
        for channel in known:
            moment = torch.lerp(self.given[classes[channel]], self.recent[classes[channel]], _RECENT)
            total += moment
            means.append(moment[:, -1])
        total.diagonal().add_(_RIDGE * total.diagonal().mean())
        solved = torch.cholesky_solve(torch.stack(means, 1), torch.linalg.cholesky(total))  # (D, known)
        scores = torch.zeros_like(labels)
        scores[known] = (solved.T @ looks.flatten(1)).unflatten(1, looks.shape[1:])
        logits = labels.clamp(min=_FLOOR).log() + self.say * share * scores
        logits[0] += _DOUBT
        return logits.softmax(0)

    def learn(self, looks: Tensor, labels: Tensor, objects: Iterable[int]) -> None:
        """Keep up with what was found in a frame, where it is sure."""
        strongest, hard = labels.max(0)
        weights, sure = _weights(hard), strongest >= _SURE
        for channel, label in enumerate([0, *objects]):
            if label not in self.recent:
                continue
            moment, share = _moment(looks, hard == channel, weights, sure)
            if moment is not None:
                pace = (1 - _MEMORY) * share
                self.recent[label] = (1 - pace) * self.recent[label] + pace * moment

    def state(self) -> dict[str, Tensor]:
        """All that was learnt, by name; untouched by later frames."""
        return {
            f"{kind}.{label}": moment
            for kind, moments in (("given", self.given), ("recent", self.recent))
            for label, moment in moments.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Be where another was when it gave its :meth:`state`."""
        self.given, self.recent = {}, {}
        for name, moment in state.items():
            kind, label = name.split(".")
            (self.given if kind == "given" else self.recent)[int(label)] = moment


def _weights(hard: Tensor) -> Tensor:
    """Weight of each cell (h, w) within its class: alike in objects, in the background more near them."""
    things = (hard > 0).float()
    near = F.max_pool2d(things[None], 2 * _NEAR + 1, 1, _NEAR)[0]
    weights = torch.ones_like(things)
    close, far = (hard == 0) & (near > 0), (hard == 0) & (near == 0)
    if close.any() and far.any():
        weights[close] = _NEAR_SHARE / close.sum()
        weights[far] = (1 - _NEAR_SHARE) / far.sum()
    return weights


def _moment(looks: Tensor, cells: Tensor, weights: Tensor, sure: Tensor | None = None) -> tuple[Tensor | None, float]:
    """Weighted mean of x x' (D, D) over the sure ones of ``cells``, None if there are none, and their share of all."""
    index = cells.flatten().nonzero()[:, 0]
    index = index[:: -(-len(index) // _SAMPLE) or 1]
    weight = weights.flatten()[index]
    total = weight.sum()
    if sure is not None:
        kept = sure.flatten()[index]
        index, weight = index[kept], weight[kept]
    if len(index) == 0:
        return None, 0.0
    here = looks.flatten(1)[:, index]
    moment = (here * (weight / weight.sum())) @ here.T
    return moment, float(weight.sum() / total)
