"""Where a run comes from: settings, environment, data; and records that fit on a full disk."""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from paxray_lib.utils.files import now, write_text
from paxray_lib.utils.settings import differences

# May differ when a run is resumed: they say nothing about its results.
FREE_KEYS = ("run_dir", "time_limit")

MISSING_DATA = "is not there yet"

# Space for saying how a run ended, should the disk be full by then: some notebooks, pages and
# status.json. Chosen by eye.
RESERVE, RESERVE_BYTES = ".reserve", 8_000_000


@contextlib.contextmanager
def reserve(run_dir: Path) -> Iterator[None]:
    """Keep space on the disk for `write_record`, until the end or until a record needs it."""
    path = run_dir / RESERVE
    path.write_bytes(os.urandom(RESERVE_BYTES))  # zeros would take no space on disks that compress
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_record(run_dir: Path, name: str, text: str) -> Path:
    """Write a text file of the run and return its path; on a full disk, give up the reserve."""
    path = run_dir / name
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not (run_dir / RESERVE).is_file():
            raise
        (run_dir / RESERVE).unlink()
        write_text(path, text)
    return path


def write_settings(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Write config.yaml, which is itself a profile that repeats the run."""
    write_text(
        run_dir / "config.yaml", yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    )


def check_same_settings(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the keys, if a run to be resumed was started with other settings."""
    old = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    changes = differences(old, settings, FREE_KEYS)
    if changes:
        raise ValueError(
            f"{run_dir}: --resume with other settings: {', '.join(changes)}; "
            "start a new run with --out"
        )


def check_same_data(run_dir: Path, earlier: Mapping[str, Any], data: str) -> None:
    """Raise ValueError, naming both, if a run to be resumed was started with other data.

    Parameters
    ----------
    earlier : its status
    data : as from `describe_data`
    """
    old = earlier.get("data", "")
    # without a digest: unknown, or not there yet when the run began
    if "sha256 " in old and old.rpartition("sha256 ")[2] != data.rpartition("sha256 ")[2]:
        raise ValueError(
            f"{run_dir}: --resume with other data: was {old}; is {data}; "
            "put the data back, or start a new run with --out"
        )


def describe_environment(git: str, data: str) -> str:
    """Return a text for environment.txt: time, machine, git state, data, versions of packages."""
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
    """Return the commit at `root` and a hash of what differs from it, or why that is unknown."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain").splitlines()
        diff = _git(root, "diff", "HEAD", "--no-ext-diff").encode(errors="replace")
    except FileNotFoundError:
        return "unknown (git is not installed)"
    except subprocess.CalledProcessError as error:
        return f"unknown ({(error.stderr.strip().splitlines() or ['git failed'])[0]})"
    if not changed:
        return f"{commit}, clean"
    digest = hashlib.sha256(diff).hexdigest()[:12]
    return f"{commit}, {len(changed)} files changed or not tracked, diff {digest}"


def data_fingerprint(data_root: Path, datafile: str) -> str:
    """Return a SHA-256 over the data file's bytes and the name and size of every file it lists.

    Sizes stand in for contents: reading tens of gigabytes before each run would not pay.
    """
    try:
        text = (data_root / datafile).read_bytes()
    except OSError:
        return f"{data_root / datafile} {MISSING_DATA}"
    digest, names = hashlib.sha256(text), set()
    try:
        json.loads(text, object_hook=lambda item: names.update(_file_names(item)))
    except ValueError:
        return f"{data_root / datafile}, not readable as JSON, sha256 {digest.hexdigest()}"
    for name in sorted(names):
        path = data_root / name
        size = path.stat().st_size if path.is_file() else None
        digest.update(f"{name}\0{size}\n".encode())
    return f"{data_root / datafile}, {len(names)} files, sha256 {digest.hexdigest()}"


def _file_names(item: dict[str, Any]) -> list[str]:
    return [item[key] for key in ("image", "target") if isinstance(item.get(key), str)]


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, errors="replace"
    ).stdout.strip()
