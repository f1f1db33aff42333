"""State of a run or a sweep on disk: status.json, which stays true whatever ends the work.

The process that works in a folder holds a lock on it, which the system releases when the process
ends in any way. So a step that status.json calls running, in a folder that nobody has locked, was
interrupted.
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    Required,  # pydantic wants these before Python 3.12
)

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from paxray_lib.runs.provenance import write_record
from paxray_lib.utils import is_locked, log, now, read_json

Step = dict[str, Any]
_State = Literal["pending", "running", "done", "failed", "interrupted"]


class _Part(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    state: Required[_State]
    error: str
    note: str


class _StepRecord(_Part, total=False):
    name: Required[str]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    cell_number: int
    source: str
    code: str


class _Record(_Part, total=False):
    start: Required[Annotated[str, AfterValidator(datetime.fromisoformat)]]
    steps: Required[list[_StepRecord]]
    git: list[str]
    data: str


def _read(folder: Path) -> dict[str, Any]:
    """Read status.json; ValueError, with a remedy, if it is damaged."""
    path = folder / "status.json"
    content = read_json(path)
    try:
        TypeAdapter(_Record).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        remedy = "start a new run in another folder"
        raise ValueError(f"{path}: damaged ({where}: {first['msg']}); {remedy}") from error
    return content


def read_status(run_dir: str | os.PathLike) -> dict[str, Any]:
    """Read status.json; what it calls running is interrupted if no process works in the folder.

    FileNotFoundError if the folder holds no run.
    """
    folder = Path(run_dir)
    path = folder / "status.json"
    if not path.exists():
        raise FileNotFoundError(f"{path}: not there; {run_dir} is not the folder of a run")
    # before the status is read: a run that ends in between is not called cut off
    working = is_locked(folder)
    status = _read(folder)
    if not (working or is_locked(folder)):
        for part in [status, *status["steps"]]:
            if part["state"] == "running":
                part["state"] = "interrupted"
                part["error"] = "the process that ran it ended without a word (killed?)"
    return status


class Status:
    """The state of a run and its steps, written to status.json at each change.

    The folder is locked by this process, the steps are in order. Steps done in `earlier`, the
    status of a run that is resumed, stay done; its code and data stay known.
    """

    def __init__(
        self, run_dir: Path, names: Iterable[str], earlier: Mapping[str, Any] | None = None
    ):
        self.path = run_dir / "status.json"
        earlier = earlier or {"steps": [], "start": now()}
        done = {step["name"]: step for step in earlier["steps"] if step["state"] == "done"}
        pending = {name: {"name": name, "state": "pending"} for name in names}
        self.steps: list[Step] = [done.get(name, step) for name, step in pending.items()]
        self.run: dict[str, Any] = {
            "state": "running",
            "pid": os.getpid(),
            "host": platform.node(),
            **{key: earlier[key] for key in ("start", "git", "data") if key in earlier},
        }
        self.write()

    def note_origin(self, git: str, data: str) -> None:
        """Record each state of the code that a part of the run had, in order, and the data."""
        states = self.run.get("git", [])
        self.run.update(git=states if git in states[-1:] else [*states, git], data=data)
        self.write()

    @contextlib.contextmanager
    def running(self, step: Step) -> Iterator[Step]:
        """Record that a step runs, and then what is put into the yielded result: at least a state.

        The state is "done", "failed" or "interrupted"; the last two need an "error".
        """
        name, start = step["name"], time.monotonic()
        step.clear()
        step.update(name=name, state="running", start=now())
        self.write()
        result: Step = {}
        try:
            yield result
        finally:
            step.update(result or {"state": "failed", "error": "the runner itself failed"})
            step.update(end=now(), seconds=round(time.monotonic() - start, 1))
            if step["state"] != "done":
                self.run["error"] = f"{name}: {step['error']}"
            self.write()

    def carry_out(self, work: Callable[[], str], write_page: Callable[[], Path]) -> str | None:
        """Do the work, record how it ended, write the page; return the state, which `work` returns.

        None if the work was ended by an error of the system, such as a full disk, or of a file.
        """
        folder = self.path.parent
        state, sound = "failed", True
        try:
            state = work()
        except (OSError, ValueError) as error:
            log(f"{folder}: {error}")
            self.run["error"], sound = str(error), False
        finally:
            try:
                self.run.update(state=state, end=now())
                self.write()
                log(f"{state}: {write_page()}")
            except (OSError, ValueError) as error:
                log(f"{folder}: status or index.html could not be written: {error}")
                sound = False
        return state if sound else None

    def write(self) -> None:
        """Write status.json in one piece."""
        text = json.dumps({**self.run, "steps": self.steps}, indent=1) + "\n"
        write_record(self.path.parent, self.path.name, text)


def earlier_status(run_dir: Path, resume: bool) -> dict[str, Any] | None:
    """Return the status of the run to be resumed in a locked folder, or None for a new run.

    What that status calls running was cut off. A run that was killed before its first status is
    new. ValueError if the folder holds other files, or a run and `resume` is not set.
    """
    present = sorted(path.name for path in run_dir.iterdir() if not path.name.startswith("."))
    if not present or (resume and present == ["config.yaml"]):
        return None
    if "status.json" not in present:
        other = f"holds other files ({present[0]}, ...)"
        raise ValueError(f"{run_dir}: {other}; choose an empty folder with --out")
    if not resume:
        remedy = "continue it with --resume, or choose another --out"
        raise ValueError(f"{run_dir}: holds a run already; {remedy}")
    return _read(run_dir)
