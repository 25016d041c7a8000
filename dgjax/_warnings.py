"""What a call says of a result that it gives all the same."""


class ConvergenceWarning(UserWarning):
    """A fit ended before its maximum, or where there is none: at `max_steps`, or on classes that are separated."""


class PrecisionWarning(UserWarning):
    """Digits of the data are lost in the precision that they are used in."""
