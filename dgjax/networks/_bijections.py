"""Bijections of rows, with the log-determinants of their Jacobians: what a normalising flow is made of."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from dgjax._arguments import as_count, constant
from dgjax._pytree import dataclass, static, tree

Image = tuple[Float[Array, " d"], Float[Array, ""]]
"""Image of a row, and the log-determinant of the Jacobian there."""


@dataclass
class Bijection:
    """Bijection from pure functions, `transform(parameters, x)` of one row x (d,), to (z (d,), log |det dz/dx|).

    `inverse(parameters, z)` gives back (x, log |det dx/dz|); without it a flow has a density and no samples. With
    classes both are called as `transform(parameters, x, y)`, y (k,) one-hot. `parameters` is any pytree of floats.
    Reuse one function object: a new one for each model is compiled again. FlowJAX, whose bijections map noise to rows:
    `arrays, rest = eqx.partition(flow.bijection, eqx.is_inexact_array)`, `Bijection(arrays, lambda arrays, x:
    eqx.combine(arrays, rest).inverse_and_log_det(x), lambda arrays, z: eqx.combine(arrays,
    rest).transform_and_log_det(z))`. Distrax: `Bijection(parameters, lambda parameters, x:
    make(parameters).inverse_and_log_det(x), ...)`.
    """

    parameters: Any = tree()
    transform: Callable[..., Any] = static()
    inverse: Callable[..., Any] | None = static(default=None)

    def __post_init__(self) -> None:
        arrays = jax.tree.map(lambda own: jnp.asarray(own) if isinstance(own, float) else own, self.parameters)
        object.__setattr__(self, "parameters", arrays)

    def transform_and_log_det(self, x: Float[Array, " d"], y: Float[Array, " k"] | None = None) -> Any:
        """Noise z (d,) of a row x (d,), under the class y (k,), one-hot, and log |det dz/dx|."""
        return self._called(self.transform, x, y)

    def inverse_and_log_det(self, z: Float[Array, " d"], y: Float[Array, " k"] | None = None) -> Any:
        """Row x (d,) of noise z (d,), under the class y (k,), one-hot, and log |det dx/dz|.

        Raises ValueError without an `inverse`.
        """
        if self.inverse is None:
            raise ValueError(
                "this Bijection has no inverse, which samples are drawn by. Type dgjax.Bijection(parameters, "
                "transform, inverse)."
            )
        return self._called(self.inverse, z, y)

    def _called(self, function, x, y):
        return function(self.parameters, x, *([] if y is None else [y]))


@dataclass
class SplineBijection:
    """Layers of FlowJAX's coupling or masked autoregressive flow, each cell by a monotonic rational-quadratic spline.

    In each layer a network of `depth` hidden layers of `width` units gives the splines of the cells, `num_bins` bins of
    [-interval, interval] each, beyond which a spline is the identity: of a `kind` "coupling" those of half of the cells
    given the other half, "autoregressive" of each cell given those before it. Between layers the order of the cells is
    reversed or riffled, so that every cell meets others. With `num_classes` above 1 networks are told the class too.
    `parameters` are the networks' arrays, each with a first axis for the layers; `start` makes random ones.

    "coupling" takes one pass of each network to transform or invert; "autoregressive" to transform, and d to invert.

    Raises ImportError without the package flowjax, ValueError for another kind or fewer than two layers.
    Source: Durkan, Bekasov, Murray and Papamakarios (2019), Neural spline flows; Papamakarios, Pavlakou and Murray
    (2017), Masked autoregressive flow.
    """

    parameters: tuple[Array, ...] = tree()
    num_columns: int = static()
    num_classes: int = static(default=1)
    kind: str = static(default="coupling")
    width: int = static(default=64)
    depth: int = static(default=1)
    num_bins: int = static(default=8)
    interval: float = static(default=5.0)

    def __post_init__(self) -> None:
        _check(self.kind, len(self.parameters[0]) if self.parameters else 0)

    @classmethod
    def start(
        cls,
        key: Key[Array, ""],
        num_columns: int,
        num_classes: int = 1,
        kind: str = "coupling",
        num_layers: int = 6,
        **sizes: Any,
    ) -> "SplineBijection":
        """Random initial layers, each of which is nearly the identity: `sizes` are width, depth, num_bins, interval.

        Weights and biases are uniform up to 1 / sqrt(inputs). Source: equinox.nn.Linear.
        """
        _check(kind, num_layers)
        like = object.__new__(cls)  # of sizes alone, by which the shapes of parameters are known
        fields = {field.name: field.default for field in dataclasses.fields(cls)} | sizes
        like.__dict__.update(fields, num_columns=num_columns, num_classes=num_classes, kind=kind)
        shapes = [leaf.shape for leaf in jax.eval_shape(lambda: like._layer()[0])]
        # A weight (outputs, inputs) comes before its bias.
        limits = [1 / np.sqrt(max(1, shape[1])) for shape in shapes[::2] for _ in range(2)]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        drawn = np.asarray(jax.random.uniform(key, (num_layers, int(ends[-1])), minval=-1, maxval=1))
        parts = zip(np.split(drawn, ends[:-1], axis=1), shapes, limits, strict=True)
        parameters = [constant((limit * part).reshape(-1, *shape).astype(drawn.dtype)) for part, shape, limit in parts]
        return dataclasses.replace(like, parameters=tuple(parameters))

    def transform_and_log_det(self, x: Float[Array, " d"], y: Float[Array, " k"] | None = None) -> Image:
        """Noise z (d,) of a row x (d,), under the class y (k,), one-hot, and log |det dz/dx|."""
        _, layer = self._layer()
        condition = self._condition(x, y)

        def step(carry, own):
            (x, log_det), (parameters, order) = carry, own
            z, more = layer(parameters).transform_and_log_det(x, condition)
            return (z[order].astype(x.dtype), log_det + more.astype(x.dtype)), None

        return jax.lax.scan(step, (x, jnp.zeros((), x.dtype)), (self.parameters, self._orders()))[0]

    def inverse_and_log_det(self, z: Float[Array, " d"], y: Float[Array, " k"] | None = None) -> Image:
        """Row x (d,) of noise z (d,), under the class y (k,), one-hot, and log |det dx/dz|."""
        _, layer = self._layer()
        condition, back = self._condition(z, y), np.argsort(self._orders(), axis=-1)

        def step(carry, own):
            (z, log_det), (parameters, order) = carry, own
            x, more = layer(parameters).inverse_and_log_det(z[order], condition)
            return (x.astype(z.dtype), log_det + more.astype(z.dtype)), None

        return jax.lax.scan(step, (z, jnp.zeros((), z.dtype)), (self.parameters, back), reverse=True)[0]

    def _condition(self, x, y):
        """What networks are told besides cells: the class; of a single cell 1, for without it they had no input."""
        return jnp.ones(1, x.dtype) if y is None and self.num_columns == 1 else y

    def _orders(self) -> Int[np.ndarray, "l d"]:
        """Order of the cells after each layer: reversed after the first of two layers, riffled after the second.

        A reversal has the halves of a coupling change places; riffles part any two cells within log2(d) of them.
        """
        cells = np.arange(self.num_columns)
        two = cells[::-1], np.concatenate([cells[::2], cells[1::2]])
        return np.stack([two[i % 2] for i in range(len(self.parameters[0]))])

    def _layer(self):
        """Random arrays of one layer, and the function that makes a FlowJAX bijection of others in their place.

        Made anew in each trace, for FlowJAX's closures hold arrays of the trace that they are made in. The random
        arrays are dead code there; by the generator that XLA has as one operation, which lowers at once.
        """
        equinox, bijections = _flowjax()
        key, conditional = jax.random.key(0, impl="unsafe_rbg"), self.num_classes > 1 or self.num_columns == 1
        options = {
            "transformer": bijections.RationalQuadraticSpline(knots=self.num_bins - 1, interval=self.interval),
            "dim": self.num_columns,
            "cond_dim": self.num_classes if conditional else None,
            "nn_width": self.width,
            "nn_depth": self.depth,
        }
        if self.kind == "coupling":
            made = bijections.Coupling(key, untransformed_dim=self.num_columns // 2, **options)
        else:
            made = bijections.MaskedAutoregressive(key, **options)
        arrays, rest = equinox.partition(made, equinox.is_inexact_array)
        leaves, structure = jax.tree.flatten(arrays)
        return leaves, lambda parameters: equinox.combine(jax.tree.unflatten(structure, parameters), rest)


def _check(kind: str, num_layers: int) -> None:
    if kind not in ("coupling", "autoregressive"):
        raise ValueError(f'kind must be "coupling" or "autoregressive"; got {kind!r}.')
    as_count(num_layers, "num_layers", 2)


def _flowjax() -> tuple[Any, Any]:
    """The packages equinox and flowjax.bijections; raises ImportError with what to type where they are missing."""
    try:
        import equinox
        from flowjax import bijections
    except ImportError:
        raise ImportError("splines need the package flowjax: type pip install 'dgjax[flows]'.") from None
    return equinox, bijections
