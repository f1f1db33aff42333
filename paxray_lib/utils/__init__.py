"""What every room uses: atomic files, errors with near matches, progress, locks, downloads.

`manifest` is the one mechanism that knows what is done already. `settings` and `drive` are imported
by name: pydantic is slow to import.
"""

from paxray_lib.utils.console import duration, log, map_ahead, progress, say
from paxray_lib.utils.errors import Stopped, check_choice, did_you_mean, first_line, naming_errors
from paxray_lib.utils.files import atomic_write, now, read_json, sha256, write_text
from paxray_lib.utils.locks import is_locked, lock
from paxray_lib.utils.manifest import Manifest, read_manifest

__all__ = [
    "Manifest", "Stopped", "atomic_write", "check_choice", "did_you_mean", "duration", "first_line",
    "is_locked", "lock", "log", "map_ahead", "naming_errors", "now", "progress", "read_json",
    "read_manifest", "say", "sha256", "write_text",
]  # fmt: skip
