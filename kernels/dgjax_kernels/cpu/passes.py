"""Answers about large NumPy arrays, read where they are: one pass of a kernel, called by Python and not by XLA.

    x (n, d) in NumPy's memory ─▶ pieces, on all cores ─▶ log-partition, log-posterior, label or imputation of each row

A kernel takes rows as they lie, and answers in the pass that scores them: nothing is copied, summarised or scored into
memory before. A row that no label explains is refused, and then the whole call, for a cell may be outside its support.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from dgjax_kernels.cpu.calls import num_pieces

QUESTIONS = {"log_partition": 1, "log_posterior": 2, "label": 3, "imputation": 4}
"""What may be asked, by the numbers of `simd.answers`."""


class Pass(NamedTuple):
    """A density for a pass over rows: its kind, "gaussian", "diagonal" or of discrete columns, and its parameters.

    As the kernel of that kind takes them: mean (g, m, d) and L (g, d, d); mean (k, d) and log_scale (k, d) or (k, 1);
    or a table (k, d, v) of "table", "poisson" or "multinomial".
    """

    kind: str
    parameters: tuple[Any, ...]

    def answer(self, question: str, x: np.ndarray, log_weights: np.ndarray, result: np.ndarray) -> bool:
        """Answers a question about rows x (n, d) in float32 or float64: fills `result` (n, c) of the same precision.

        c is 1 for "log_partition" and "label", k for "log_posterior" and d for "imputation", which "gaussian" has.
        `log_weights` (k,) are those of labels. False, and nothing to be read in the result, if a row has density 0
        under all labels, or a parameter is not finite where it must be.
        """
        parameters = [np.ascontiguousarray(own, x.dtype) for own in self.parameters]
        logs = np.ascontiguousarray(log_weights, x.dtype)
        if np.isnan(logs).any() or not all(map(self._known, parameters)):
            return False
        labels = parameters[0].shape[:2] if self.kind == "gaussian" else (1, len(logs))
        pieces = num_pieces(len(x), sum(own.size for own in parameters))
        none, asked = np.empty((0, math.prod(labels)), x.dtype), np.array([QUESTIONS[question]], np.int32)
        arguments = [x, np.empty(0, np.int32), none[:, 0], logs.reshape(labels), *parameters, none, asked]
        value = np.zeros(pieces, x.dtype)
        self._handler(arguments).run(arguments, [result, value], pieces)
        return not value.any()

    def _known(self, parameter):
        finite = self.kind in ("gaussian", "diagonal")
        return bool(np.isfinite(parameter).all() if finite else not np.isnan(parameter).any())

    def _handler(self, arguments):
        """The kernel's handler; that of discrete columns is told the family, and to look at cells."""
        if self.kind == "gaussian":
            from dgjax_kernels.cpu.gaussian.estep import handler
        elif self.kind == "diagonal":
            from dgjax_kernels.cpu.independent.diagonal import handler
        else:
            from dgjax_kernels.cpu.independent.discrete import FAMILIES, handler

            arguments.append(np.array([FAMILIES.index(self.kind), 0], np.int32))
        return handler
