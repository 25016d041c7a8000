"""Diffusion: densities of rows by flow matching, a network that moves noise to data along the straight path.

    u = (x - centre) / scale,  e ~ N(0, I);  u_t = t u + (1 - t) e, as an arc z = sin(a) u + cos(a) e
    network(z, a; clean cells, y) ~ E[dz/da | z, clean cells, y] =: f,  the velocity v of u_t up to known factors

    log p(x_S | x_T, y) = log N(z(0); 0, I) - integral over a of div_S f  - sum_S log scale,  z(pi/2) = u_S

Each cell has a noise level of its own: missing ones, and those not asked about, are at pure noise and have no part in
the input, cells T are clean. So one network gives the density of any cells given any others.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dgjax._arguments import as_count, check_number
from dgjax._pytree import dataclass, expect_part, static
from dgjax._types import FINITE, Capabilities, LabelIndex, Support
from dgjax.densities import _arc, _shared
from dgjax.densities._dequantised import Dequantised, is_whole, standard_normals, supports_of_columns
from dgjax.densities._learned import Draws
from dgjax.densities._marginal import Marginal

WHOLE = Support("a whole number", whole=True)
MOST_EXACT = 32
"""Columns up to which the trace is exact by default; each takes a product with the Jacobian."""
NUM_PROBES = 8
NUM_NOISES = 8
"""Draws of noise that an imputed cell is the mean over: at pure noise all say the same, if it is learnt well."""


class Cells(NamedTuple):
    """Cells (n, d) of rows in units of their columns, and which are generated and which are given clean."""

    u: Float[Array, "n d"]
    generated: Bool[Array, "n d"]
    clean: Bool[Array, "n d"]


@dataclass
class Diffusion(Dequantised):
    """Diffusion model of rows, by flow matching: log p(x | y) = log N(z(0); 0, I) - int div f da - sum_j log scale_j.

    `network` is one of rows, such as `dgjax.MLP` or `dgjax.UNet`, of 3 d + 10 inputs (the cells' values, how much of
    each is signal, whether it is generated, and the time) and d outputs; or with `tokens` one of tokens, such as
    `dgjax.Transformer`, of 13 inputs for each cell and 1 output. Its output f is the velocity of
    z = sin(a) u + cos(a) e by the angle a, u = (x - centre) / scale. That of the straight path u_t = t u + (1 - t) e,
    tan(a) = t / (1 - t), is ((2 t - 1) u_t / q + f / sqrt(q)), q = t^2 + (1 - t)^2: with f = 0 rows are normal.

    The log-density is an estimate. The probability-flow ODE is solved in `num_steps` steps of Runge and Kutta. Its
    trace is exact for `num_probes` 0, the default up to 32 columns; else it is estimated without bias by so many
    vectors of random signs, fixed by `seed` for all rows and labels, 8 by default. Of columns of whole numbers,
    numbered in `whole`, `num_samples` draws of noise are added, as of a `Flow`; with probes (1 by default then) the
    mean of the draws' log p(x + v) is taken, which is below log p(x).

    Missing cells are marginalised in one pass, p(x_observed | y) being normalised whatever was learnt. That p(a)
    p(b | a) = p(a, b) is learnt, not guaranteed. Samples take `num_steps` steps of Heun; with `guidance` g they follow
    f(y) + g (f(y) - f()), as nothing else does.

    `fit` maximises an evidence lower bound in nats by one draw of noise and time for each row and step. Of a share
    `split` of the rows it is that of log p(x_T | y) + log p(x_S | x_T, y), for random halves T and S, of which twice
    one is drawn; a share `class_free` learns without class, for guidance.

    Raises ValueError for a network of other inputs or outputs, or options out of range.
    Source: Lipman et al. (2023), Flow matching for generative modeling; log p Song et al. (2021), eq. 39; bound Kingma
    et al. (2021), Variational diffusion models, eq. 17; guidance Ho and Salimans (2022), eq. 6.
    """

    network: Any
    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    num_classes: int = static(default=1)
    whole: tuple[int, ...] = static(default=())
    num_samples: int | None = static(default=None)
    num_probes: int | None = static(default=None)
    num_steps: int = static(default=20)
    guidance: float = static(default=0.0)
    split: float = static(default=0.5)
    class_free: float = static(default=0.1)
    tokens: bool = static(default=False)
    seed: int = static(default=0)

    by_draws = True

    def __post_init__(self) -> None:
        expect_part(self, "network", "__call__", "a network, such as dgjax.MLP.start(key, (3 * d + 10, 128, d))")
        self.check_units()
        if self.num_probes is None:
            probes = 1 if self.whole else NUM_PROBES
            object.__setattr__(self, "num_probes", 0 if self.num_features <= MOST_EXACT else probes)
        as_count(self.num_probes, "num_probes", 0)
        as_count(self.num_steps, "num_steps")
        for name in ("split", "class_free"):
            check_number(getattr(self, name), name, 0, 1)
        check_number(self.guidance, "guidance", 0, 1e3)
        _check_network(self)

    @property
    def capabilities(self) -> Capabilities:
        """An ODE solved in steps, its trace perhaps by probes; means and draws of cells are what the network learnt."""
        return Capabilities("estimate", "estimate", "estimate", "estimate", "estimate", twin="exact")

    @property
    def row_cost(self) -> int:
        """Memory for one row, in floats: the widest layer, for every label."""
        widest = max(max(leaf.shape, default=1) for leaf in jax.tree.leaves(self))
        widest = getattr(self.network, "widest", widest) * (self.num_features if self.tokens else 1)
        return self.num_classes * max(widest, self.num_features)

    @property
    def score_cost(self) -> int:
        """Memory for one row, in floats, of scores: the layer and its derivative along every direction of the trace."""
        return self.row_cost * (1 + (self.num_probes or self.num_features))

    @property
    def num_parameters(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.network))

    @property
    def supports(self) -> tuple[Support, ...]:
        return supports_of_diffusion(self.num_features, self.whole)

    def combined(self, by_draw: Float[Array, "s n _"]) -> Float[Array, "n _"]:
        """Scores (n, k) from those by draws: of probes the mean, for their logarithms are without bias."""
        return by_draw.mean(0) if self.num_probes else super().combined(by_draw)

    def error(self, logs: Float[Array, "s n"]) -> Float[Array, " n"]:
        """Standard error (n,) of log p(x) by its draws (s, n), of a mean; 0 where the trace is exact and cells real.

        The error of the ODE's steps is none of it: compare with twice as many. Raises ValueError for a single draw.
        """
        if not self.num_probes and not self.whole:
            return jnp.zeros_like(logs[0])
        if len(logs) == 1:
            name = "num_samples" if self.whole else "num_probes"
            raise ValueError(f"log_prob_error needs several draws to compare, {name}=8; the model has 1.")
        if not self.num_probes:
            return super().error(logs)
        return jnp.std(logs, axis=0, ddof=1) / jnp.sqrt(jnp.asarray(len(logs), logs.dtype))

    def estimates(self, x: Any, noise: Any, y: Int[Array, " n"] | None = None) -> Float[Array, "s n _"]:
        """Log-density of the observed cells of rows with noise added, (s, n, k) by each probe, or for y (s, n, 1)."""
        cells = self._cells(x, noise)
        classes, exact = self._classes(y, x.dtype), not self.num_probes
        directions = cells.generated * self._directions(x.dtype)[:, None]

        def slope(state, angle):
            value, trace = _arc.divergence(
                lambda z: self._velocity(z, angle, cells, classes), state[0], directions, exact
            )
            return value, trace

        z = jnp.broadcast_to(cells.u[:, None], (len(x), 1 if y is not None else self.num_classes, x.shape[1]))
        start = z, jnp.zeros((1 if exact else len(directions), *z.shape[:2]), x.dtype)
        z, trace = _arc.integrated(slope, start, self.num_steps, _arc.RUNGE_KUTTA, back=True)
        normal = -0.5 * (jnp.square(z) + jnp.log(2 * jnp.pi))
        of_cells = jnp.where(cells.generated[:, None], normal - jnp.log(self.units()[1]), 0)
        return jnp.where(_shared.no_cells(x, self.complete)[:, None], 0, of_cells.sum(-1) + trace)

    def learning_scores(self, x: Float[Array, "n d"], y: Int[Array, " n"] | None, draws: Draws) -> Float[Array, "n _"]:
        """Evidence lower bound of log p(x_observed | label) by one draw of noise and time for each row, (n, k or 1).

        The draws are common to all labels. With e the noise, z and dz/da those of the path, and the bound L of normal
        rows, it is L(u) + E[tan(a) / p(a) (2 f . dz/da - |f|^2)] - sum log scale.
        """
        keys = jax.random.split(draws.key, 5)  # type: ignore[arg-type]
        noise = self.noise(keys[0], x.shape, x.dtype) if self.whole else 0
        cells, times = _split(keys[1], self._cells(x, noise), self.split)
        angle, weight = _arc.drawn_angles(keys[2], len(x), x.dtype)
        e, sin, cos = jax.random.normal(keys[3], x.shape, x.dtype), jnp.sin(angle)[:, None], jnp.cos(angle)[:, None]
        z, moves = sin * cells.u + cos * e, (cos * cells.u - sin * e)[:, None]
        classes = self._classes(y, x.dtype)
        if classes is not None and self.class_free:
            kept = ~jax.random.bernoulli(keys[4], self.class_free, (len(x), 1, 1))
            classes = classes * kept
        count = 1 if y is not None else self.num_classes
        f = self._velocity(jnp.broadcast_to(z[:, None], (len(x), count, x.shape[1])), angle, cells, classes)
        # |moves|^2 - |moves - f|^2. The value has the bound's weight, by which labels are weighed. The gradient has
        # none, or all that is learnt were the last hundredth of the way.
        gain = (f * (2 * moves - f)).sum(-1)
        gain = jax.lax.stop_gradient(gain * (weight[:, None] - 1)) + gain
        normal = jnp.where(cells.generated, _arc.log_normal_bound(cells.u) - jnp.log(self.units()[1]), 0)
        return times[:, None] * (normal.sum(-1, keepdims=True) + gain)

    def drawn_units(self, keys: Key[Array, " n"], y: Int[Array, " n"]) -> Float[Array, "n d"]:
        """Draws by Heun's method, from noise to data."""
        dtype = jnp.result_type(*jax.tree.leaves(self))
        nothing = jnp.zeros((len(y), self.num_features), dtype)
        return self._drawn(keys, Cells(nothing, nothing == 0, nothing > 0), y)

    def sample_missing(self, keys: Key[Array, " n"], x: Float[Array, "n d"], at: LabelIndex) -> Float[Array, "n d"]:
        """Missing cells drawn from p(x_missing | x_observed, y), the observed ones being clean all along."""
        cells = self._cells(x, 0.5 * is_whole(self))
        given = Cells(cells.u, ~cells.generated, cells.generated)
        return _shared.fill(x, self.in_columns(self._drawn(keys, given, at[0])))

    def impute(self, x: Float[Array, "n d"], posterior: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Imputation (n, d): E[x_missing | x_observed], in one pass at pure noise, of whole numbers the nearest.

        There the velocity is the mean of the data itself. It is averaged over a few draws of noise, and over labels by
        their posterior.
        """
        cells = self._cells(x, 0.5 * is_whole(self))
        given = Cells(cells.u, ~cells.generated, cells.generated)
        classes, keys = self._classes(None, x.dtype), jax.random.split(jax.random.key(self.seed), NUM_NOISES)

        def one(e):
            z = jnp.broadcast_to(e, (len(x), self.num_classes, x.shape[1]))
            return self._velocity(z, jnp.zeros((), x.dtype), given, classes)

        mean = jax.lax.map(one, standard_normals(keys, x.shape[1], x.dtype)).mean(0)
        shares = posterior / posterior.sum(-1, keepdims=True)
        return _shared.fill(x, self.in_columns(jnp.einsum("nk,nkd->nd", shares, mean)))

    def marginal(self, columns: tuple[int, ...]) -> Marginal:
        return Marginal(self, columns)

    def _cells(self, x, noise):
        """Cells of rows with noise added, 0 where missing, all observed ones generated."""
        centre, scale = self.units()
        observed = ~jnp.isnan(x)
        return Cells(jnp.where(observed, (x - centre + noise) / scale, 0), observed, jnp.zeros_like(observed))

    def _classes(self, y, dtype):
        """One-hot labels: all of them (1, k, k), or those of y (n, 1, k); None for a single class."""
        if self.num_classes == 1:
            return None
        eye = jnp.eye(self.num_classes, dtype=dtype)
        return eye[None] if y is None else eye[y][:, None]

    def _directions(self, dtype):
        """Directions (s, d) of the trace: unit vectors, or random signs."""
        if not self.num_probes:
            return jnp.eye(self.num_features, dtype=dtype)
        return jax.random.rademacher(jax.random.key(self.seed), (self.num_probes, self.num_features), dtype)

    def _drawn(self, keys, cells, y):
        """Rows (n, d) in units, of which generated cells are drawn given clean ones, with guidance."""
        classes = self._classes(y, cells.u.dtype)

        def slope(z, angle):
            f = self._velocity(z[:, None], angle, cells, classes)[:, 0]
            if not self.guidance or classes is None:
                return f
            free = self._velocity(z[:, None], angle, cells, jnp.zeros_like(classes))[:, 0]
            return f + self.guidance * (f - free)

        z = standard_normals(keys, self.num_features, cells.u.dtype)
        drawn = _arc.integrated(slope, jnp.where(cells.generated, z, 0), self.num_steps, _arc.HEUN)
        return jnp.where(cells.generated, drawn, cells.u)

    def _velocity(self, z, angle, cells, classes):
        """Velocity f (n, k, d) at z (n, k, d), one angle or one for each row: 0 but for generated cells."""
        return jnp.where(cells.generated[:, None], self._outputs(z, angle, cells, classes), 0)

    def _outputs(self, z, angle, cells, classes):
        """Outputs (n, k, d) of the network, which sees generated and clean cells."""
        generated, clean = cells.generated[:, None], cells.clean[:, None]
        sin = jnp.sin(angle) if jnp.ndim(angle) == 0 else jnp.sin(angle)[:, None, None]
        own = (
            jnp.where(generated, z, jnp.where(clean, cells.u[:, None], 0)),
            jnp.where(generated, sin, clean),
            generated,
        )
        own = [jnp.broadcast_to(part, z.shape).astype(z.dtype) for part in own]
        times = _arc.times_of(angle).astype(z.dtype).reshape(-1, 1, _arc.NUM_TIMES)
        if self.tokens:
            of_cells = jnp.broadcast_to(times[..., None, :], (*z.shape, _arc.NUM_TIMES))
            inputs = jnp.concatenate([jnp.stack(own, -1), of_cells], -1)
            f = self.network(inputs, None if classes is None else classes[..., None, :], None)
            return f.reshape(*f.shape[:-2], f.shape[-2] * f.shape[-1])
        inputs = jnp.concatenate([*own, jnp.broadcast_to(times, (*z.shape[:-1], _arc.NUM_TIMES))], -1)
        return self.network(inputs) if classes is None else self.network(inputs, classes)


def supports_of_diffusion(num_columns: int, whole: Sequence[int]) -> tuple[Support, ...]:
    """Support of each column of a diffusion model, of which those numbered in `whole` hold whole numbers."""
    return supports_of_columns(FINITE, WHOLE, num_columns, whole)


def _split(key, cells, share):
    """Cells to learn of each row, and how often they count: all observed ones once, or of a random half twice.

    Of a share of rows the observed cells are split in two, T and S, at a random rate: either T is generated, the others
    being missing, or S given T. In expectation over both it is log p(x_T) + log p(x_S | x_T) = log p(x).
    """
    key_row, key_rate, key_cell, key_half = jax.random.split(key, 4)
    n = len(cells.u)
    splits = jax.random.bernoulli(key_row, share, (n, 1))
    is_first = jax.random.bernoulli(key_half, 0.5, (n, 1))
    first = cells.generated & jax.random.bernoulli(
        key_cell, jax.random.uniform(key_rate, (n, 1), cells.u.dtype), cells.u.shape
    )
    half = jnp.where(is_first, first, cells.generated & ~first)
    generated = jnp.where(splits, half, cells.generated)
    return Cells(cells.u, generated, splits & ~is_first & first), jnp.where(splits[:, 0], 2, 1).astype(cells.u.dtype)


def _check_network(density):
    """Raises ValueError unless the network maps the inputs of a row to a number for each cell."""
    d = density.num_features
    rows = jax.ShapeDtypeStruct((2, d), jnp.result_type(float, *jax.tree.leaves(density)))

    def called(u):
        cells = Cells(u, u == u, u != u)
        z = jnp.broadcast_to(u[:, None], (2, density.num_classes, d))
        return density._outputs(z, jnp.zeros((), u.dtype), cells, density._classes(None, u.dtype))

    inputs = (
        f"{3 + _arc.NUM_TIMES} inputs a token and 1" if density.tokens else f"{3 * d + _arc.NUM_TIMES} inputs and {d}"
    )
    expected = f"network must be of {inputs} outputs, for rows of {d} columns and {density.num_classes} class(es)"
    try:
        shape = jax.eval_shape(called, rows).shape
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}: {error}") from None
    if shape != (2, density.num_classes, d):
        raise ValueError(f"{expected}; of 2 rows it gave {shape}.")
