"""A run's folder: settings, environment, and a status that stays true, whatever ends the run.

The process that works in a folder holds a lock on `.lock`, which the system releases when that process ends in any way.
So a step that status.json calls running, in a folder that nobody has locked, was interrupted.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from paxray_lib.common import atomic_write

# May differ when a run is resumed: where it lies and how long it may take say nothing about its results.
FREE_KEYS = ("run_dir", "time_limit")

MISSING_DATA = "is not there yet"

# Space that a run keeps for saying how it ended, should the disk be full by then: some notebooks, pages, status.json.
RESERVE, RESERVE_BYTES = ".reserve", 8_000_000


@contextlib.contextmanager
def lock(run_dir: Path, name: str = ".lock") -> Iterator[None]:
    """Hold the run's folder, which is made if missing, for this process.

    Parameters
    ----------
    run_dir : Path
    name : of the file that is locked; it holds the number of the process

    Raises
    ------
    ValueError
        Another process works in the folder.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / name, "a+") as file:
        if not _take(file):
            file.seek(0)
            raise ValueError(
                f"{run_dir}: process {file.read().strip()} is working in this folder; wait for it or choose another"
            )
        os.register_at_fork(after_in_child=file.close)  # a worker that outlives this process must not hold the lock
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(file: IO) -> bool:
    for wait in (0, 0.02, 0.1, 0.3):  # who reads the status may hold it for a moment, see `is_locked`
        time.sleep(wait)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def is_locked(run_dir: Path) -> bool:
    """Say whether some process, this one included, works in the folder."""
    try:
        with open(run_dir / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_status(run_dir: str | os.PathLike) -> dict[str, Any]:
    """Read status.json; what it calls running is interrupted if no process works in the folder any more.

    Raises
    ------
    FileNotFoundError
        The folder holds no run.
    """
    path = Path(run_dir) / "status.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; {run_dir} is not the folder of a run")
    working = is_locked(Path(run_dir))  # before the status is read: a run that ends in between is not called cut off
    status = read_json(path)
    if not (working or is_locked(Path(run_dir))):
        for part in [status, *status["steps"]]:
            if part["state"] == "running":
                part.update(state="interrupted", error="the process that ran it ended without a word (killed?)")
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

    def __init__(self, run_dir: Path, names: Iterable[str], earlier: Mapping[str, Any] | None = None):
        self.path = run_dir / "status.json"
        done = {step["name"]: step for step in (earlier or {"steps": []})["steps"] if step["state"] == "done"}
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
        """Record code and data: each state of the code that a part of the run had, in order, and the latest data."""
        states = self.run.get("git", [])
        self.run.update(git=states if git in states[-1:] else [*states, git], data=data)
        self.write()

    def end(self, step: dict[str, Any], state: str, seconds: float, **details: Any) -> None:
        """Record how a step ended: "done", "failed" or "interrupted", with error and failing cell as details."""
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
        write_record(self.path.parent, self.path.name, json.dumps({**self.run, "steps": self.steps}, indent=1) + "\n")


def now() -> str:
    """Return the time in UTC to the second, as ISO 8601 text."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece; what UTF-8 cannot hold, as in names of files, is written as an escape."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def reserve(run_dir: Path) -> Iterator[None]:
    """Keep space on the disk for `write_record`; it is given back at the end, or when a record needs it."""
    path = run_dir / RESERVE
    path.write_bytes(os.urandom(RESERVE_BYTES))  # zeros would take no space on disks that compress
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_record(run_dir: Path, name: str, text: str) -> Path:
    """Write a text file that says how the run goes; on a full disk, give up the reserve for it. Return its path."""
    path = run_dir / name
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not (run_dir / RESERVE).is_file():
            raise
        (run_dir / RESERVE).unlink()
        write_text(path, text)
    return path


def earlier_status(run_dir: Path, resume: bool) -> dict[str, Any] | None:
    """Return the status of the run to be resumed in a folder that this process has locked, or None for a new run.

    What that status calls running was cut off. A run that was killed before its first status is new.

    Raises
    ------
    ValueError
        The folder holds other files, or a run and `resume` is not set.
    """
    held = sorted(path.name for path in run_dir.iterdir() if not path.name.startswith("."))
    if not held or (resume and held == ["config.yaml"]):
        return None
    if "status.json" not in held:
        raise ValueError(f"{run_dir}: holds other files ({held[0]}, ...); choose an empty folder with --out")
    if not resume:
        raise ValueError(f"{run_dir}: holds a run already; continue it with --resume, or choose another --out")
    return read_json(run_dir / "status.json")


def write_settings(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Write config.yaml, which is itself a profile that repeats the run."""
    write_text(run_dir / "config.yaml", yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))


def check_same_settings(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the keys, if a run to be resumed was started with other settings."""
    old = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    keys = sorted((old.keys() | settings.keys()) - set(FREE_KEYS))
    changes = [f"{key} ({_shown(old, key)} -> {_shown(settings, key)})" for key in keys if _differ(old, settings, key)]
    if changes:
        raise ValueError(f"{run_dir}: --resume with other settings: {', '.join(changes)}; start a new run with --out")


def check_same_data(run_dir: Path, earlier: Mapping[str, Any], data: str) -> None:
    """Raise ValueError, naming both, if a run to be resumed was started with other data.

    Parameters
    ----------
    earlier : its status
    data : as from `describe_data`
    """
    old = earlier.get("data", "")
    if _digest(old) not in ("", _digest(data)):  # empty: unknown, or not there yet when the run began
        where = f"{run_dir}: --resume with other data"
        raise ValueError(f"{where}: was {old}; is {data}; put the data back, or start a new run with --out")


def _digest(data: str) -> str:
    return data.rpartition("sha256 ")[2] if "sha256 " in data else ""


def _differ(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> bool:
    return (key in old) != (key in new) or old.get(key) != new.get(key)


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return repr(settings[key]) if key in settings else "not set"


def describe_environment(git: str, data: str) -> str:
    """Return the text of environment.txt: time, machine, Python, git state, data and versions of all packages."""
    lines = [
        f"time: {now()}",
        f"python: {platform.python_version()} ({platform.python_implementation()})",
        f"platform: {platform.platform()}, {os.cpu_count()} processors",
        f"git: {git}",
        f"data: {data}",
        "packages:",
    ]
    installed = {(d.name, d.version) for d in importlib.metadata.distributions()}
    return "\n".join(lines + [f"  {name}=={version}" for name, version in sorted(installed)]) + "\n"


def describe_data(root: Path, settings: Mapping[str, Any]) -> str:
    """Return the fingerprint of the data that the settings name."""
    if not settings.get("data_root"):
        return "no data_root set"
    return data_fingerprint(root / settings["data_root"], settings.get("datafile") or "paxray.json")


def git_state(root: Path) -> str:
    """Return the commit at `root` and whether files differ from it, with a hash of how, or why that is unknown."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain").splitlines()
        diff = hashlib.sha256(_git(root, "diff", "HEAD", "--no-ext-diff").encode(errors="replace")).hexdigest()[:12]
    except FileNotFoundError:
        return "unknown (git is not installed)"
    except subprocess.CalledProcessError as error:
        return f"unknown ({(error.stderr.strip().splitlines() or ['git failed'])[0]})"
    return f"{commit}, " + (f"{len(changed)} files changed or not tracked, diff {diff}" if changed else "clean")


def data_fingerprint(data_root: Path, datafile: str) -> str:
    """Return a SHA-256 over the data file's bytes and the name and size of every file it lists.

    Sizes stand in for contents: reading tens of gigabytes before each run would not pay.
    """
    try:
        text = (data_root / datafile).read_bytes()
    except OSError:
        return f"{data_root / datafile} {MISSING_DATA}"
    digest = hashlib.sha256(text)
    try:
        names = sorted(_listed_files(json.loads(text)))
    except ValueError:
        return f"{data_root / datafile}, not readable as JSON, sha256 {digest.hexdigest()}"
    for name in names:
        path = data_root / name
        size = path.stat().st_size if path.is_file() else None
        digest.update(f"{name}\0{size}\n".encode())
    return f"{data_root / datafile}, {len(names)} files, sha256 {digest.hexdigest()}"


def _listed_files(data: Any) -> set[str]:
    splits = data.values() if isinstance(data, dict) else []
    entries = [entry for split in splits if isinstance(split, list) for entry in split]
    return {
        entry[key]
        for entry in entries
        if isinstance(entry, dict)
        for key in ("image", "target")
        if isinstance(entry.get(key), str)
    }


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout.strip()
