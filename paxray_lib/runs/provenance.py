"""Where a run comes from: settings, environment, data; and records that fit on a full disk."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from paxray_lib.utils import first_line, is_disk_full, now, parse_json, read_bytes, write_text
from paxray_lib.utils.strict_yaml import read_yaml

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
        if not is_disk_full(error) or not (run_dir / RESERVE).is_file():
            raise
        (run_dir / RESERVE).unlink()
        write_text(path, text)
    return path


def write_settings(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Write config.yaml, which is itself a profile that repeats the run."""
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    write_text(run_dir / "config.yaml", text)


def saved_settings(run_dir: Path) -> dict[str, Any]:
    """Read config.yaml; a missing file is an empty one."""
    path = run_dir / "config.yaml"
    return read_yaml(path) if path.exists() else {}


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
    """Return a SHA-256 over the data file's bytes and the name and size of every file it lists.

    Sizes stand in for contents: reading tens of gigabytes before each run would not pay. Of several
    data sets each is described.
    """
    if sets := settings.get("data"):
        return "; ".join(_describe_set(root / part["root"], part["datafile"]) for part in sets)
    if not settings.get("data_root"):
        return "no data_root set"
    return _describe_set(root / settings["data_root"], settings.get("datafile") or "paxray.json")


def _describe_set(data_root: Path, name: str) -> str:
    datafile = data_root / name
    try:
        text = read_bytes(datafile)
    except OSError:
        return f"{datafile} {MISSING_DATA}"
    except ValueError as error:
        return str(error)
    digest = hashlib.sha256(text)
    try:
        parts = dict(parse_json(text, datafile)).values()
    except (ValueError, TypeError):
        return f"{datafile}, not readable as JSON, sha256 {digest.hexdigest()}"
    items = [i for part in parts if isinstance(part, list) for i in part if isinstance(i, dict)]
    values = [item.get(key) for item in items for key in ("image", "target")]
    names = {value for value in values if isinstance(value, str)}
    for name in sorted(names):
        path = data_root / name
        size = path.stat().st_size if path.is_file() else None
        digest.update(f"{name}\0{size}\n".encode(errors="surrogatepass"))
    return f"{datafile}, {len(names)} files, sha256 {digest.hexdigest()}"


def git_state(root: Path) -> str:
    """Return the commit at `root` and a hash of what differs from it, or why that is unknown."""
    options: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace"}
    try:
        commit, changed, diff = (
            subprocess.run(["git", "-C", root, *words], check=True, **options).stdout.strip()
            for words in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain"],
                ["diff", "HEAD", "--no-ext-diff"],
            )
        )
    except FileNotFoundError:
        return "unknown (git is not installed)"
    except subprocess.CalledProcessError as error:
        return f"unknown ({first_line(error.stderr) or 'git failed'})"
    if not changed:
        return f"{commit}, clean"
    count, digest = len(changed.splitlines()), hashlib.sha256(diff.encode(errors="replace"))
    return f"{commit}, {count} files changed or not tracked, diff {digest.hexdigest()[:12]}"
