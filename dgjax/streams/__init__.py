"""Streams: rows that do not fit in memory, read in blocks; passes over them, whose sums are all that is learnt from."""

from dgjax.streams._calls import (
    check_beside as check_beside,
    check_of_all as check_of_all,
    is_large_map as is_large_map,
    of_streams as of_streams,
)
from dgjax.streams._facts import Facts as Facts, facts_of as facts_of
from dgjax.streams._partitioned import Partitioned as Partitioned, Task as Task
from dgjax.streams._passes import (
    Block as Block,
    Carry as Carry,
    MoreLabels as MoreLabels,
    Passes as Passes,
    added as added,
    checked as checked,
    named as named,
    summed as summed,
)
from dgjax.streams._sources import arrow_format as arrow_format
from dgjax.streams._stream import Stream as Stream, stream as stream
from dgjax.streams._together import Together as Together
