"""Rays through a volume, and how a radiograph is formed of them."""
