"""Counts: Poisson, multinomial and (negative) binomial log densities, sufficient statistics and draws.

x log(rate) - rate - log x! cancels for large counts: at a rate of 1e4 float32 would keep two digits of it. So scores
are a deviance, which is small near the mode, plus Stirling's remainder R (Loader 2000):

    log Poisson(x; rate) = - (x log(x / rate) - x + rate) - 1/2 log(2 pi x) - R(x)

A cell that is no count, negative, broken or infinite, has probability 0: the check outside of `jit` says so by name,
inside of it the score does. Letters: x rows (n, d), k labels, c counts (n, k), the weight with which row n belongs to
label k; NaN is missing.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma
from jaxtyping import Array, Bool, Float, Key

from dgjax_kernels.blocks import map_rows, sum_rows
from dgjax_kernels.rows import LOG_TWO_PI, expectation

MANY = 256
"""Variance from which a count is drawn as a rounded normal, whose distribution function is then right to 3e-8."""
MANY_TRIALS = 1 << 17  # from which a multinomial is drawn column by column, in place of trial by trial
REMAINDERS = np.array(
    [0.0, *(math.lgamma(x + 1) - (x + 0.5) * math.log(x) + x - 0.5 * LOG_TWO_PI for x in range(1, 16))]
)


def is_count(x: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Support of counts: True where a cell is a finite whole number from 0."""
    return is_amount(x) & (x == jnp.floor(x))


def is_amount(x: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Support of amounts, counts that need not be whole: True where a cell is a finite number from 0."""
    return (x >= 0) & (x < jnp.inf)


def poisson(x: Float[Array, "n d"], log_rate: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """Poisson scores (n, k): sum_j log Poisson(x_j; exp(log_rate_kj)) over the observed cells of rows x (n, d).

    log_rate (k, d). Minus infinity where an observed cell is no count; exactly 0 for a row of NaN.
    """

    def block(x):
        observed = ~jnp.isnan(x)[:, None]
        cell = log_poisson(jnp.where(observed, x[:, None], 0), jnp.exp(log_rate), log_rate)
        return jnp.where(observed, cell, 0).sum(-1)

    return map_rows(block, x, row_cost=log_rate.size)


def poisson_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n k"], log_rate: Float[Array, "k d"]
) -> Float[Array, "k d 2"]:
    """Sufficient statistics of Poisson columns (k, d, 2): sums of c and of c x over rows where a column is observed.

    Rows x (n, d), counts c (n, k) with which rows belong to labels; `log_rate` is not read.
    """
    del log_rate
    return sum_rows(_poisson_sums, x, c, fill=(0, 0), row_cost=2 * x.shape[1] + c.shape[1])


def _poisson_sums(x, c):
    observed = ~jnp.isnan(x)
    return jnp.stack([c.T @ observed.astype(x.dtype), c.T @ jnp.where(observed, x, 0)], -1)


def log_poisson(
    x: Float[Array, "..."], rate: Float[Array, "..."], log_rate: Float[Array, "..."] | None = None
) -> Float[Array, "..."]:
    """Poisson log density: log Poisson(x; rate), of arrays of any shape; minus infinity where x is no count.

    By the deviance, x log(x / rate) - x + rate, and Stirling's remainder, for x log(rate) - rate - log x! cancels: at a
    rate of 1e4 float32 would keep two digits of it. `log_rate` says what the rate is where exp(log_rate) leaves the
    numbers. Source: Loader (2000), Fast and accurate computation of binomial probabilities.
    """
    count = is_count(x)
    value = _of_count(jnp.where(count, x, 0), rate, jnp.log(rate) if log_rate is None else log_rate)
    return jnp.where(count, value, -jnp.inf)


def _of_count(x, rate, log_rate):
    return _of_amount(x, rate, log_rate, _stirling_remainder)


def _of_amount(x, rate, log_rate, remainder=None):
    """log Poisson(x; rate) with Gamma(x + 1) for x!, of any x from 0; `remainder` is that of Stirling's formula."""
    positive = x > 0
    safe = jnp.where(positive, x, 1)
    log_x = jnp.log(safe)
    at_mode = -0.5 * (LOG_TWO_PI + log_x) - (remainder or _real_remainder)(safe)
    # At 0 the slope in x is that of the smooth function too.
    slope = jnp.where(jnp.isfinite(log_rate), log_rate, 0) + np.euler_gamma
    at_zero = jnp.where(positive, 0, x) * slope - rate
    return jnp.where(positive, at_mode - _deviance(safe, log_x, rate, log_rate), at_zero)


def _deviance(x, log_x, rate, log_rate):
    """x log(x / rate) - x + rate of positive x: within a fifth of x a series of what is left of the terms."""
    finite = rate < jnp.inf
    safe = jnp.where(finite, rate, 1)
    excess = x - safe
    part = 0.5 * excess / (0.5 * x + 0.5 * safe)  # halves, for the sum may overflow
    close = jnp.abs(part) < 0.1
    part = jnp.where(close, part, 0)
    square, series = part * part, 0.0
    for power in range(21 if x.dtype == jnp.float64 else 11, 1, -2):
        series = 1 / power + square * series
    near = jnp.abs(excess) < 0.5 * safe
    near_one = jnp.log1p(jnp.where(near, excess, 0) / jnp.where(near, safe, 1))
    direct = x * jnp.where(near, near_one, log_x - log_rate) - excess
    value = jnp.where(close, part * (excess + 2 * x * square * series), direct)
    return jnp.where(finite | jnp.isnan(rate), value, jnp.inf)


def _remainder(form):
    """Decorator of a form of Stirling's remainder: its derivative is that of the smooth function, of any form.

    By itself a table has none.
    """
    form = jax.custom_jvp(form)

    @form.defjvp
    def _(primals, tangents):
        (x,), (moved,) = primals, tangents
        few, big = jnp.minimum(x, 16), jnp.maximum(x, 16)
        u = 1 / big**2
        series = -u * (1 / 12 - u * (1 / 120 - u * (1 / 252 - u * (1 / 240 - u / 132))))
        return form(x), moved * jnp.where(x < 16, digamma(few + 1) - jnp.log(few) - 0.5 / few, series)

    return form


@_remainder
def _stirling_remainder(x):
    """log x! - (x + 1/2) log x + x - log(2 pi) / 2, of whole numbers from 1."""
    big = jnp.maximum(x, 16)
    u = 1 / big**2
    series = (1 / 12 - u * (1 / 360 - u * (1 / 1260 - u * (1 / 1680 - u / 1188)))) / big
    return jnp.where(x < 16, jnp.asarray(REMAINDERS, x.dtype)[jnp.minimum(x, 15).astype(jnp.int32)], series)


def multinomial(x: Float[Array, "n d"], log_p: Float[Array, "k d"]) -> Float[Array, "n k"]:
    """Multinomial scores (n, k): log Multinomial(x_observed; its own total, p_observed / sum p_observed).

    Rows x (n, d) of counts, whole or not, with Gamma(x + 1) for x!; p = exp(log_p_k), log_p (k, d). Minus infinity
    where an observed cell is negative or infinite. Written as independent Poissons conditioned on their sum, which does
    not cancel for large totals.
    """

    def block(x):
        observed, count = ~jnp.isnan(x), is_amount(x)
        counts = jnp.where(count, x, 0)
        share, log_share = _shares(observed, log_p)
        total = counts.sum(-1)
        some = total > 0
        log_total = jnp.log(jnp.where(some, total, 1))
        cell = _of_amount(counts[:, None], total[:, None, None] * share, log_total[:, None, None] + log_share)
        both = jnp.where(observed[:, None], cell, 0).sum(-1) - _of_amount(total, total, log_total)[:, None]
        value = jnp.where(some[:, None], both, 0)
        return jnp.where((observed & ~count).any(1, keepdims=True), -jnp.inf, value)

    return map_rows(block, x, row_cost=log_p.size)


def _shares(observed, log_p):
    """Shares among observed columns, p_j / sum p_observed (n, k, d), and their logarithms."""
    top = jnp.max(jnp.where(observed[:, None], log_p, -jnp.inf), axis=-1, keepdims=True)
    top = jnp.where(jnp.isfinite(top), top, 0)
    p = jnp.exp(log_p - top)
    mass = jnp.where(observed[:, None], p, 0).sum(-1, keepdims=True)
    mass = jnp.where(mass > 0, mass, 1)
    return p / mass, log_p - top - jnp.log(mass)


def observed_share(
    x: Float[Array, "n d"], log_p: Float[Array, "k d"]
) -> tuple[Float[Array, "n k d"], Float[Array, " n"]]:
    """Shares of the observed total (n, k, d), p_j / sum p_observed, and the observed total of each row (n,).

    Of rows x (n, d) of counts, with p = exp(log_p), log_p (k, d). A row's unknown exposure has the scale-free density 1
    / lambda, the only one under which the observed counts say nothing about p but their shares; a missing count then
    has the mean total times share. Shares end where their reciprocals are numbers, at 1e37 in float32.
    """
    observed = ~jnp.isnan(x)
    share = jnp.minimum(_shares(observed, log_p)[0], 1 / jnp.finfo(log_p.dtype).tiny)
    return share, jnp.where(observed, x, 0).sum(-1)


def multinomial_statistics(
    x: Float[Array, "n d"], c: Float[Array, "n k"], log_p: Float[Array, "k d"]
) -> Float[Array, "k d"]:
    """Sufficient statistics of multinomial rows (k, d): sum_n c_nk x_nj, a missing x_nj at its mean given the others.

    That mean is the row's observed total times p_j / sum p_observed, p = exp(log_p_k), log_p (k, d). Rows x (n, d) of
    counts, c (n, k) the counts with which rows belong to labels.
    """

    def block(x, c):
        share, total = observed_share(x, log_p)
        missing = jnp.isnan(x)
        expected = jnp.where(missing[:, None], share, 0)
        return c.T @ jnp.where(missing, 0, x) + jnp.einsum("nk,nkd->kd", c * total[:, None], expected)

    return sum_rows(block, x, c, fill=(0, 0), row_cost=log_p.size)


def log_negative_binomial(
    x: Float[Array, "*#s"], total: Float[Array, "*#s"], odds: Float[Array, "*#s"]
) -> Float[Array, "*#s"]:
    """Negative binomial log density: x successes, of chance p = odds / (1 + odds), before the total-th failure.

    log of C(x + total - 1, x) p^x (1 - p)^total, for counts x and any total from 0; at a total of 0, x is 0 for sure.
    That is total / (total + x) times a binomial, written as Poissons conditioned on their sum, which does not cancel.
    """
    n = total + x
    chance, rest = odds / (1 + odds), 1 / (1 + odds)
    some, trials = jnp.where(total > 0, total, 1), jnp.where(n > 0, n, 1)
    failures = _of_amount(some, n * rest, jnp.log(n * rest)) - _of_amount(trials, trials, jnp.log(trials))
    binomial = log_poisson(x, n * chance) + failures
    return jnp.where(total > 0, binomial + jnp.log(total) - jnp.log(n), jnp.where(x > 0, -jnp.inf, 0))


def log_gamma_poisson(
    x: Float[Array, "*#s"], concentration: Float[Array, "*#s"], rate: Float[Array, "*#s"]
) -> Float[Array, "*#s"]:
    """Gamma-Poisson log density: x is Poisson of a rate that is Gamma(concentration r, rate b), a negative binomial.

    log of Gamma(x + r) / (Gamma(r) x!) b^r / (1 + b)^(x + r); minus infinity where x is no count. With n = x + r that
    is r / n times a binomial of n trials, r of which are no count, written as Poissons conditioned on their sum.
    """
    count = is_count(x)
    x, log_rest = jnp.where(count, x, 0), -jnp.log1p(rate)
    n, log_share = x + concentration, jnp.log(rate) + log_rest
    log_r, log_n = jnp.log(concentration), jnp.log(n)
    others = _deviance(concentration, log_r, n * jnp.exp(log_share), log_n + log_share)
    sizes = _real_remainder(n) - _real_remainder(concentration) + 0.5 * (log_r - log_n)
    value = _of_count(x, n * jnp.exp(log_rest), log_n + log_rest) - others + sizes
    return jnp.where(count, value, -jnp.inf)


def log_binomial(
    x: Float[Array, "*#s"], total: Float[Array, "*#s"], log_p: Float[Array, "*#s"], log_q: Float[Array, "*#s"]
) -> Float[Array, "*#s"]:
    """Binomial log density: log of C(total, x) p^x q^(total - x), q = 1 - p; minus infinity for no x from 0 to total.

    Written as Poissons conditioned on their sum, which does not cancel for large totals.
    """
    count = is_count(x) & (x <= total)
    x, log_n = jnp.where(count, x, 0), jnp.log(jnp.where(total > 0, total, 1))
    hits = _of_count(x, total * jnp.exp(log_p), log_n + log_p)
    misses = _of_count(total - x, total * jnp.exp(log_q), log_n + log_q)
    return jnp.where(count, hits + misses - _of_count(total, total, log_n), -jnp.inf)


@_remainder
def _real_remainder(x):
    """log Gamma(x + 1) - (x + 1/2) log x + x - log(2 pi) / 2, of positive numbers."""
    few, by_table = jnp.minimum(x, 16), (x >= 16) | (x == jnp.floor(x)) & (x > 0)
    direct = jax.lax.lgamma(few + 1) - (few + 0.5) * jnp.log(few) + few - 0.5 * LOG_TWO_PI
    return jnp.where(by_table, _stirling_remainder(jnp.where(by_table, x, 16)), direct)


def poisson_draws(key: Key[Array, ""], rate: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Draws of Poisson(rate), of any rate, however large.

    By `jax.random.poisson` below 256. Above, where its acceptance loses its digits and at 2^31 its counts end, rounded
    normals, to the digits that such a count has.
    """
    few = jax.random.poisson(_threefry(key), jnp.where(rate < MANY, rate, 0)).astype(rate.dtype)
    lam = jnp.where((rate >= MANY) & (rate < jnp.inf), rate, MANY)
    many = _rounded_normal(jax.random.fold_in(key, 1), lam, lam, lam, lam, lam)
    return jnp.where(rate < MANY, few, jnp.where(rate < jnp.inf, many, rate))


def _threefry(key):
    """A key of the one kind that `jax.random.poisson` takes: this key, or one made of its bits."""
    if jax.random.key_impl(key) == "threefry2x32":
        return key
    return jax.random.wrap_key_data(jax.random.bits(key, (2,), jnp.uint32), impl="threefry2x32")


def multinomial_draws(key: Key[Array, ""], total: int, p: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Multinomial draws (*n, d): `total` trials with probabilities p (*n, d), which add to 1 along the last axis.

    From 2^17 trials on column after column, each a binomial of the trials left, with p_j over the sum of p_j and those
    after it as probability.
    """
    if total < MANY_TRIALS:
        return jax.random.multinomial(key, jnp.asarray(total, p.dtype), p, dtype=p.dtype)
    columns = jnp.moveaxis(p, -1, 0)
    rest = jnp.cumsum(columns[::-1], 0)[::-1]
    shares = columns / jnp.where(rest > 0, rest, 1)

    def step(left, at):
        key, share = at
        drawn = _binomial_draws(key, left, jnp.clip(share, 0, 1))
        return left - drawn, drawn

    start = jnp.full(p.shape[:-1], total, p.dtype)
    _, drawn = jax.lax.scan(step, start, (jax.random.split(key, len(columns)), shares))
    return jnp.moveaxis(drawn, 0, -1)


def binomial_draws(key: Key[Array, ""], total: Float[Array, "*n"], p: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Binomial draws: successes in `total` trials of probability p, trial by trial below 2^17 of them."""
    few = jax.random.binomial(key, jnp.where(total < MANY_TRIALS, total, 0), p, dtype=p.dtype)
    many = _binomial_draws(jax.random.fold_in(key, 1), jnp.maximum(total, MANY_TRIALS).astype(p.dtype), p)
    return jnp.where(total < MANY_TRIALS, few, many)


def _binomial_draws(key, n, p):
    """Binomial(n, p): rounded normals where the variance is large, else by the trials that Poisson many arrivals hit.

    Arrivals at rate -n log(1 - p) hit each of n trials with chance p. Of K arrivals, few beside n, about K^2 / 2n find
    a trial that was hit; they are drawn as a Poisson count, which for 2^17 trials is right to 1e-4 of a count.
    """
    key_many, key_few, key_again = jax.random.split(key, 3)
    rare = jnp.minimum(p, 1 - p)
    spread = n * rare * (1 - rare)
    large = spread >= MANY
    s = jnp.where(large, spread, MANY)
    skewed = s * (1 - 2 * rare)
    many = _rounded_normal(
        key_many, jnp.where(large, n * rare, MANY), s, skewed, s * (1 - 6 * rare * (1 - rare)),
        skewed * (1 - 12 * rare * (1 - rare)),
    )  # fmt: skip
    arrivals = poisson_draws(key_few, jnp.where(large, 0, -n * jnp.log1p(-rare)))
    trials = jnp.maximum(n, 1)
    again = arrivals * (arrivals - 1) / (2 * trials) * (1 - (arrivals - 2) / (3 * trials))
    few = arrivals - poisson_draws(key_again, jnp.maximum(again, 0))
    drawn = jnp.clip(jnp.where(large, many, few), 0, n)
    return jnp.where(p > 0.5, n - drawn, drawn)


def _rounded_normal(key, mean, second, third, fourth, fifth):
    """Whole numbers of these cumulants: a normal draw, bent by the expansion of Cornish and Fisher (1938), rounded.

    The smooth density whose values at whole numbers are probabilities has Sheppard's cumulants: 1/12 off the second,
    1/120 on the fourth. The next terms are of order 1 / variance^2: 3e-8 in the distribution function at 256.
    """
    z = jax.random.normal(key, mean.shape, mean.dtype)
    second, fourth = second - 1 / 12, fourth + 1 / 120
    scale = jnp.sqrt(second)
    skew, tail, fifth = third / second / scale, fourth / second / second, fifth / second / second / scale
    square = z * z
    bent = z + skew * (square - 1) / 6 + z * (tail * (square - 3) / 24 - skew**2 * (2 * square - 5) / 36)
    bent += (
        fifth * (square * (square - 6) + 3) / 120
        - skew * tail * (square * (square - 5) + 2) / 24
        + skew**3 * (square * (12 * square - 53) + 17) / 324
    )
    whole = jnp.floor(mean)  # apart, so that the digits of what is rounded are those of the spread
    return jnp.maximum(whole + jnp.floor(scale * bent + (mean - whole) + 0.5), 0)


poisson_expectation = expectation(poisson, poisson_statistics)
multinomial_expectation = expectation(multinomial, multinomial_statistics)
