"""What a case is: drawn from a seed and a number, the same each time.

Thirty cases in a row have a plan in common: kind of model, verb, shapes, precision, and whether they are asked inside
jit or vmap. They share compiled programs; parameters, rows and all else are drawn anew for each.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgjax_kernels.cpu import worth
from fuzz import agreement, data, formulas, models

CASES_PER_PLAN = 30
POOL, MANY_DRAWS = 60, 2048
SIZES = {0: 0.05, 1: 0.08, 2: 0.08, 7: 0.27, POOL: 0.42, "many": 0.1}
"""Rows, of which at most POOL are distinct; "many" is where the CPU's kernels have taken over."""
STEPS = {(1, 1): 0.1, (3, 5): 0.45, (2, 60): 0.35, "many": 0.1}
"""Sequences and steps."""
PRECISIONS = {("float32", False): 0.5, ("float64", True): 0.35, ("float32", True): 0.15}
"""Precision, and whether jax_enable_x64 is on."""
MODES = {"eager": 0.7, "jit": 0.15, "vmap": 0.15}


@dataclass(frozen=True)
class Plan:
    """What the cases of a plan share."""

    group: str
    kind: str
    verb: str
    check: Any
    precision: str
    x64: bool
    mode: str
    d: int
    k: int
    size: Any
    holes: bool
    known: str
    number: int


@dataclass
class Case:
    """One case: `pool` are its distinct rows in float64, `index` says which of them the rows of `x` are."""

    plan: Plan
    rng: np.random.Generator
    model: Any = None
    x: Any = None
    y: Any = None
    lengths: Any = None
    pool: Any = None
    index: Any = None
    terms: Any = None
    notes: dict = field(default_factory=dict)

    @property
    def precision(self) -> str:
        return self.plan.precision

    @property
    def key(self) -> Any:
        return jax.random.key(int(self.rng.integers(1 << 30)))

    @functools.cached_property
    def joint(self) -> Any:
        """log p(x_observed, y) of the pool by the oracle (m, k)."""
        return formulas.log_joint(self.model.as_model(), self.pool)

    @functools.cached_property
    def evidence(self) -> Any:
        return formulas.log_sum(self.joint)

    def ask(self, verb, *arrays) -> np.ndarray:
        """The verb's answer for `x`: as it is, inside jit, or inside vmap beside the rows in reverse."""
        given = [array for array in (self.x, *arrays, self.lengths) if array is not None]
        asked = verb if self.lengths is None else with_lengths(verb)
        if self.plan.mode == "jit":
            return np.asarray(jitted(asked)(self.model, *given))
        if self.plan.mode == "vmap":
            both = np.asarray(mapped(asked)(self.model, *(np.stack([a, a[::-1]]) for a in given)))
            halves = np.stack([both[1][::-1], both[0]])
            if both.dtype.kind == "f":
                agreement.true(
                    "vmap", np.isnan(halves).all(0).sum() == np.isnan(halves).any(0).sum(), "NaN in one half"
                )
                agreement.nats("vmap", *np.where(np.isnan(halves), 0, halves), self.precision)
            return both[0]
        return self.eager(asked, given)

    def eager(self, asked, given):
        """As it is; in an odd layout, which must give the bits of the contiguous array."""
        names, rest = data.layouts_of(self.x), given[1:]
        if self.rng.random() < 0.5:
            return np.asarray(asked(self.model, *given))
        name = names[self.rng.integers(len(names))]
        held, plain = data.laid(given[0], name)
        self.notes["layout"] = name
        came = np.asarray(asked(self.model, plain, *rest))
        labelled = bool(rest) and rest[0] is self.y
        odd_rest = [data.labels_laid(self.rng, self.y), *rest[1:]] if labelled else rest
        try:
            odd = asked(self.model, held, *odd_rest)
        except ValueError as error:
            if name != "float16" or "astype('float32')" not in str(error):
                raise
            return came
        agreement.same(f"layout {name}", odd, came)
        return came


@functools.cache
def with_lengths(verb):
    """The verb with its lengths last."""

    def asked(model, x, *rest):
        return verb(model, x, *rest[:-1], lengths=rest[-1])

    return asked


@functools.cache
def jitted(verb):
    return jax.jit(verb)


@functools.cache
def mapped(verb):
    def both(model, *arrays):
        return jax.vmap(lambda *one: verb(model, *one))(*arrays)

    return jax.jit(both)


def choose(rng, table):
    names = list(table)
    return names[rng.choice(len(names), p=np.array(list(table.values())) / sum(table.values()))]


def many_rows(d):
    """Just past where kernels take over."""
    return -(-worth.MANY_CELLS // d) + 7


def plan_of(seed, number, pairs):
    """Every pair of kind and verb comes once before one comes again."""
    cycle, place = divmod(number, len(pairs))
    group, kind, verb, check, options = pairs[np.random.default_rng([seed, cycle]).permutation(len(pairs))[place]]
    rng = np.random.default_rng([seed, number, 1])
    precision, x64 = choose(rng, options.get("precisions", PRECISIONS))
    widths = models.DENSITIES[kind].widths if kind in models.DENSITIES else (1, 3)
    sizes = STEPS if group in ("chains", "fields") else SIZES
    return Plan(
        group=group,
        kind=kind,
        verb=verb,
        check=check,
        precision=precision,
        x64=x64,
        mode=choose(rng, MODES) if options.get("traced", True) else "eager",
        d=int(rng.choice(widths)),
        k=int(rng.choice(options.get("labels", (1, 2, 3, 3)))),
        size=choose(rng, {s: p for s, p in sizes.items() if s in options.get("sizes", sizes)}),
        holes=bool(rng.random() < 0.5) and options.get("holes", True),
        known=str(rng.choice(options.get("known", ("all", "some", "none")))),
        number=number,
    )


def rng_of(seed, index):
    return np.random.default_rng([seed, index, 2])


def rows_case(plan, rng):
    """A generative model of rows, and rows drawn from it."""
    case = Case(plan, rng, models.generative(rng, plan.kind, plan.d, plan.k, plan.precision))
    n = many_rows(plan.d) if plan.size == "many" else plan.size
    pool, y = models.draw_rows(rng, case.model, min(n, POOL))
    tops = data.supports_of(case.model)
    pool = data.spoil(rng, pool, ~np.isnan(tops))
    if plan.verb in SCORED and rng.random() < 0.5:
        pool = data.to_edges(rng, pool, tops)
    if plan.verb == "starter" and np.isnan(tops).all():
        pool = pool * 10.0 ** rng.integers(-15, 16, 1 if plan.kind == "spherical" else plan.d)
    if plan.verb == "log_prob" and plan.mode != "eager" and rng.random() < 0.3:  # which only eager calls refuse
        pool = data.outside(rng, pool, tops)
    return filled(case, data.holes(rng, pool, plan.holes), data.labels(rng, y, plan.k, plan.known), n)


SCORED = ("log_prob", "log_joint", "log_conditional", "predict", "predict_log_proba", "sample_labels")


def filled(case, pool, y, n):
    """The case with its pool, as far as the precision holds it, and n rows that are from there."""
    index = np.arange(n) if n <= POOL else case.rng.integers(len(pool), size=n)
    pool = pool.astype(case.precision)
    case.pool, case.index = pool.astype(float), index
    case.x, case.y = pool[index], y[index]
    return case


def logistic_case(plan, rng):
    """A logistic model and rows."""
    k = max(2, plan.k)
    case = Case(plan, rng, models.logistic(rng, plan.kind, plan.d, k, plan.precision))
    n = many_rows(plan.d) if plan.size == "many" else plan.size
    pool = rows_of_scorer(rng, plan, min(n, POOL))
    return filled(case, pool, data.labels(rng, rng.integers(k, size=len(pool)), k, plan.known), n)


def rows_of_scorer(rng, plan, n):
    if plan.kind == "indicator":
        return rng.integers(-1, 7, (n, 4)).astype(float)
    offset, scale = models.units(rng, plan.d)
    if plan.verb != "fit":
        offset, scale = offset / scale, 1
    return data.spoil(rng, offset + scale * rng.normal(size=(n, plan.d)), np.zeros(plan.d, bool))


def sequence_sizes(plan):
    """Sequences and steps: many are long, of rows that come from a pool."""
    if plan.size != "many":
        return plan.size
    return 16, -(-worth.MANY_CELLS // (16 * plan.k)) + 3


def chain_case(plan, rng):
    """A hidden Markov model or a CRF, and sequences."""
    structural, (n, t) = bool(rng.random() < 0.3), sequence_sizes(plan)
    if plan.group == "fields":
        model = models.crf(rng, plan.kind, plan.d, plan.k, plan.precision, structural)
        case = Case(plan, rng, model)
        pool = rows_of_scorer(rng, plan, min(n * t, POOL))
        y = rng.integers(plan.k, size=(n, t))
    else:
        case = Case(plan, rng, models.hidden_markov(rng, plan.kind, plan.d, plan.k, plan.precision, structural))
        x, y = models.draw_paths(rng, case.model, *((2, 30) if plan.size == "many" else (n, t)))
        pool = data.holes(rng, x.reshape(n * t if plan.size != "many" else POOL, -1), plan.holes)
    index = np.arange(n * t) if len(pool) == n * t else rng.integers(len(pool), size=n * t)
    pool, index = pool.astype(plan.precision), index.reshape(n, t)
    lengths = rng.integers(1, t + 1, n) if t > 1 and rng.random() < 0.6 else None
    if plan.size == "many":  # eight times the same two
        index, lengths = (None if a is None else np.resize(a[:2], a.shape) for a in (index, lengths))
        y = np.resize(y, (2, t))
    case.pool, case.index, case.lengths = pool.astype(float), index, lengths
    case.x = pool[index]
    if lengths is not None and plan.group == "chains" and plan.holes:
        case.x[np.arange(t) >= lengths[:, None]] = np.nan
    case.y = np.resize(data.labels(rng, y, plan.k, plan.known), (n, t))
    return case


MAKERS = {"rows": rows_case, "logistic": logistic_case, "chains": chain_case, "fields": chain_case}


def case_of(plan, seed, index):
    rng = rng_of(seed, index)
    return MAKERS[plan.group](plan, rng)


def as_jax(tree):
    return jax.tree.map(jnp.asarray, tree)
