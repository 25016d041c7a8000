"""The modules of dgjax, imported while the garbage collector rests, which else would go through all of JAX's objects.

`import dgjax` after JAX takes 0.14 s so, and 0.22 s else.
"""

import gc

_collects = gc.isenabled()
gc.disable()
try:
    from dgjax import _select, _summary, explaining, starting  # noqa: F401
finally:
    if _collects:
        gc.enable()
