"""Where tensors live: devices, precision, and several processes (Fabric, torchrun, SLURM).

`launch` tells which of several processes this one is, `collectives` brings their parts together,
`fabric` sets up a training on them, `devices` knows devices and number types by name, `memory` how
much is free."""
