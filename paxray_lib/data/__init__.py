"""The PAXRay data set: its data file, its samples, and how it comes onto the disk.

datafile: paxray.json; dataset: samples; augmentation: random crops, turns and noise; selection:
choices among labels and mean masks; packing: .npy to packed files; fetch: downloads.
"""

from paxray_lib.data.datafile import (
    SPLITS,
    Datafile,
    Entry,
    exact_names,
    read_datafile,
    write_datafile,
)

__all__ = ["SPLITS", "Datafile", "Entry", "exact_names", "read_datafile", "write_datafile"]
