"""Networks: build, the published one, weights, checkpoints, inference."""
