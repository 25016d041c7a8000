"""Pictures of models and of what they say, drawn by matplotlib: each takes axes, or makes new ones, and returns them.

`pip install 'dgjax[plot]'` has matplotlib. What scikit-learn draws of predictions (ROC curves, confusion matrices,
calibration) its displays draw of these models too, from `dgjax.predict_log_proba`.
"""

from dgjax.plot._cells import images as images, missing as missing
from dgjax.plot._fits import responsibilities as responsibilities, selection as selection, trace as trace
from dgjax.plot._planes import clusters as clusters, density as density, pairs as pairs, regions as regions
from dgjax.plot._sequences import forecast as forecast, states as states, transitions as transitions
from dgjax.plot._spaces import latent as latent
