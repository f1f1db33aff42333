"""A split counted and scored: tables, comparison, ablation."""
