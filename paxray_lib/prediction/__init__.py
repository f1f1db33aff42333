"""Folders of X-rays to masks."""
