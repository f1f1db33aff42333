"""Figures of samples, data, training, scores and CT; each function returns a matplotlib Figure."""
