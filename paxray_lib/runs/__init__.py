"""Notebooks headless: profiles, plan, run, report; several runs compared."""
