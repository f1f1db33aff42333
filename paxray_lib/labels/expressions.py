"""Expressions of labels: what another data set calls a structure, said in the labels at hand.

Names, groups and patterns as of `LabelSet.select`, joined by ` + ` (union) and ` - ` (without),
spaces on both sides, from left to right: "lung_left - diaphragm - heart".
"""

import re

from paxray_lib.labels.table import LabelSet

#: Steps from left to right: whether the union of the labels at these indices is added or taken off.
Expression = tuple[tuple[bool, tuple[int, ...]], ...]


def parse_expression(text: str, labels: LabelSet) -> Expression:
    """Return the steps of an expression; neighbours of one kind are one step.

    ValueError, with near matches, if a part is empty or selects no label.

    >>> parse_expression("a + c - b - d", LabelSet([*"abcd"]))
    ((True, (0, 2)), (False, (1, 3)))
    """
    first, *rest = re.split(r"(?:^|\s)([-+])(?=\s|$)", text)
    parts = [("+", first), *zip(rest[::2], rest[1::2], strict=True)]
    steps: list[tuple[bool, tuple[int, ...]]] = []
    for sign, part in parts:
        if not part.strip():
            raise ValueError(f"{text[:80]!r} lacks a label before or after {sign!r}")
        adds, indices = sign == "+", labels.select(part)
        if steps and steps[-1][0] == adds:
            indices = sorted({*steps.pop()[1], *indices})
        steps.append((adds, tuple(indices)))
    return tuple(steps)


def single_label(expression: Expression) -> int | None:
    """Return the index of the label that an expression is, or None if it is a compound.

    >>> single_label(((True, (3,)),)), single_label(((True, (3,)), (False, (1,))))
    (3, None)
    """
    indices = [i for _, chosen in expression for i in chosen]
    return indices[0] if len(indices) == 1 else None
