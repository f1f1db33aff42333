"""How much memory is free for this process: the machine's, or less where a container has a limit.

A container, a batch job or a user may have control groups around it, of which each can have a limit
(version 2: `memory.max`, version 1: `memory.limit_in_bytes`)."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# version: folder of the groups below sys/fs/cgroup; files of the limit and of what is used; what of
# that is a cache of files, which gives way
_GROUPS = {
    2: ("", "memory.max", "memory.current", "inactive_file"),
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_bytes(root: str | os.PathLike = "/") -> int:
    """Return the bytes of memory that are free for this process, by the files below `root`.

    Where the system does not tell what is free (macOS), all of its memory counts as such.
    """
    root = Path(root)
    free = [*_free_of_machine(root), *_free_of_groups(root)]
    if free:
        return max(0, min(free))
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_of_machine(root: Path) -> Iterator[int]:
    if found := re.search(r"^MemAvailable: +(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE):
        yield 1024 * int(found[1])


def _free_of_groups(root: Path) -> Iterator[int]:
    """Yield what each group of this process, and each around it, leaves of its limit."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        version = 1 if "memory" in names.split(",") else 0 if names else 2
        if version:
            folder, limit, used, cache = _GROUPS[version]
            # within a container the path may be that of the machine; its own group is the uppermost
            group = PurePosixPath(path)
            for part in (group, *group.parents):
                where = root / "sys/fs/cgroup" / folder / part.relative_to("/")
                with contextlib.suppress(ValueError):  # "max", or not there
                    most, taken = (int(_text(where / name)) for name in (limit, used))
                    found = re.search(rf"^{cache} (\d+)$", _text(where / "memory.stat"), re.M)
                    yield most - taken + (int(found[1]) if found else 0)


def _text(path: Path) -> str:
    """Return what a file of the kernel says, nothing if it is not there."""
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""
