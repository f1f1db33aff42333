"""The mean of two checkpoints' weights, one of which was trained further from the other: ``python
benchmarks/open_model/average.py FIRST SECOND --out OUT`` (Wortsman et al., Model soups, ICML 2022).

What the second has learned and the first has not forgotten. Settings are those of the second.
"""

import argparse
from pathlib import Path

from paxray_lib import load_model
from paxray_lib.models import read_extra, save_model


def average(first: Path, second: Path, out: Path) -> None:
    """Write a checkpoint with the mean of two checkpoints' weights."""
    model, others = load_model(second), load_model(first).state_dict()
    weights = model.state_dict()
    for name, values in weights.items():
        if values.is_floating_point():
            values.add_(others[name]).div_(2)
    model.load_state_dict(weights)
    save_model(out, model, **read_extra(second), averaged_with=first.parts[-3])
    print(f"{out}: the mean of {first} and {second}")


def main() -> None:
    """Average two checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    average(options.first, options.second, options.out)


if __name__ == "__main__":
    main()
