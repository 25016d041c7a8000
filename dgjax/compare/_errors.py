"""The one kind of error that `dgjax compare` shows as a line instead of a traceback."""


class InputError(ValueError):
    """What was given cannot be used; the message names it, what was expected, what came and what to type instead."""
