"""Pictures of models and of what they say, drawn by matplotlib: each takes axes, or makes new ones, and returns them.

`pip install 'dgjax[plot]'` has matplotlib. What scikit-learn draws of predictions (ROC curves, confusion matrices,
calibration) its displays draw of these models too, from `dgjax.predict_log_proba`.
"""

import difflib

from dgjax.plot._cells import images as images, missing as missing
from dgjax.plot._fits import responsibilities as responsibilities, selection as selection, trace as trace
from dgjax.plot._planes import clusters as clusters, density as density, pairs as pairs, regions as regions
from dgjax.plot._sequences import forecast as forecast, states as states, transitions as transitions
from dgjax.plot._spaces import latent as latent


def __getattr__(name: str) -> object:
    own = [other for other, value in globals().items() if callable(value) and not other.startswith("_")]
    near = difflib.get_close_matches(name, own, 1, 0.7)
    told = f"Type dgjax.plot.{near[0]}." if near else f"There are {', '.join(sorted(own))}."
    raise AttributeError(f"dgjax.plot has no {name!r}. {told}")
