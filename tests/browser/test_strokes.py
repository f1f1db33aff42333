"""The rules of strokes in JavaScript, in Chromium, against the slow editor and Python's."""

from pathlib import Path

import numpy as np
import pytest
from helpers.slow_strokes import SlowEditor
from helpers.stroke_strategies import HEIGHT, LABELS, WIDTH, closed_stack, strokes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import paxray_lib.viewer
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.masks.strokes import MaskEditor, brush

pytestmark = pytest.mark.browser

APPLY = """([width, height, labels, parents, stacks, records]) => {
    const scene = Object.create(Scene.prototype);
    const make = bits => {
        const keys = ["", ...new Set(bits.map(String).filter(Boolean))];
        const sets = keys.map(key => key ? key.split(",").map(Number) : []);
        const bytes = Math.ceil(labels / 8);
        const number = new Map(keys.map((key, k) => [key, k]));
        const table = new Uint8Array(sets.length * bytes + 2 * bits.length);
        sets.forEach((set, k) => set.forEach(label => {
            table[k * bytes + (label >> 3)] |= 1 << (label & 7);
        }));
        const ids = Uint16Array.from(bits, set => number.get(String(set)));
        table.set(new Uint8Array(ids.buffer), sets.length * bytes);
        return new MaskStack(table, sets.length, labels, width, height);
    };
    Object.assign(scene, { target: make(stacks[0]), prediction: make(stacks[1]), labelCount: labels,
        unknown: new Set(), pairFound: null, meta: { width, height } });
    const editor = new MaskEditor(scene, parents), { target } = scene;
    const states = [], sizes = [1, 3];
    for (const size of sizes) target.outline(size);
    scene.pair;
    for (const record of records) {
        editor.apply(record);
        const now = Array.from(target.ids, id => target.sets.list(id));
        const fresh = make(now), pair = new StackPair(fresh, scene.prediction);
        const lines = stack => sizes.map(size => {
            const { pixels, ids, rows } = stack.outline(size);
            return [[...pixels], Array.from(ids, id => stack.sets.list(id)), [...rows]];
        });
        states.push({
            now, unknown: [...scene.unknown],
            stale: JSON.stringify([lines(target), [...target.area], [...scene.pair.shared]])
                !== JSON.stringify([lines(fresh), [...fresh.area], [...pair.shared]]),
        });
    }
    return states;
}"""


@pytest.fixture
def rules(open_page, tmp_path):
    """A page that has the viewer's rules and nothing else."""
    folder = Path(paxray_lib.viewer.__file__).parent
    text = "".join((folder / f"{name}.js").read_text() for name in ("masks", "blending", "strokes"))
    path = tmp_path / "rules.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><script>{text}</script>")
    page = open_page()
    page.goto(path.as_uri())
    return page


def sets_of(stack):
    return [np.flatnonzero(labels).tolist() for labels in stack.reshape(len(stack), -1).T]


@pytest.mark.slow
@given(st.lists(strokes, min_size=1, max_size=8), st.integers(0, 9))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_strokes_give_equal_bits(rules, records, seed):
    stack, prediction = closed_stack(seed), closed_stack(seed + 1)
    parents = [list(wholes) for wholes in LABELS.parents]
    given = [WIDTH, HEIGHT, len(LABELS), parents, [sets_of(stack), sets_of(prediction)], records]
    slow = SlowEditor(stack, parents, prediction)
    fast = MaskEditor(PackedMasks.pack(stack, LABELS), PackedMasks.pack(prediction, LABELS))
    for record, state in zip(records, rules.evaluate(APPLY, given), strict=True):
        slow.apply(record)
        fast.apply(record)
        assert state["now"] == sets_of(slow.stack()) == sets_of(fast.masks.unpack())
        assert sorted(state["unknown"]) == np.flatnonzero(~fast.masks.known).tolist()
        assert not state["stale"]  # areas, scores and outlines are those of the new masks


def test_a_long_brush_stroke_over_a_large_image_is_exact(rules):
    rng, shape = np.random.default_rng(0), (2048, 2048)
    for size in (1, 37, 1600, 4096):
        first = rng.integers(8000, 20000, 2)
        points = [first.tolist(), (first + rng.integers(-2800, 2800, 2)).tolist()]
        covered = rules.evaluate(
            """([points, size]) => {
                const found = [];
                coverBrush(...points, size, 2048, 2048, i => found.push(i));
                return found;
            }""",
            [points, size],
        )
        expected = brush(np.array(points), size, shape)
        assert np.array_equal(np.sort(covered), np.flatnonzero(expected))
