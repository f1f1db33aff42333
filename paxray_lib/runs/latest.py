"""Where a notebook is at home, and the run that it takes if none is named: the newest one."""

import os
from pathlib import Path

_MAKERS = {"checkpoints": "02_train", "evaluation": "03_evaluate"}


def project_root() -> Path:
    """Return the folder with `notebooks` and their profiles, here or above."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "profiles").is_dir():
            return folder
    raise FileNotFoundError(
        f"{here}: neither here nor above is a folder with notebooks/profiles/; `paxray notebooks "
        "DIR` makes one"
    )


def enter_project_root() -> None:
    """Make the project's root the working directory: relative paths mean the same everywhere."""
    os.chdir(project_root())


def newest_run(folder: str | os.PathLike = "runs", holding: str = "checkpoints/best.ckpt") -> Path:
    """Return the folder of the newest run, or member of a sweep, that holds a file.

    FileNotFoundError if none does; the message names the notebook that makes it.
    """
    paths = [*Path(folder).glob(f"*/{holding}"), *Path(folder).glob(f"*/*/{holding}")]
    files = [path for path in paths if path.is_file()]
    if not files:
        maker = _MAKERS[Path(holding).parts[0]]
        raise FileNotFoundError(
            f"{folder}: no run with {holding}; run the notebook {maker} or `make demo` first"
        )
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)
    return newest.parents[len(Path(holding).parts) - 1]
