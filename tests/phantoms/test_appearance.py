"""How images of phantoms differ: window, collimator, haze, markers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.phantoms.appearance import Look, draw_look, form_image, opening, window
from paxray_lib.phantoms.body import draw_body
from paxray_lib.phantoms.phantom import render

SIZE = 96


def test_only_varied_phantoms_lie_in_bed_or_have_haze_and_wires():
    seeds = [np.random.default_rng(seed) for seed in range(60)]
    plain = [(draw_body(rng), draw_look(rng)) for rng in seeds]
    assert all(body.breath >= -1 for body, _ in plain)
    assert all(
        (look.zoom, look.haze, look.wires, look.black, look.white) == (1, 0, 0, 0, 1)
        for _, look in plain
    )
    varied = [(draw_body(rng, varied=True), draw_look(rng, varied=True)) for rng in seeds]
    assert min(body.breath for body, _ in varied) < -1.5
    for name in ("haze", "wires", "black"):
        assert any(getattr(look, name) for _, look in varied), name
    assert max(look.zoom for _, look in varied) > 1


def test_what_the_collimator_hides_is_black_and_has_no_label():
    looks = [(case, draw_look(np.random.default_rng([5, case, 1]))) for case in range(40)]
    case, look = next((case, look) for case, look in looks if min(look.collimation[:2]) > 0.02)
    image, masks = render(5, case, SIZE)["frontal"]
    hidden = np.ones((SIZE, SIZE), bool)
    hidden[opening(look, SIZE)] = False
    assert hidden.any()
    assert not image[hidden].any()
    assert not masks.data[hidden].any()


@given(st.integers(0, 1000), st.integers(32, 600), st.booleans())
def test_the_window_lies_in_the_field(seed, size, varied):
    whole, top, left = window(draw_look(np.random.default_rng(seed), varied), size)
    assert 0 <= top <= whole - size
    assert 0 <= left <= whole - size


def test_haze_and_markers_lighten_a_picture():
    drawn = vars(draw_look(np.random.default_rng(0)))
    plain = drawn | {"haze": 0.0, "marker": False, "wires": 0, "collimation": (0, 0, 0, 0)}
    depth, lung = np.full((SIZE, SIZE), 2.0), np.zeros((SIZE, SIZE), bool)
    lung[20:60, 20:60] = True
    depth[lung] = 1.0

    def draw(**changed):
        look = Look(**plain | changed)
        return form_image(depth, lung, look, 3.0, np.random.default_rng(1)).astype(int)

    before = draw()
    assert draw(haze=1.0)[25:55, 25:55].mean() > before[25:55, 25:55].mean() + 5
    marked = draw(marker=True, wires=3)
    assert (marked >= before).all()
    assert (marked > before).any()
