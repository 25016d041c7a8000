"""Which of few rows are left to a program."""


class Asked(Exception):
    pass


def left_to_program(of_few, model, rows):
    """How many rows the program is asked about."""

    def program(model, rows):
        raise Asked(len(rows.x))

    try:
        of_few(model, rows, program)
    except Asked as asked:
        return asked.args[0]
    return 0
