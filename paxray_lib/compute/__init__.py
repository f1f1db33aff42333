"""Where tensors live: devices, precision, and several processes (Fabric, torchrun, SLURM)."""
