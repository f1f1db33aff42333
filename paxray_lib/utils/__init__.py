"""What every room uses: files, tables, errors with near matches, progress, locks, downloads.

`manifest` is the one mechanism that knows what is done already. `settings` and `drive` are imported
by name: pydantic is slow to import.
"""

from paxray_lib.utils.console import Pace, duration, log, map_ahead, printable, progress, say
from paxray_lib.utils.errors import (
    Stopped,
    check_choice,
    did_you_mean,
    first_line,
    is_disk_full,
    naming_errors,
)
from paxray_lib.utils.files import (
    atomic_write,
    check_file,
    inside,
    now,
    open_file,
    parse_json,
    read_bytes,
    read_json,
    sha256,
    write_text,
)
from paxray_lib.utils.locks import is_locked, lock
from paxray_lib.utils.manifest import Manifest, read_manifest
from paxray_lib.utils.tables import read_table, write_table

__all__ = [
    "Manifest", "Pace", "Stopped", "atomic_write", "check_choice", "check_file", "did_you_mean",
    "duration", "first_line", "inside", "is_disk_full", "is_locked", "lock", "log", "map_ahead",
    "naming_errors", "now", "open_file", "parse_json", "printable", "progress", "read_bytes",
    "read_json", "read_manifest", "read_table", "say", "sha256", "write_table", "write_text",
]  # fmt: skip
