"""Masks to numbers: ratios, widths, areas, distances."""
