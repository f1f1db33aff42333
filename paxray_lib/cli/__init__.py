"""The `paxray` command: argument parsing only; the work is done in the other rooms.

Exit codes: 0 done; 1 done, with items that failed and are listed; 2 could not start (bad arguments,
missing files); 3 stopped before the end, resumable; 70 a fault of this program
(EX_SOFTWARE of sysexits.h), whose full trace is kept.
"""

# the order of these is that of the commands in the help text
from paxray_lib.cli import data, models  # noqa: F401
from paxray_lib.cli.command import app

main = app  # entry point of the console script
