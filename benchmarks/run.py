"""Run the benchmarks of this folder one after the other, or those named: ``python benchmarks/run.py
[NAME ...]``.
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
WANTS_ARGUMENTS = 2  # argparse's code


def scripts(names: list[str]) -> list[Path]:
    """The scripts with these names, or all of them; exits with the list of what there is where one
    is unknown.
    """
    known = {
        p.stem: p
        for p in sorted(FOLDER.glob("*.py"))
        if p.stem != "run" and not p.stem.startswith("_")
    }
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[name] for name in names or known]


def main() -> int:
    """Run each script in a fresh interpreter, so that none warms the caches of the next."""
    failed = []
    for script in scripts(sys.argv[1:]):
        print(f"== {script.stem}", flush=True)
        code = subprocess.run([sys.executable, script]).returncode
        if code == WANTS_ARGUMENTS:
            print("left out: run it by itself, with what it says above")
        elif code:
            failed.append(script.stem)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
