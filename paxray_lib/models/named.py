"""Models that are known by a name: where their files lie, and how they come there."""

import os
from pathlib import Path

# name: its file, from the folder of the project, and the command that fetches it
_FILES = {"cxas": (Path("weights/cxas.pth"), "paxray fetch weights --which cxas")}


def find_weights(path: str | os.PathLike) -> Path:
    """Return the file of a model that is known by a name; any other path as it is.

    A file that has such a name itself is that file. Raises FileNotFoundError, with the command that
    fetches it, if the model's is not there.
    """
    path = Path(path)
    if str(path) not in _FILES or path.is_file():
        return path
    file, fetch = _FILES[str(path)]
    if not file.exists():
        raise FileNotFoundError(f"{path}: there is no {file} in {Path.cwd()}; fetch it: {fetch}")
    return file
