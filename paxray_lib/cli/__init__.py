"""The `paxray` command: argument parsing only; the work is done in the other rooms.

Exit codes: 0 done; 1 done, with items that failed and are listed; 2 could not start (bad arguments,
missing files); 3 stopped before the end, resumable; 70 a fault of this program
(EX_SOFTWARE of sysexits.h), whose full trace is kept.
"""

import atexit
import gc
import io
import os
import sys

# the order of these is that of the commands in the help text
from paxray_lib.cli import data, exporting, importing, models, running  # noqa: F401
from paxray_lib.cli.command import app, report


def main() -> None:
    """Run the command line: the entry point of the console script."""
    # what is imported stays: to look for garbage in it takes a fifth of the start, and as long
    # once more at the end
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)
    # NumPy's small products would wake threads, which wait busily beside the network: 6 films a
    # second in place of 5 on two cores. Torch has its own
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # torch's threads wait for each other at each layer, busily and by default for long: where other
    # programs want the cores too, trainings were five times slower and more. 1000 turns suffice
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the next file to be opened would get what is written to stderr
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # where the locale is not UTF-8
    try:
        app()
    except Exception as error:  # noqa: BLE001 - outside of the commands, as in a help text
        raise SystemExit(report(error)) from None
