"""A variational autoencoder in other libraries: the same networks, Adam, and minibatches dealt by chance."""

import functools

import jax
import jax.numpy as jnp
import optax

HIDDEN = 400


def pytorch(x, latent, batch_size, rate, num_steps, compiled=False):
    """A plain loop of PyTorch, on the cores that there are; the step through `torch.compile` if it is to be."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 2 * latent)
    ).to(device)
    decoder = torch.nn.Sequential(
        torch.nn.Linear(latent, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, x.shape[1])
    ).to(device)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], rate)
    rows = torch.tensor(x, device=device)

    def loss(batch):
        mean, log_scale = encoder(2 * batch - 1).chunk(2, -1)
        logits = decoder(mean + torch.exp(log_scale) * torch.randn_like(mean))
        error = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
        divergence = 0.5 * (mean**2 + torch.exp(2 * log_scale) - 1 - 2 * log_scale).sum()
        return (error + divergence) / len(batch)

    objective = torch.compile(loss) if compiled else loss

    def run():
        for step in range(num_steps):
            at = step * batch_size % len(rows)
            if at == 0:
                order = torch.randperm(len(rows), device=device)
            optimizer.zero_grad()
            value = objective(rows[order[at : at + batch_size]])
            value.backward()
            optimizer.step()
        return float(value.detach())

    return run


def pytorch_products(d, latent, batch_size, num_steps):
    """The products of matrices of such steps and nothing else, by PyTorch's BLAS: what no loop around it can beat."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = (d, HIDDEN), (HIDDEN, 2 * latent), (latent, HIDDEN), (HIDDEN, d)

    def room(*shapes):
        return [torch.randn(*shape, device=device) for shape in shapes]

    given = [room((batch_size, a), (a, b), (batch_size, b)) for a, b in sizes]
    results = [room((batch_size, b), (a, b), (batch_size, a)) for a, b in sizes]

    def run():
        for _ in range(num_steps):
            for layer, ((x, weight, grad), (out, of_weight, of_x)) in enumerate(zip(given, results, strict=True)):
                torch.mm(x, weight, out=out)
                torch.mm(x.T, grad, out=of_weight)
                if layer:  # nobody asks for the gradient of the data
                    torch.mm(grad, weight.T, out=of_x)
        return float(results[-1][0][0, 0])

    return run


def numpyro_svi(x, latent, batch_size, rate, num_steps):
    """Stochastic variational inference by NumPyro, `svi.run`, a batch drawn within its plate."""
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, Trace_ELBO

    start, (encode, decode), rows = _parameters(x.shape[1], latent), _NETWORKS, jnp.asarray(x)

    def model(rows):
        p = numpyro.param("decoder", start[1])
        with numpyro.plate("rows", len(rows), subsample_size=batch_size):
            batch = numpyro.subsample(rows, event_dim=1)
            z = numpyro.sample("z", dist.Normal(jnp.zeros((batch_size, latent)), 1).to_event(1))
            numpyro.sample("x", dist.Bernoulli(logits=decode(p, z)).to_event(1), obs=batch)

    def guide(rows):
        p = numpyro.param("encoder", start[0])
        with numpyro.plate("rows", len(rows), subsample_size=batch_size):
            mean, log_scale = jnp.split(encode(p, 2 * numpyro.subsample(rows, event_dim=1) - 1), 2, axis=-1)
            numpyro.sample("z", dist.Normal(mean, jnp.exp(log_scale)).to_event(1))

    svi = SVI(model, guide, optax.adam(rate), Trace_ELBO())
    return lambda: svi.run(jax.random.key(0), num_steps, rows, progress_bar=False).losses


def flax_loop(x, latent, batch_size, rate, num_steps):
    """A Python loop over compiled steps of Flax and optax, as their examples have it; a gather in each."""
    from flax import linen

    class Autoencoder(linen.Module):
        @linen.compact
        def __call__(self, x, key):
            mean, log_scale = jnp.split(linen.Dense(2 * latent)(linen.relu(linen.Dense(HIDDEN)(x))), 2, axis=-1)
            z = mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape)
            return linen.Dense(x.shape[-1])(linen.relu(linen.Dense(HIDDEN)(z))), mean, log_scale

    module, adam, rows = Autoencoder(), optax.adam(rate), jnp.asarray(x)
    parameters = module.init(jax.random.key(0), rows[:1], jax.random.key(1))

    def loss(parameters, batch, key):
        logits, mean, log_scale = module.apply(parameters, 2 * batch - 1, key)
        error = optax.sigmoid_binary_cross_entropy(logits, batch).sum()
        return (error + 0.5 * (mean**2 + jnp.exp(2 * log_scale) - 1 - 2 * log_scale).sum()) / len(batch)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(parameters, memory, batch, key):
        value, grad = jax.value_and_grad(loss)(parameters, batch, key)
        updates, memory = adam.update(grad, memory, parameters)
        return optax.apply_updates(parameters, updates), memory, value

    def run():
        mine, memory = jax.tree.map(jnp.copy, parameters), adam.init(parameters)
        for number in range(num_steps):
            at, key = number * batch_size % len(rows), jax.random.fold_in(jax.random.key(2), number)
            if at == 0:
                order = jax.random.permutation(key, len(rows))
            mine, memory, value = step(mine, memory, rows[order[at : at + batch_size]], key)
        return value

    return run


def _parameters(d, latent):
    keys = jax.random.split(jax.random.key(0), 4)
    sizes = (d, HIDDEN), (HIDDEN, 2 * latent), (latent, HIDDEN), (HIDDEN, d)
    layers = [
        (jax.random.normal(key, size) * (2 / size[0]) ** 0.5, jnp.zeros(size[1]))
        for key, size in zip(keys, sizes, strict=True)
    ]
    return layers[:2], layers[2:]


def _network(layers, x):
    (W, b), (V, c) = layers
    return jax.nn.relu(x @ W + b) @ V + c


_NETWORKS = _network, _network
