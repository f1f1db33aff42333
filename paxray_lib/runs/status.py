"""State of a run on disk."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paxray_lib.runs.provenance import write_record
from paxray_lib.utils.files import now, read_json
from paxray_lib.utils.locks import is_locked


def read_status(run_dir: str | os.PathLike) -> dict[str, Any]:
    """Read status.json; what it calls running is interrupted if no process works in the folder any
    more.

    Raises
    ------
    FileNotFoundError
        The folder holds no run.
    """
    path = Path(run_dir) / "status.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; {run_dir} is not the folder of a run")
    # before the status is read: a run that ends in between is not called cut off
    working = is_locked(Path(run_dir))
    status = read_json(path)
    if not (working or is_locked(Path(run_dir))):
        for part in [status, *status["steps"]]:
            if part["state"] == "running":
                part.update(
                    state="interrupted",
                    error="the process that ran it ended without a word (killed?)",
                )
    return status


class Status:
    """The state of a run and its steps, written to status.json at each change.

    Parameters
    ----------
    run_dir : folder of the run, locked by this process
    names : names of the steps, in order
    earlier : status of the run that is resumed, optional
        Steps done there stay done, and the code and data that it was started with stay known.
    """

    def __init__(
        self, run_dir: Path, names: Iterable[str], earlier: Mapping[str, Any] | None = None
    ):
        self.path = run_dir / "status.json"
        done = {
            step["name"]: step
            for step in (earlier or {"steps": []})["steps"]
            if step["state"] == "done"
        }
        self.steps = [done.get(name, {"name": name, "state": "pending"}) for name in names]
        start = earlier["start"] if earlier else now()
        self.run = {"state": "running", "pid": os.getpid(), "host": platform.node(), "start": start}
        self.run |= {key: earlier[key] for key in ("git", "data") if key in (earlier or {})}
        self.write()

    def start(self, step: dict[str, Any]) -> None:
        """Record that a step begins."""
        name = step["name"]
        step.clear()
        step.update(name=name, state="running", start=now())
        self.write()

    def note_origin(self, git: str, data: str) -> None:
        """Record code and data: each state of the code that a part of the run had, in order, and
        the latest data.
        """
        states = self.run.get("git", [])
        self.run.update(git=states if git in states[-1:] else [*states, git], data=data)
        self.write()

    def end(self, step: dict[str, Any], state: str, seconds: float, **details: Any) -> None:
        """Record how a step ended: "done", "failed" or "interrupted", with error and failing cell
        as details.
        """
        step.update(state=state, end=now(), seconds=round(seconds, 1), **details)
        if state != "done":
            self.run.update(error=f"{step['name']}: {details['error']}")
        self.write()

    def close(self, state: str) -> None:
        """Record how the run ended."""
        self.run.update(state=state, end=now())
        self.write()

    def write(self) -> None:
        """Write status.json in one piece."""
        write_record(
            self.path.parent,
            self.path.name,
            json.dumps({**self.run, "steps": self.steps}, indent=1) + "\n",
        )


def earlier_status(run_dir: Path, resume: bool) -> dict[str, Any] | None:
    """Return the status of the run to be resumed in a folder that this process has locked, or None
    for a new run.

    What that status calls running was cut off. A run that was killed before its first status is
    new.

    Raises
    ------
    ValueError
        The folder holds other files, or a run and `resume` is not set.
    """
    held = sorted(path.name for path in run_dir.iterdir() if not path.name.startswith("."))
    if not held or (resume and held == ["config.yaml"]):
        return None
    if "status.json" not in held:
        raise ValueError(
            f"{run_dir}: holds other files ({held[0]}, ...); choose an empty folder with --out"
        )
    if not resume:
        raise ValueError(
            f"{run_dir}: holds a run already; continue it with --resume, or choose another --out"
        )
    return read_json(run_dir / "status.json")
