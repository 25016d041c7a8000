"""Names of other libraries, of functions, methods and keyword arguments: errors that say what to type here."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from dgjax import _advice

F = TypeVar("F", bound=Callable[..., Any])

VERBS = {
    "predict_proba": "jax.numpy.exp(dgjax.predict_log_proba(model, x))",
    "fit_predict": "dgjax.predict(dgjax.fit(model, x).model, x)",
    "score_samples": "dgjax.log_prob(model, x)",
    "score": "dgjax.log_prob(model, x).mean()",
    "decision_function": "dgjax.predict_log_proba(model, x)",
    "transform": "dgjax.encode(model, x)",
    "inverse_transform": "dgjax.decode(model, z)",
    "fit_transform": "dgjax.encode(dgjax.fit(model, x).model, x)",
    "partial_fit": "dgjax.fit(model, x, y).model",
    "log_likelihood": "dgjax.log_prob(model, x)",
    "logpdf": "dgjax.log_prob(model, x)",
    "shap_values": "dgjax.explain(model, x).values",
    "GaussianMixture": "dgjax.gaussian_mixture(key, x, num_components)",
    "FactorAnalysis": "dgjax.factor_analysis(key, x, num_factors)",
    "PCA": 'dgjax.factor_analysis(key, x, num_factors, noise="shared")',
    "GaussianNB": "dgjax.naive_bayes(x, y)",
    "BernoulliNB": 'dgjax.naive_bayes(x, y, kinds="bernoulli")',
    "CategoricalNB": 'dgjax.naive_bayes(x, y, kinds="categorical")',
    "MultinomialNB": 'dgjax.naive_bayes(x, y, kinds="multinomial")',
    "LinearDiscriminantAnalysis": "dgjax.discriminant_analysis(x, y)",
    "QuadraticDiscriminantAnalysis": 'dgjax.discriminant_analysis(x, y, covariance="full")',
    "LogisticRegression": _advice.REGRESSION[5:-1],
    "GaussianHMM": "dgjax.hidden_markov(key, x, num_states)",
    "CategoricalHMM": 'dgjax.hidden_markov(key, x, num_states, emissions="categorical")',
    "PoissonHMM": 'dgjax.hidden_markov(key, x, num_states, emissions="poisson")',
    "GMM": "dgjax.gaussian_mixture(key, x, num_components)",
    "HMM": "dgjax.hidden_markov(key, x, num_states)",
    "LDA": "dgjax.discriminant_analysis(x, y)",
    "QDA": 'dgjax.discriminant_analysis(x, y, covariance="full")',
    "KMeans": "dgjax.gaussian_mixture(key, x, num_components)",
    "kmeans": "dgjax.gaussian_mixture(key, x, num_components)",
    "lda": "dgjax.discriminant_analysis(x, y)",
    "qda": 'dgjax.discriminant_analysis(x, y, covariance="full")',
    "flow": "dgjax.normalizing_flow(key, x)",
    "diffusion_model": "dgjax.diffusion(key, x)",
    "gan": "dgjax.adversarial(key, x)",
    "accuracy": "(dgjax.predict(model, x) == y).mean()",
    "is_anomaly": "dgjax.anomaly_pvalue(model, calibration, x)",
    "anomaly_score": "dgjax.log_prob(model, x)",
    "cross_val_score": "dgjax.cross_validate(candidate, x, y, key=key)",
    "GridSearchCV": "dgjax.select(candidates, x, y, key=key)",
    "viterbi": "dgjax.predict(model, x)",
}
"""What goes by another name here."""


ENCODING, DECODING = ("transform", "fit_transform", "encode"), ("inverse_transform", "reconstruct", "decode")
"""What only a model with latent variables is asked; and of these only a variational autoencoder."""


def of_name(name: str, names: Iterable[str]) -> str:
    """Error message for a name that dgjax does not have, with its counterpart or the nearest of `names`, if any."""
    told = ""
    if name in VERBS:
        of = ", for a model with factors or an autoencoder" * (name in ENCODING)
        told = f"Type {VERBS[name]}{of or ', for a variational autoencoder' * (name in DECODING)}."
    elif name in ("numpyro", "compare", "sklearn"):
        told = f"Type import dgjax.{name} first."
    elif not name.startswith("_"):
        spelt = {one.lower(): one for one in names}
        told = "".join(f"Type dgjax.{spelt[near]}." for near in difflib.get_close_matches(name.lower(), spelt, 1, 0.8))
    return f"dgjax has no {name!r}. {told}".rstrip()


METHODS = (
    VERBS
    | {
        "fit": "dgjax.fit(model, x, y).model",
        "sample": "dgjax.sample(model, jax.random.key(0), 10)",
        "sample_labels": "dgjax.sample_labels(model, jax.random.key(0), x)",
        "sample_missing": "dgjax.sample_missing(model, jax.random.key(0), x)",
        "save": "dgjax.save(path, model)",
        "bic": "dgjax.bic(model, x)",
        "aic": "dgjax.aic(model, x)",
        "log_joint": "dgjax.log_joint(model, x, y)",
        "log_conditional": "dgjax.log_conditional(model, x, y)",
        "decode": "dgjax.decode(model, z)",
    }
    | {
        verb: f"dgjax.{verb}(model, x)"
        for verb in ("predict", "predict_log_proba", "log_prob", "encode", "reconstruct")
    }
)


def of_attribute(self: Any, name: str) -> Any:
    """`__getattr__` of models: AttributeError, with what to type if other libraries have such a method."""
    asked = self.model if type(self).__name__ == "Fit" else self
    name_here = "predict" if name == "decode" and getattr(asked, "sequential", False) else name
    if name not in METHODS or not _is_asked(name_here, asked):
        return object.__getattribute__(self, name)
    model = "model" if asked is self else "fit.model"
    told = METHODS[name_here].replace("(model", f"({model}").replace(", model)", f", {model})")
    message = f"{type(self).__name__} has no {name!r}: what is asked of a model is a function. Type {told}."
    raise AttributeError(message, name=name, obj=self)


def _is_asked(name: str, model: Any) -> bool:
    """Whether a model, or a mixture of some, has the latent variables that it is asked about by that name."""
    fields = getattr(type(getattr(model, "density", model)), "__dataclass_fields__", {})
    return name not in (*ENCODING, *DECODING) or "latent_dim" in fields or (name in ENCODING and "loading" in fields)


SIZES = ("num_factors", "num_components", "num_states", "latent_dim")
OPTAX = "method=dgjax.Optax(optax.adam(1e-3), batch_size={0}, key=jax.random.key(0))"
RESTARTS = "method=dgjax.Restarts({0}, jax.random.key(0))"
KEYWORDS: dict[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(("max_iter", "n_iter", "num_steps"), (("max_steps", "max_steps={0}"),)),
    **dict.fromkeys(("n_components", "n_factors"), tuple((size, f"{size}={{0}}") for size in SIZES)),
    **dict.fromkeys(("n_states", "n_clusters", "k"), tuple((size, f"{size}={{0}}") for size in SIZES[1:])),
    **dict.fromkeys(("n_init", "num_restarts"), (("method", RESTARTS),)),
    **dict.fromkeys(("random_state", "seed"), (("key", "jax.random.key({0}) where the key goes, first"),)),
    "C": (("max_steps", "prior=dgjax.priors.Ridge(1 / {0})"),),
    **dict.fromkeys(("alpha", "reg_covar", "var_smoothing"), (("prior", 'prior="weak"'),)),
    **dict.fromkeys(("sample_weight", "sample_weights"), (("weights", "weights={0}"),)),
    **dict.fromkeys(("labels", "target"), (("y", "y={0}"),)),
    **dict.fromkeys(("cv", "n_splits", "n_folds", "k_folds"), (("folds", "folds={0}"),)),
    **dict.fromkeys(("scoring", "metric"), (("criterion", 'criterion="cross-validation"'),)),
    "X": (("x", "x={0}"),),
    "verbose": (("progress", "progress=True"),),
    "covariance_type": (("covariance", "covariance={0}"),),
    "tol": (("method", "method=dgjax.EM(tol={0}), or of a discriminative model method=dgjax.LBFGS(tol={0})"),),
    "batch_size": (("method", OPTAX),),
    "n_features": (("num_features", "num_features={0}"),),
    "n_classes": (("num_classes", "num_classes={0}"),),
}
"""What goes by another name here: for each keyword, an argument that a function must have, and then what to type."""
OF_FIT = {
    "max_iter": "max_steps={0}",
    "n_iter": "max_steps={0}",
    "n_init": RESTARTS,
    "C": "prior=dgjax.priors.Ridge(1 / {0})",
    "reg_covar": 'prior="weak"',
    "batch_size": OPTAX,
}
"""What a starter does not take, and `fit` does."""
SPELT = {"diag": "diagonal", "shared": "tied", "pooled": "tied", "isotropic": "spherical"}


def told_keywords(function: F) -> F:
    """Decorator: a keyword of another library, or an argument that is missing, is a TypeError with what to type."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except TypeError as error:  # looked at only then: a call of few rows takes microseconds
            if message := _of_call(function.__name__, signature, arguments, options):
                raise TypeError(message) from None
            raise error

    return cast(F, call)


def _of_call(function, signature, arguments, options):
    """Message on a call with an unknown keyword or a missing argument; empty for one that is neither."""
    any_name = any(argument.kind is argument.VAR_KEYWORD for argument in signature.parameters.values())
    own = {
        name: argument for name, argument in signature.parameters.items() if argument.kind is not argument.VAR_KEYWORD
    }
    for name in options:
        if name not in own and not any_name:
            return f"{function}() has no argument {name!r}. {of_keyword(name, options[name], own)}"
    required = [name for name, argument in own.items() if argument.default is argument.empty]
    if missing := [name for name in required[len(arguments) :] if name not in options]:
        needed = f"dgjax.{function}({', '.join(required)})"
        return f"{function}() needs {' and '.join(missing)} too. Type {needed}."
    return ""


def of_keyword(name: str, value: Any, own: Iterable[str]) -> str:
    """What to type for a foreign keyword: its counterpart, else the nearest argument, else one of them all."""
    given = _advice.shown(SPELT.get(value, value) if isinstance(value, str) else value)
    own_code = next((code for argument, code in KEYWORDS.get(name, ()) if argument in own), "")
    if not own_code and name in OF_FIT and "max_steps" not in own:
        own_code = f"dgjax.fit(model, x, y, {OF_FIT[name]}) where the model is fitted"
    for near in () if own_code else difflib.get_close_matches(name, own, 1, 0.75):
        own_code = f"{near}={{0}}"
    return f"Type {own_code.format(given)}." if own_code else f"Type one of {', '.join(own)}."
