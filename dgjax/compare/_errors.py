"""Error of wrong input, which `dgjax compare` shows as a line instead of a traceback."""


class InputError(ValueError):
    """Error: input that cannot be used; the message says what was expected, what came and what to type instead."""


class FreeTextError(InputError):
    """Columns that are free text, where none was named: what is compared on them is compared as text."""

    def __init__(self, columns: list[str]) -> None:
        names = ", ".join(f"'{name}'" for name in columns)
        super().__init__(
            f"DATA: expected one column of free text, got {len(columns)} ({names}); type: --text '{columns[0]}' to "
            f"compare on it, or leave it out: --drop '{columns[0]}'"
        )
        self.columns = columns
