"""Damaged files are read in a process of their own, which is watched and may die.

    cd tests && python -m helpers.fuzzing SPECIMEN SEED...     what these damages do

A worker keeps its imports and answers many damages, until one kills it. A fault is: death; another
error than a ValueError or OSError of one line that names the file; more computing or memory than
the limits; a result that cannot be; another result although there are checksums.
"""

import faulthandler
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
MOST_SECONDS, MOST_BYTES, MOST_LETTERS = 5, 1 << 30, 400
HANGS_AFTER = 60  # seconds by the clock, on a busy machine; the limit above is of computing


class Worker:
    """A process that reads damaged files below a folder; started when needed, and after a death."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._end()

    def _end(self) -> int:
        process, self._process = self._process, None
        process.stdin.close()
        process.stdout.close()
        return process.wait()

    def ask(self, name: str, seed: int) -> dict[str, str]:
        """Return damage, outcome ("same", "error", "other" or "fault: ...") and a text about it."""
        if self._process is None:
            with open(self.folder / "stderr", "w") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "helpers.fuzzing", "--worker", self.folder],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={
                        **os.environ,
                        "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent))),
                        "OMP_NUM_THREADS": "1",
                    },
                )
        print(name, seed, file=self._process.stdin, flush=True)
        if answer := self._process.stdout.readline():
            return json.loads(answer)
        code = self._end()
        said = (self.folder / "stderr").read_text(errors="replace")
        said = said.partition("Extension modules")[0].rpartition("Fatal Python error")[2]
        return {"damage": "?", "outcome": f"fault: died ({code})", "text": said[:3000]}


def peak_bytes() -> int:
    """Return the peak resident memory of this process.

    Not `ru_maxrss`, which starts at the peak of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


def faults(worker: Worker, cases: Iterable[tuple[str, int]]) -> list[str]:
    """Return a text for each damage that does what it may not, and how to see it again."""
    texts = []
    for name, seed in cases:
        answer = worker.ask(name, seed)
        if answer["outcome"].startswith("fault"):
            again = f"(cd tests && ../.venv/bin/python -m helpers.fuzzing {name} {seed})"
            texts.append(f"{answer['outcome']}: {answer['damage']}: {answer['text']}\n  {again}")
    return texts


# -- in the worker


class Reader:
    """Reads damaged specimens below a folder, and judges what comes of it."""

    def __init__(self, folder: Path):
        from helpers.specimens import SPECIMENS

        self.folder, self.specimens = folder, SPECIMENS
        self.sound: dict[str, tuple[bytes, object, int]] = {}

    def prepare(self, name: str) -> tuple[bytes, object, int]:
        """Return the sound file, what is read from it, and this process's memory then."""
        if name not in self.sound:
            specimen = self.specimens[name]
            path = self._place(name)
            specimen.make(path)
            data = path.read_bytes()
            result = specimen.read(self._write(name, data))
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.sound[name] = data, result, pages * resource.getpagesize()
        return self.sound[name]

    def judge(self, name: str, seed: int) -> dict[str, str]:
        """Damage a sound file, read it, return what `Worker.ask` does."""
        from helpers.damage import apply

        specimen = self.specimens[name]
        sound, sound_result, memory = self.prepare(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile: names that stand twice
            damage = apply(sound, seed, specimen.changes)
        is_free = not specimen.checked or (damage.sealed and not specimen.digested)
        path = self._write(name, damage.data)
        start = time.process_time()
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
        outcome, text = _outcome(specimen.read, path, sound_result, is_free)
        faulthandler.cancel_dump_traceback_later()
        seconds = time.process_time() - start
        grown = peak_bytes() - memory
        if seconds > MOST_SECONDS or grown > MOST_BYTES:
            outcome = f"fault: {seconds:.1f} s, {grown >> 20} MiB, then {outcome}"
        return {"damage": damage.name, "outcome": outcome, "text": text[:3000]}

    def _place(self, name: str) -> Path:
        shutil.rmtree(self.folder / "now", ignore_errors=True)
        (self.folder / "now").mkdir()
        return self.folder / "now" / name

    def _write(self, name: str, data: bytes) -> Path:
        path = self._place(name)
        path.write_bytes(data)
        return path


def _outcome(read: Callable, path: Path, sound: object, is_free: bool) -> tuple[str, str]:
    try:
        with warnings.catch_warnings(record=True) as warned:
            for category in (UserWarning, RuntimeWarning):
                warnings.simplefilter("always", category)
            result = read(path)
    except (ValueError, OSError) as error:
        outcome, text = _judge_error(error, path)
    except BaseException:  # noqa: BLE001 - that is what is looked for
        outcome, text = "fault: no clear error", traceback.format_exc(limit=-6)
    else:
        outcome, text = "same", ""
        if result != sound:
            outcome, text = "other" if is_free else "fault: another result", str(result)
    if warned and not outcome.startswith("fault"):
        return "fault: a warning, which reaches the user raw", str(warned[0].message)
    return outcome, text


def _judge_error(error: Exception, path: Path) -> tuple[str, str]:
    text, cause = str(error), error
    while cause := cause.__cause__ or cause.__context__:
        if isinstance(cause, MemoryError):
            return "fault: memory", text
    length = len(text.replace(str(path), ""))
    names_it = path.name in text or str(path.parent) in text  # a CT for its segmentation
    if not names_it or "\n" in text or "Traceback" in text or length > MOST_LETTERS:
        return "fault: no clear error", "".join(traceback.format_exception(error, limit=-4))
    return "error", text


def work(folder: Path) -> None:
    """Answer the lines of stdin, of a name and a seed each, by lines of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    reader = Reader(folder)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MOST_BYTES,) * 2)  # keeps the machine alive
    faulthandler.enable()
    for line in sys.stdin:
        name, seed = line.split()
        print(json.dumps(reader.judge(name, int(seed))), file=answers, flush=True)


def main(name: str, *seeds: str) -> None:
    """Show what damages do; the last damaged file is kept."""
    folder = Path(tempfile.mkdtemp())
    with Worker(folder) as worker:
        for seed in seeds:
            print(seed, *worker.ask(name, int(seed)).values(), sep="\n  ")  # noqa: T201
    print(folder / "now" / name)  # noqa: T201


if __name__ == "__main__":
    work(Path(sys.argv[2])) if sys.argv[1] == "--worker" else main(*sys.argv[1:])
