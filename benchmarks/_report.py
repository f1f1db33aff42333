"""What the benchmarks share: a line on the conditions, and tables that replace their own place in
RESULTS.md.
"""

import datetime
import os
import platform
import re
import resource
import sys
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = "# Benchmark results\n\nEach table is written by `python benchmarks/NAME.py --update`.\n"


def conditions(*packages: str) -> str:
    """Return one line on the date, the processor and the versions of Python and the packages."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    )
    # other work on the machine slows all rows: the load says how much there was
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{datetime.date.today()}, {_processor()}, {cores} cores{load}, "
        f"{platform.system()}; {versions}"
    )


def _processor() -> str:
    try:
        found = re.search(
            r"^model name\s*:\s*(.+)$",
            Path("/proc/cpuinfo").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def update(name: str, text: str, path: Path = RESULTS) -> None:
    """Put `text` between the markers of `name` in RESULTS.md, at its end where there are none
    yet.
    """
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    content = path.read_text(encoding="utf-8") if path.exists() else HEAD
    if start not in content:
        content += f"\n{start}\n{end}\n"
    before, rest = content.split(start, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{start}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def peak_bytes() -> int:
    """Return the peak resident memory of this process."""
    status = Path("/proc/self/status")
    # the kernel's ru_maxrss starts at the memory of the process that started this one
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
