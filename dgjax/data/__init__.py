"""Validation of input: arrays and cells are checked once, and `Data`, the validated data, is what is passed down."""

from dgjax.data._arrays import (
    as_floats as as_floats,
    as_labels as as_labels,
    as_rows as as_rows,
    as_weights as as_weights,
    check_amounts as check_amounts,
    float_type as float_type,
    label_counts as label_counts,
    limits_of as limits_of,
    readable_rows as readable_rows,
    rows_and_summary as rows_and_summary,
    whole_labels as whole_labels,
)
from dgjax.data._buffer_pool import aligned as aligned
from dgjax.data._cells import (
    check_cells as check_cells,
    check_observed as check_observed,
    check_observed_in_classes as check_observed_in_classes,
    column_summary as column_summary,
)
from dgjax.data._dataset import (
    Data as Data,
    as_model as as_model,
    model_and_rows as model_and_rows,
)
from dgjax.data._digits import warn_if_lost as warn_if_lost
from dgjax.data._sequences import as_sequences as as_sequences, pad as pad
from dgjax.data._shards import (
    beside as beside,
    check_whole as check_whole,
    extremes as extremes,
    filled as filled,
    gathered as gathered,
)
from dgjax.data._size_classes import (
    LARGE as LARGE,
    component_class as component_class,
    cut as cut,
    in_size_class as in_size_class,
    size_class as size_class,
)
from dgjax.data._sparse_rows import as_sparse_rows as as_sparse_rows
