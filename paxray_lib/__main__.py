"""`python -m paxray_lib` is the `paxray` command."""

from paxray_lib.cli import main

main()
