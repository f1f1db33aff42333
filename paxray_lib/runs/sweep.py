"""Run several profiles one after another and compare them on one page: `paxray sweep`.

    OUT/<name of the profile>/      each member, a run's folder as `paxray run` leaves it
    OUT/index.html                  the comparison, written anew after every member
    OUT/sweep.json  OUT/scores.csv  the same to be read by programs
    OUT/status.json                 the state of each member, true whatever ends the sweep

A member that fails is listed, and the others still run.
"""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paxray_lib.runs import status
from paxray_lib.runs.plan import Plan, make_plan
from paxray_lib.runs.run import DONE, STOPPED, changed_since, check_resumable, run_plan, say
from paxray_lib.utils import files, locks
from paxray_lib.utils.progress import duration

SOME_FAILED = 1


def sweep(
    profiles: Sequence[str | os.PathLike],
    overrides: Iterable[str] = (),
    out: str | os.PathLike = "runs/sweep",
    resume: bool = False,
    notebooks_dir: str | os.PathLike | None = None,
    config_types: Mapping[str, Any] | None = None,
) -> int:
    """Run profiles one after another, each in a folder of its own below `out`, and compare them.

    Parameters
    ----------
    profiles : paths of YAML profiles, of different names
        The first one that has scores is what the others are compared with.
    overrides, notebooks_dir, config_types : as for `batch.run`, for all members
    out : folder of the sweep
        A `run_dir` in a profile does not count here.
    resume : bool
        Go on with a sweep that was stopped: members that are done are not run again, the others
        start at their first notebook that is not done, a training at its last checkpoint. More
        profiles may have been added.

    Returns
    -------
    int
        0: all done. 1: some members failed. 3: stopped before the end.

    Raises
    ------
    ValueError, OSError
        Nothing was started: a wrong profile, two of one name, a folder in use, other settings or
        data than before.
    """
    from paxray_lib.runs.execute import Stop, signals_stop

    folder, overrides = Path(out).resolve(), list(overrides)
    plans = plan_members(profiles, overrides, folder, notebooks_dir, config_types)
    with locks.lock(folder):
        earlier = status.earlier_status(folder, resume)
        _check_members(folder, plans, earlier)
        stop = Stop()
        with signals_stop(stop):
            return _Sweep(folder, plans, status.Status(folder, plans, earlier), stop).run_all()


def plan_members(
    profiles: Sequence[str | os.PathLike],
    overrides: Sequence[str],
    folder: Path,
    notebooks_dir: str | os.PathLike | None = None,
    config_types: Mapping[str, Any] | None = None,
) -> dict[str, Plan]:
    """Return the checked plan of each member by its name; raises ValueError or OSError, and writes
    nothing.
    """
    paths = [Path(profile) for profile in profiles]
    if not paths:
        raise ValueError(
            "no profile to run; name one or more, such as notebooks/profiles/sweep_*.yaml"
        )
    if any(text.partition("=")[0].strip() == "run_dir" for text in overrides):
        raise ValueError(
            "--set run_dir: the members of a sweep would share it; choose the sweep's folder with --out"
        )
    same = [
        name for name, count in Counter(path.stem.casefold() for path in paths).items() if count > 1
    ]
    if same:
        both = ", ".join(str(path) for path in paths if path.stem.casefold() == same[0])
        raise ValueError(
            f"{both}: the same name, so the members would share the folder {folder / same[0]}; rename one"
        )
    plans = {
        p.stem: make_plan(p, overrides, folder / p.stem, notebooks_dir, config_types) for p in paths
    }
    if config_types is None:
        for path, plan in zip(paths, plans.values(), strict=True):
            _check_settings(path, plan)
    return plans


def _check_settings(profile: Path, plan: Plan) -> None:
    """Raise now what a training or an evaluation would raise when it starts, which may be hours
    away.
    """
    from paxray_lib.data.dataset import read_datafile
    from paxray_lib.runs.profiles import build_config
    from paxray_lib.training.config import TrainConfig

    try:
        build_config(TrainConfig, plan.settings)
        if "data_root" in plan.settings:
            read_datafile(
                plan.root / plan.settings["data_root"], plan.settings.get("datafile", "paxray.json")
            )
    except (ValueError, OSError) as error:
        raise ValueError(f"{profile}: {error}") from error


def _check_members(
    folder: Path, plans: Mapping[str, Plan], earlier: Mapping[str, Any] | None
) -> None:
    """Raise ValueError if a resumed sweep is not the one that was started, or only a part of it."""
    missing = [
        step["name"] for step in (earlier or {"steps": []})["steps"] if step["name"] not in plans
    ]
    if missing:
        raise ValueError(
            f"{folder}: was started with {missing[0]} too; name all of its profiles to resume it"
        )
    for plan in plans.values():
        before = status.earlier_status(plan.run_dir, resume=True) if plan.run_dir.is_dir() else None
        if before:
            check_resumable(plan, before)


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """One sweep under way."""

    folder: Path
    plans: Mapping[str, Plan]
    status: status.Status
    stop: Any

    def run_all(self) -> int:
        """Run the members that are not done; return the exit status."""
        state = "failed"
        try:
            self.write_page()
            state = self.run_members()
        except OSError as error:  # such as a full disk; a member's own errors do not come this far
            say(f"{self.folder}: {error}")
            self.status.run.update(error=str(error))
            return STOPPED
        finally:
            closed = self.close(state)
        if not closed or state == "interrupted":
            return STOPPED
        return DONE if state == "done" else SOME_FAILED

    def run_members(self) -> str:
        """Run the members in order; return "done", "failed" if some did, or "interrupted"."""
        for number, step in enumerate(self.status.steps, 1):
            label = f"({number}/{len(self.plans)}) {step['name']}"
            plan = self.plans[step["name"]]
            if _is_done(plan):
                say(f"{label} was done before")
                _note_changes(plan, step)
                # the sweep was killed between the member's end and its own note of it
                if step["state"] != "done":
                    self.status.end(step, "done", 0.0)
                continue
            if self.stop.reason is not None:
                say(f"{label} not started: {self.stop.reason}")
                return "interrupted"
            self.run_member(plan, step, label)
            if step["state"] == "interrupted":
                return "interrupted"
        return "done" if all(step["state"] == "done" for step in self.status.steps) else "failed"

    def run_member(self, plan: Plan, step: dict[str, Any], label: str) -> None:
        """Run one member and record how it ended."""
        say(label)
        self.status.start(step)
        start, error = time.monotonic(), None
        try:
            code = run_plan(plan, resume=True, stop=self.stop.part())
        except (ValueError, OSError) as caught:
            code, error = STOPPED, str(caught)
        seconds = time.monotonic() - start
        if code == DONE:
            self.status.end(step, "done", seconds)
        else:
            state = "failed" if self.stop.reason is None else "interrupted"
            error = error or status.read_status(plan.run_dir).get("error", "see its page")
            self.status.end(step, state, seconds, error=error)
        say(f"{label} {step['state']} after {duration(seconds)}")
        self.write_page()

    def close(self, state: str) -> bool:
        """Record the end and write the page; say whether the disk took it."""
        try:
            self.status.close(state)
            page = self.write_page()
        except OSError as error:
            say(f"{self.folder}: status or index.html could not be written: {error}")
            return False
        for step in self.status.steps:
            if step["state"] == "failed":
                say(f"failed: {step['name']}: {step['error']}")
        say(
            f"{state}: {page}"
            + ("" if state == "done" else "; --resume goes on with what is not done")
        )
        return True

    def write_page(self) -> Path:
        """Write index.html, sweep.json and scores.csv from what the members' folders hold."""
        from paxray_lib.runs.sweep_report import write_comparison
        from paxray_lib.runs.sweep_scores import read_member

        members = []
        for step in self.status.steps:
            plan = self.plans[step["name"]]
            members.append(read_member(step["name"], plan.run_dir, plan.root, step, plan.settings))
        return write_comparison(self.folder, files.read_json(self.status.path), members)


def _note_changes(plan: Plan, step: dict[str, Any]) -> None:
    """Say on stderr, and in a finished member's step for the page, which of its notebooks were
    changed since.
    """
    ran = {ran["name"]: ran for ran in status.read_status(plan.run_dir)["steps"]}
    changes = [changed_since(ran.get(path.stem, {}), path) for path in plan.notebooks]
    step.pop("note", None)
    if any(changes):
        step["note"] = f"{step['name']}: {'; '.join(filter(None, changes))}"
        say(f"note: {step['note']}")


def _is_done(plan: Plan) -> bool:
    return (plan.run_dir / "status.json").is_file() and status.read_status(plan.run_dir)[
        "state"
    ] == "done"
