"""Training: `loop` is to be read first, from top to bottom, with the settings in `config`.

`setup` comes before the first step and `checks` before that. `order`, `batches`: the samples of a
step. `losses` (`packed_dice`), `optimizer`: what is learned, and how. `state`, `log`, `errors`:
checkpoints, progress, and why a training stops. `examples`: for lessons."""
