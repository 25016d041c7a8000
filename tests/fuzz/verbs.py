"""Which verbs are asked of which kinds of model: every pair, its check, and what it is not made for."""

from fuzz import cases, chains, discriminating, learning, models, scoring, whole

SOME = {"sizes": (1, 2, 7, cases.POOL, "many")}
FEW = {"sizes": (7, cases.POOL)}
PLAIN = {"traced": False}
CLASSES = {"labels": (2, 3)}
WHOLE = {"holes": False}

ROWS = {
    "log_prob": (scoring.log_prob, {}),
    "log_joint": (scoring.log_joint, {}),
    "log_conditional": (scoring.log_conditional, {}),
    "predict": (scoring.predict, {}),
    "predict_log_proba": (scoring.predict_log_proba, {}),
    "sample_labels": (scoring.sample_labels, PLAIN),
    "impute": (scoring.impute, {"sizes": (0, 1, 2, 7, "many")}),
    "sample_missing": (scoring.sample_missing, FEW | PLAIN),
    "sample": (scoring.sample, FEW | PLAIN),
    "gradient": (scoring.gradient, FEW | PLAIN | {"sizes": (7,)}),
    "marginal": (whole.marginal, PLAIN),
    "discriminative": (whole.discriminative, PLAIN | CLASSES | WHOLE),
    "marginalize": (whole.marginalize, PLAIN | CLASSES | FEW),
    "num_parameters": (whole.num_parameters, PLAIN | {"sizes": (1,)}),
    "bic and aic": (whole.criteria, PLAIN | SOME),
    "anomaly_threshold": (whole.anomaly_threshold, PLAIN | SOME),
    "save and load": (whole.save_and_load, PLAIN | {"sizes": (1,)}),
    "weak_prior": (whole.weak_prior, PLAIN | SOME),
    "fit, one step": (learning.em_step, PLAIN | {"sizes": (2, 7, cases.POOL, "many")}),
    "fit, twelve steps": (learning.em_climbs, PLAIN | FEW),
}
SOLVED = ("full", "tied", "diagonal", "spherical", "Bernoulli", "categorical", "Poisson", "multinomial")
SOLVING = PLAIN | CLASSES | {"holes": False, "known": ("all",), "sizes": (7, cases.POOL, "many")}
LOGISTIC = {
    "log_conditional": (discriminating.log_conditional, CLASSES | WHOLE),
    "predict": (discriminating.predict, CLASSES | WHOLE),
    "predict_log_proba": (discriminating.predict_log_proba, CLASSES | WHOLE),
    "sample_labels": (discriminating.sample_labels, PLAIN | CLASSES),
    "num_parameters": (discriminating.num_parameters, PLAIN | CLASSES | {"sizes": (1,)}),
    "save and load": (whole.save_and_load, PLAIN | CLASSES | {"sizes": (1,)}),
    "fit": (learning.logistic_fit, PLAIN | CLASSES | {"sizes": (7, cases.POOL), "known": ("all", "some")}),
}
SHORT = {"sizes": ((1, 1), (3, 5), (2, 60))}
CHAINS = {
    "log_prob": (chains.log_prob, {}),
    "log_joint": (chains.log_joint, {}),
    "log_conditional": (chains.log_conditional, {}),
    "predict": (chains.predict, {}),
    "predict_log_proba": (chains.predict_log_proba, {}),
    "sample_labels": (chains.sample_labels, PLAIN),
    "sample_labels, often": (chains.frequencies_of_paths, PLAIN | {"sizes": ((1, 1), (3, 5))}),
    "sample": (chains.sample, PLAIN | {"sizes": ((1, 1),)}),
    "impute": (chains.impute, SHORT),
    "sample_missing": (chains.sample_missing, PLAIN | SHORT),
    "forecast": (chains.forecast, PLAIN | SHORT),
    "fit, one step": (chains.em_step, PLAIN | {"sizes": ((3, 5), (2, 60))}),
    "discriminative": (chains.discriminative, PLAIN | CLASSES | WHOLE | SHORT),
    "marginal": (chains.marginal, PLAIN | SHORT),
    "pad": (chains.pad, PLAIN | SHORT),
    "save and load": (whole.save_and_load, PLAIN | {"sizes": ((1, 1),)}),
}
FIELDS = {
    name: (check, options | CLASSES | WHOLE)
    for name, (check, options) in CHAINS.items()
    if name in ("log_conditional", "predict", "predict_log_proba", "sample_labels", "sample_labels, often")
}


def every_pair():
    """(group, kind, verb, check, options), in a fixed order."""
    groups = (
        ("rows", models.DENSITIES, ROWS),
        ("rows", SOLVED, {"starter": (learning.closed_form, SOLVING)}),
        ("logistic", models.SCORERS, LOGISTIC),
        ("chains", models.STATES, CHAINS),
        ("fields", models.SCORERS, FIELDS),
    )
    return [(g, kind, verb, *row) for g, kinds, verbs in groups for kind in kinds for verb, row in verbs.items()]
