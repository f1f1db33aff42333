"""Training: `loop` is to be read first, from top to bottom, with the settings in `config`.

`setup` comes before the first step. `batches`: the samples of a step. `losses` (`packed_dice`),
`optimizer`: what is learned, and how. `state`, `log`, `checks`, `interrupts`: checkpoints,
progress, and what can be wrong or come between. `examples`: for lessons."""
