"""Error of wrong input, which `dgjax compare` shows as a line instead of a traceback."""


class InputError(ValueError):
    """Error: input that cannot be used; the message says what was expected, what came and what to type instead."""
