"""A diffusion model's network beside PyTorch: steps of learning, draws; and its log p beside diffrax.

python benchmarks/diffusion_peers.py

By turns in one process, float32, Adam, the same perceptron told of the same things. PyTorch and diffrax are no
requirement of the benchmarks and have to be installed beside. FlowJAX has no continuous flow to compare with.
"""

import dataclasses
import itertools
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import nn

import dgjax as dg

D, WIDTH, LAYERS, BATCH, ROWS, STEPS, DRAWN, ODE, TURNS = 9, 256, 3, 256, 20_000, 1000, 2000, 20, 5
WAVES = (1, 2, 4, 8)
LAST = float(np.arctan(1e3))
TOLERANCE = 1e-3


def timed(run: Any) -> float:
    """Seconds of a call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def times_of(angle: torch.Tensor) -> torch.Tensor:
    """What the network is told of an angle (n, 1): itself, the distance from the data, waves."""
    waves = 2 * angle * torch.tensor(WAVES)
    near = angle.clamp(max=LAST).cos().log() / np.log(1e3)
    return torch.cat([angle, near, waves.cos(), waves.sin()], -1)


def told(z: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Inputs of the network: values, how much of each is signal, that each is generated, the time."""
    ones = torch.ones_like(z)
    return torch.cat([z, angle.sin() * ones, ones, times_of(angle)], -1)


def perceptron() -> nn.Module:
    """The network of `dgjax.diffusion`: hidden layers of silu."""
    sizes = [3 * D + 10, *[WIDTH] * LAYERS]
    hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, D))


def torch_learner(x: torch.Tensor, compiled: bool) -> Any:
    """Steps of learning: minibatches of a shuffled epoch, noise and angles, the error of the velocity."""
    network = perceptron()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def loss_of(u, e, s):
        angle = LAST * (1 - s**2)
        z, moves = angle.sin() * u + angle.cos() * e, angle.cos() * u - angle.sin() * e
        return ((network(told(z, angle)) - moves) ** 2).sum(-1).mean()

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def run(steps=STEPS):
        for step in range(steps):
            at = torch.arange(step * BATCH, (step + 1) * BATCH) % len(x)
            loss = loss_of(x[at], torch.randn(BATCH, D), torch.rand(BATCH, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss)

    return network, run


def torch_sampler(network: nn.Module, compiled: bool) -> Any:
    """Draws by Heun's method, in steps that are even in s."""
    call = torch.compile(network) if compiled else network

    @torch.no_grad()
    def run():
        z, h = torch.randn(DRAWN, D), 1 / ODE

        def along(z, s):
            return -np.pi * s * call(told(z, torch.full((len(z), 1), np.pi / 2 * (1 - s**2))))

        for i in range(ODE):
            first = along(z, 1 - i * h)
            z = z - h / 2 * (first + along(z - h * first, 1 - (i + 1) * h))
        return z

    return run


def by_diffrax(density: Any, adaptive: bool) -> Any:
    """log p by diffrax with the model's own network: Dormand and Prince, in as many evaluations, or adaptive.

    Adaptive steps are of the angle, as one would write it, and of the tolerance at which it is as close as ours.
    """
    import diffrax

    network = density.network

    def velocity(z, angle):
        waves = 2 * angle * jnp.array(WAVES, jnp.float32)
        near = jnp.log(jnp.cos(jnp.minimum(angle, LAST))) / np.log(1e3)
        times = jnp.concatenate([angle[None], near[None], jnp.cos(waves), jnp.sin(waves)])
        inputs = jnp.concatenate([z, jnp.sin(angle) * jnp.ones(D), jnp.ones(D), times])
        return network(inputs[None])[0]

    def moved(z, angle):
        value, push = jax.linearize(lambda z: velocity(z, angle), z)
        return jnp.append(value, jnp.trace(jax.vmap(push)(jnp.eye(D))))

    def slope(s, state, _):
        if adaptive:
            return moved(state[:D], s)
        return -jnp.pi * s * moved(state[:D], jnp.asarray(np.pi / 2, jnp.float32) * (1 - s**2))

    term, solver, steps = diffrax.ODETerm(slope), diffrax.Dopri5(), round(4 * ODE / 6)
    own = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE) if adaptive else diffrax.ConstantStepSize()
    way = (np.pi / 2, 0.0, None) if adaptive else (0.0, 1.0, 1 / steps)

    @jax.jit
    def run(x):
        def one(u):
            solved = diffrax.diffeqsolve(term, solver, *way, jnp.append(u, 0.0), stepsize_controller=own)
            z, trace = solved.ys[-1, :D], solved.ys[-1, D]
            return -0.5 * (z**2 + jnp.log(2 * jnp.pi)).sum() + trace - jnp.log(density.scale).sum()

        return jax.vmap(one)((x - density.centre) / density.scale)

    return run


def told_ratio(name: str, ours: list[float], theirs: dict[str, list[float]], unit: float) -> None:
    """Prints the medians, and how many times as long each peer took."""
    own = statistics.median(ours)
    ratios = ", ".join(
        f"{peer} {1e3 * statistics.median(own_times) / unit:.3g} ms ({statistics.median(own_times) / own:.2f} times)"
        for peer, own_times in theirs.items()
    )
    print(f"{name}: dgjax {1e3 * own / unit:.3g} ms, {ratios}", flush=True)


def main() -> None:
    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(ROWS, D)) @ rng.normal(size=(D, D)) + np.sin(3 * rng.normal(size=(ROWS, D)))).astype(
        "float32"
    )
    start = dg.diffusion(jax.random.key(0), x, width=WIDTH, num_layers=LAYERS, num_steps=ODE, split=0.0, whole=())
    method = dg.Optax(optax.adam(1e-3), BATCH, jax.random.key(1))
    fitted: dict[str, Any] = {}

    def learn():
        fitted["model"] = jax.block_until_ready(dg.fit(start, x, method=method, max_steps=STEPS).model)

    rows = torch.tensor((x - x.mean(0)) / x.std(0))
    eager, compiled = torch_learner(rows, False), torch_learner(rows, True)
    learn(), eager[1](10), compiled[1](10)
    ours, theirs = [], {"eager": [], "compiled": []}
    for _ in range(TURNS):
        ours.append(timed(learn))
        theirs["eager"].append(timed(eager[1]))
        theirs["compiled"].append(timed(compiled[1]))
    told_ratio(f"a step of learning, {BATCH} rows", ours, theirs, STEPS)

    model = fitted["model"]
    draw = lambda: jax.block_until_ready(dg.sample(model, jax.random.key(2), DRAWN))  # noqa: E731
    samplers = {"eager": torch_sampler(eager[0], False), "compiled": torch_sampler(compiled[0], True)}
    draw(), [run() for run in samplers.values()]
    ours, theirs = [], {name: [] for name in samplers}
    for _ in range(TURNS):
        ours.append(timed(draw))
        for name, run in samplers.items():
            theirs[name].append(timed(run))
    told_ratio(f"{DRAWN} rows drawn in {ODE} steps of Heun", ours, theirs, 1)

    new = x[:500]
    exact = np.asarray(dg.log_prob(dataclasses.replace(model, num_steps=160), new))
    solvers = {"diffrax, as many evaluations": by_diffrax(model, False), "diffrax, adaptive": by_diffrax(model, True)}
    score = lambda: np.asarray(dg.log_prob(model, new))  # noqa: E731
    off = {"dgjax": score(), **{name: np.asarray(solve(new)) for name, solve in solvers.items()}}
    ours, theirs = [], {name: [] for name in solvers}
    for _ in range(TURNS):
        ours.append(timed(score))
        for name, solve in solvers.items():
            theirs[name].append(timed(lambda solve=solve: np.asarray(solve(new))))
    told_ratio(f"log p of {len(new)} rows, exact trace, {4 * ODE} evaluations", ours, theirs, 1)
    print(
        "off, mean of absolute nats:", {name: float(f"{np.abs(own - exact).mean():.2g}") for name, own in off.items()}
    )


if __name__ == "__main__":
    main()
