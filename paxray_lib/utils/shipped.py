"""The ordered notebooks with their profiles and the example films, to work on in a folder."""

import importlib.metadata
import os
from pathlib import Path

from paxray_lib.utils.files import atomic_write, read_bytes

_PATTERNS = ("notebooks/[0-9][0-9]_*.ipynb", "notebooks/profiles/*.yaml", "data/examples/*")
_SHARE = "/share/paxray-lib/"


def copy_notebooks(out: str | os.PathLike) -> list[Path]:
    """Copy notebooks, profiles and example films to a folder; return the paths of the notebooks.

    They lie there as in a clone, so that notebooks and `paxray run` work in it. A file that is
    there already is left if it is the same.

    Raises
    ------
    ValueError
        If a file with other content is there: it may be one's own work. Nothing is written then.
    FileNotFoundError
        If the package came without them.
    """
    sources = _sources()
    if not sources:
        raise FileNotFoundError(
            "the notebooks did not come with the package; install a wheel, or clone the repository"
        )
    contents = {Path(out, name): read_bytes(path) for name, path in sources.items()}
    for target, content in contents.items():
        if os.path.lexists(target) and read_bytes(target) != content:
            raise ValueError(
                f"{target}: is there already, and differs from what comes with the package; "
                "choose another folder"
            )
    for target, content in contents.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
    return [target for target in contents if target.suffix == ".ipynb"]


def _sources() -> dict[str, Path]:
    """Return each file by its path in the folder: of the clone, else of the installed wheel."""
    clone = Path(__file__).parents[2]
    if found := [path for pattern in _PATTERNS for path in sorted(clone.glob(pattern))]:
        return {path.relative_to(clone).as_posix(): path for path in found}
    installed = importlib.metadata.files("paxray-lib") or []
    shared = [path for path in installed if _SHARE in path.as_posix()]
    return {path.as_posix().partition(_SHARE)[2]: Path(str(path.locate())) for path in shared}
