"""Strokes applied to sets of label indices, pixel by pixel: slow and obvious, in exact fractions.

The rules are those of `paxray_lib.masks.strokes`.
"""

from fractions import Fraction

import numpy as np


def relatives(direct, label):
    found, todo = set(), list(direct[label])
    while todo:
        one = todo.pop()
        found.add(one)
        todo += direct[one]
    return found


def near(point, start, end, size):
    """Whether a point is within half of `size` of a segment."""
    (x, y), (px, py), (qx, qy) = point, start, end
    dx, dy = qx - px, qy - py
    length = dx * dx + dy * dy
    part = Fraction((x - px) * dx + (y - py) * dy, length) if length else Fraction(0)
    part = min(Fraction(1), max(Fraction(0), part))
    across, down = x - px - part * dx, y - py - part * dy
    return across * across + down * down <= Fraction(size, 2) ** 2


def inside(point, corners):
    (x, y), odd = point, False
    for (px, py), (qx, qy) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (py <= y) != (qy <= y) and x < px + Fraction((y - py) * (qx - px), qy - py):
            odd = not odd
    return odd


class SlowEditor:
    """Sets of labels by (row, column)."""

    def __init__(self, stack, parents, prediction=None):
        self.shape = stack.shape[1:]
        self.sets = {p: set(np.flatnonzero(stack[:, *p])) for p in np.ndindex(*self.shape)}
        self.prediction = prediction
        self.parents = parents
        self.children = [[i for i, up in enumerate(parents) if k in up] for k in range(len(stack))]
        self.known = [True] * len(stack)
        self.done, self.undone = [], []

    def stack(self):
        found = np.zeros((len(self.known), *self.shape), bool)
        for (row, column), labels in self.sets.items():
            found[sorted(labels), row, column] = True
        return found

    def apply(self, record):
        state = {p: set(labels) for p, labels in self.sets.items()}, list(self.known)
        if record["mode"] == "undo":
            if self.done:
                self.undone.append(state)
                self.sets, self.known = self.done.pop()
        elif record["mode"] == "redo":
            if self.undone:
                self.done.append(state)
                self.sets, self.known = self.undone.pop()
        else:
            self.done.append(state)
            self.undone = []
            self.change(record)

    def change(self, record):
        label, mode, tree = record["label"], record["mode"], record["tree"]
        wholes, parts = (
            relatives(direct, label) if tree else set() for direct in (self.parents, self.children)
        )
        if mode == "known":
            self.know(label, record["value"])
        elif self.known[label] and mode == "rename":
            self.rename(label, record["to"], record["points"][0], tree)
        elif self.known[label] and mode == "fill":
            for p in self.hole(label, record["points"][0]):
                self.sets[p] |= {i for i in {label} | wholes if self.known[i]}
        elif self.known[label]:
            self.draw(record, wholes, parts)

    def know(self, label, value):
        self.known[label] = value
        for labels in self.sets.values():
            labels -= set() if value else {label}

    def draw(self, record, wholes, parts):
        label, mode = record["label"], record["mode"]
        for p, labels in self.sets.items():
            if mode == "copy":
                to_add = self.prediction is not None and self.prediction[label, *p]
                to_erase = self.prediction is not None and not to_add
            else:
                covered = self.covers(record, p)
                to_add, to_erase = covered and mode != "erase", covered and mode == "erase"
            if to_add:
                labels |= {i for i in {label} | wholes if self.known[i]}
            if to_erase:
                labels -= {label} | parts

    def covers(self, record, place):
        point, points = (16 * place[1] + 8, 16 * place[0] + 8), record["points"]
        if record["shape"] == "polygon":
            return inside(point, points)
        ends = zip(points, points[1:] or points, strict=False)
        return any(near(point, start, end, record["size"]) for start, end in ends)

    def connected(self, point, steps, fits):
        start = (point[1] // 16, point[0] // 16)
        if start not in self.sets or not fits(start):
            return set()
        found, todo = {start}, [start]
        while todo:
            row, column = todo.pop()
            for down, across in steps:
                place = (row + down, column + across)
                if place in self.sets and place not in found and fits(place):
                    found.add(place)
                    todo.append(place)
        return found

    def hole(self, label, point):
        sides = [(0, 1), (1, 0), (0, -1), (-1, 0)]
        found = self.connected(point, sides, lambda p: label not in self.sets[p])
        last = self.shape[0] - 1, self.shape[1] - 1
        return set() if any(0 in p or p[0] == last[0] or p[1] == last[1] for p in found) else found

    def rename(self, label, to, point, tree):
        if not self.known[to] or to == label:
            return
        around = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        for p in self.connected(point, around, lambda p: label in self.sets[p]):
            before = self.sets[p]
            if not tree:
                self.sets[p] = before - {label} | {to}
                continue
            old, new = (sorted(relatives(self.children, i)) for i in (label, to))
            gone = {label, *old}
            added = {to} | relatives(self.parents, to)
            if len(old) == len(new):
                for a, b in zip(old, new, strict=True):
                    if a in before:
                        added |= {b} | relatives(self.parents, b)
            after = before - gone | {i for i in added if self.known[i]}
            wholes = set().union(*(relatives(self.parents, i) for i in gone)) - gone - {to}
            rank = {w: (-len(relatives(self.parents, w)), w) for w in wholes}
            for whole in sorted(wholes, key=rank.get):
                if not after & relatives(self.children, whole):
                    after.discard(whole)
            self.sets[p] = after
