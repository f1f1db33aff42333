"""Configuration, losses, batches and the loop; its log, its checks, its faults."""
