"""Tables: frames of any library to arrays and back, by a schema that names columns, their levels and labels."""

from dgjax.tables._answers import (
    Asked as Asked,
    drawn_rows as drawn_rows,
    filled_rows as filled_rows,
    label_names as label_names,
    log_proba_by_name as log_proba_by_name,
    named_model as named_model,
    player_names as player_names,
)
from dgjax.tables._calls import (
    fitted_to_tables as fitted_to_tables,
    of_tables as of_tables,
    started_from_sequences as started_from_sequences,
    started_from_tables as started_from_tables,
)
from dgjax.tables._columns import (
    MOST_LEVELS as MOST_LEVELS,
    Column as Column,
    check_holds as check_holds,
    column_of as column_of,
    label_of as label_of,
)
from dgjax.tables._frames import TRUTH as TRUTH, Cells as Cells, is_frame as is_frame, made as made, read as read
from dgjax.tables._schema import Schema as Schema, Table as Table, Tabular as Tabular
from dgjax.tables._sequences import Places as Places, Steps as Steps
from dgjax.tables._times import Times as Times, with_zones as with_zones
