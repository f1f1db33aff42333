"""Notebooks headless: profiles, plan, run, report; several runs compared."""

from paxray_lib.runs.latest import enter_project_root, newest_run

__all__ = ["enter_project_root", "newest_run"]
