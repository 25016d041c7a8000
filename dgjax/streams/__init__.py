"""Streams: rows that do not fit in memory, read in blocks; passes over them, whose sums are all that is learnt from."""

from dgjax.streams._facts import Facts as Facts
from dgjax.streams._passes import Block as Block, Passes as Passes, added as added, checked as checked, summed as summed
from dgjax.streams._stream import Stream as Stream, stream as stream
