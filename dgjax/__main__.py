"""`python -m dgjax` is the command `dgjax`."""

from _dgjax_command import main

main()
