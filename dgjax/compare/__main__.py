"""`python -m dgjax.compare` is the command `dgjax`."""

from dgjax.compare._cli import main

main()
