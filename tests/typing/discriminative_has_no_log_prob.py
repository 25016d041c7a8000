"""A discriminative model knows nothing of x, and the type checker says so before anything runs.

Each line with an ignore below is an error for pyright. If the checker came to accept one, the ignore would be
unnecessary, which is itself an error in this project (reportUnnecessaryTypeIgnoreComment): `make test` would fail.
"""

import jax
import jax.numpy as jnp

import dgjax as dg

x = jnp.zeros((4, 2))
y = jnp.zeros(4, int)
key = jax.random.key(0)

generative = dg.discriminant_analysis(x, y)
discriminative = dg.logistic_regression(2, 3)
twin = dg.discriminative(generative)
marginalized = dg.marginalize(discriminative, generative)
bare = dg.Gaussian(jnp.zeros((1, 2)), jnp.eye(2))

dg.log_prob(generative, x)
dg.log_prob(bare, x)
dg.sample(generative, key, (3,))
dg.impute(generative, x)
dg.predict(generative, x)
dg.predict(discriminative, x)
dg.log_conditional(discriminative, x, y)
dg.predict_log_proba(marginalized, x)

dg.log_prob(discriminative, x)  # pyright: ignore[reportArgumentType]
dg.log_prob(twin, x)  # pyright: ignore[reportArgumentType]
dg.log_prob(marginalized, x)  # pyright: ignore[reportArgumentType]
dg.log_joint(discriminative, x, y)  # pyright: ignore[reportArgumentType]
dg.sample(discriminative, key, (3,))  # pyright: ignore[reportArgumentType]
dg.impute(discriminative, x)  # pyright: ignore[reportArgumentType]
dg.sample_missing(discriminative, key, x)  # pyright: ignore[reportArgumentType]
dg.marginal(discriminative, [0])  # pyright: ignore[reportArgumentType]
dg.discriminative(discriminative)  # pyright: ignore[reportArgumentType]

fitted = dg.fit(generative, x, y)
dg.log_prob(fitted.model, x)
fitted_discriminative = dg.fit(discriminative, x, y)
dg.log_prob(fitted_discriminative.model, x)  # pyright: ignore[reportArgumentType]
