"""Logits of compounds: what other data draw, as an expression of the network's labels.

Of independent labels with probabilities p and q, a union has 1 - (1 - p)(1 - q), and p without q
has p (1 - q). Both are products, so that the logit comes from sums of log-probabilities, exact far
beyond where a probability rounds to 0 or 1. A wrong compound moves the labels that it is made of by
how uncertain each one is."""

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from paxray_lib.labels.expressions import Expression

# beyond it float32 has no logarithm of 1 - p
_LARGEST = 60.0


def with_compounds(logits: Tensor, compounds: Sequence[Expression]) -> Tensor:
    """Return logits (N, L, h, w) followed by those of K compounds, (N, L + K, h, w)."""
    if not compounds:
        return logits
    more = [compound_logits(logits, expression) for expression in compounds]
    return torch.cat([logits, torch.stack(more, 1).to(logits.dtype)], 1)


def compound_logits(logits: Tensor, expression: Expression) -> Tensor:
    """Return the logits (N, h, w) of an expression of labels with logits (N, L, h, w).

    Computed in float32 at least, from left to right, by log p and log (1 - p) of what is there.
    """

    def without(indices: Sequence[int]) -> Tensor:
        """Return the logarithm of the probability that none of these labels is there."""
        return functools.reduce(operator.add, (logsigmoid(-scores[:, i]) for i in indices))

    used = sorted({i for _, indices in expression for i in indices})
    places = {label: place for place, label in enumerate(used)}
    scores = logits[:, used]
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores.clamp(-_LARGEST, _LARGEST)
    (_, first), *steps = [(adds, [places[i] for i in some]) for adds, some in expression]
    no = without(first)  # log (1 - p)
    yes = logsigmoid(scores[:, first[0]]) if len(first) == 1 else _other(no)  # log p
    for adds, indices in steps:
        if adds:
            no = no + without(indices)
            yes = _other(no)
        else:
            yes = yes + without(indices)
            no = _other(yes)
    return yes - no


def _other(log: Tensor) -> Tensor:
    """Return log (1 - p) for log p: by the form that is exact, near 0 and far from it."""
    near = log > -0.693
    exact = torch.log(-torch.expm1(torch.where(near, log, -1.0)))
    return torch.where(near, exact, torch.log1p(-torch.exp(torch.where(near, -1.0, log))))
