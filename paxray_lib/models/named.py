"""Models that are known by a name: where their files lie, and how they come there."""

import os
from pathlib import Path

# name: its file, and what brings it; "open" lies in the package, "cxas" in the project's folder
MODELS = {
    "open": (
        Path(__file__).with_name("open") / "open.safetensors",
        "train it by `make open-model`, which takes hours, or name another model (--weights)",
    ),
    "cxas": (Path("weights/cxas.pth"), "fetch it: paxray fetch weights --which cxas"),
}


def find_weights(path: str | os.PathLike) -> Path:
    """Return the file of a model that is known by a name; any other path as it is.

    A file that has such a name itself is that file, and so is a folder that is a model. Raises
    FileNotFoundError, with what brings it, if the model's is not there.
    """
    path = Path(path)
    if str(path) not in MODELS or path.is_file() or (path / "config.json").is_file():
        return path
    file, remedy = MODELS[str(path)]
    if not file.exists():
        raise FileNotFoundError(
            f"{path}: there is no {file.name} in {file.absolute().parent}; {remedy}"
        )
    return file
