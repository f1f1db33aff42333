"""The open model has not seen what `make demo` is scored on."""

import inspect
import re
from pathlib import Path

import numpy as np
from helpers.open_model import script

from paxray_lib.models.named import find_weights
from paxray_lib.models.portable import read_portable
from paxray_lib.phantoms.body import draw_body
from paxray_lib.phantoms.sample_dataset import generate_sample, split_cases

recipe = script("recipe")
CASES = 1000  # more than any of its sets of phantoms has
FILMS = {"wingspan", "v7", "teacher"}  # the last are the films of the others


def bodies(seed, cases):
    """Return the numbers of phantoms, drawn as `make_phantom` draws them, in either variety."""
    return {
        str(draw_body(np.random.default_rng([seed, case, 0]), varied))
        for case in cases
        for varied in (False, True)
    }


def test_no_phantom_of_the_sample_was_in_the_training_of_the_open_model():
    header = read_portable(find_weights("open"))
    trained_on = {
        Path(source["root"]).name
        for part in header["recipe"]
        for source in part["settings"]["data"]
    }
    assert trained_on <= recipe.PHANTOMS.keys() | FILMS
    assert trained_on & recipe.PHANTOMS.keys()

    defaults = inspect.signature(generate_sample).parameters
    cases, seed = (defaults[name].default for name in ("cases", "seed"))
    tested = bodies(seed, split_cases(cases, seed)["test"])
    assert len(tested) == 2 * 19
    seen = [bodies(recipe.PHANTOMS[name], range(CASES)) for name in trained_on - FILMS]
    assert not tested & set.union(*seen)


def test_the_sample_of_the_demonstration_has_the_default_seed():
    makefile = Path(recipe.ROOT, "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"paxray_lib sample (.*)", makefile) == ["data/sample"]
