"""Tables: frames of any library to arrays and back, by a schema that names columns, their levels and labels."""

from dgjax.tables._calls import (
    drawn_rows as drawn_rows,
    filled_rows as filled_rows,
    fitted_to_tables as fitted_to_tables,
    label_names as label_names,
    log_proba_by_name as log_proba_by_name,
    named_model as named_model,
    of_tables as of_tables,
    player_names as player_names,
    started_from_tables as started_from_tables,
)
from dgjax.tables._columns import (
    MOST_LEVELS as MOST_LEVELS,
    Column as Column,
    check_holds as check_holds,
    column_of as column_of,
    label_of as label_of,
)
from dgjax.tables._frames import TRUTH as TRUTH, Cells as Cells, is_frame as is_frame, read as read
from dgjax.tables._schema import Schema as Schema, Table as Table, Tabular as Tabular
