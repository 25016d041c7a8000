"""The same language model in PyTorch: its steps of learning, and its tokens drawn with a cache.

python benchmarks/language_peers.py

Both by turns in one process, float32, Adam; PyTorch is no requirement of the benchmarks and has to be installed beside.
"""

import statistics
import time

import jax
import numpy as np
import optax
import torch
from torch import nn
from torch.nn import functional as F

import dgjax as dg

C, WIDTH, LAYERS, HEADS, BATCH, T, STEPS, EPOCHS, DRAWN = 80, 128, 4, 4, 16, 128, 8, 8, 128


def turned(x, places):
    """Rotary positions of heads (n, a, t, c)."""
    c = x.shape[-1]
    angles = places[:, None] * 1e4 ** (-torch.arange(0, c, 2) / c)
    cos, sin = angles.cos(), angles.sin()
    one, other = x[..., : c // 2], x[..., c // 2 :]
    return torch.cat([one * cos - other * sin, one * sin + other * cos], -1)


class Layer(nn.Module):
    """Attention and a perceptron of squared relu, each of normalised inputs."""

    def __init__(self):
        super().__init__()
        self.projections = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attended = nn.Linear(WIDTH, WIDTH, bias=False)
        self.hidden = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.outputs = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.first, self.second = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)

    def forward(self, z, places, cache=None):
        n, t, _ = z.shape
        q, k, v = (own.view(n, t, HEADS, -1).transpose(1, 2) for own in self.projections(self.first(z)).chunk(3, -1))
        q, k = turned(q, places), turned(k, places)
        if cache is not None:
            keys, values, place = cache
            keys[:, :, place : place + 1], values[:, :, place : place + 1] = k, v
            k, v = keys[:, :, : place + 1], values[:, :, : place + 1]
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
        z = z + self.attended(attended.transpose(1, 2).reshape(n, t, WIDTH))
        return z + self.outputs(F.relu(self.hidden(self.second(z))) ** 2)


class Model(nn.Module):
    """Logits of the next token."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layers = nn.Embedding(C + 1, WIDTH), nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm, self.output = nn.RMSNorm(WIDTH), nn.Linear(WIDTH, C, bias=False)

    def forward(self, tokens, caches=None, place=0):
        z, places = self.embedding(tokens), torch.arange(place, place + tokens.shape[1]).float()
        for i, layer in enumerate(self.layers):
            z = layer(z, places, None if caches is None else (*caches[i], place))
        return self.output(self.norm(z))


def learning(model, forward, data):
    """So many steps of Adam on batches of the data."""
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), 0.0
    for step in range(EPOCHS * STEPS):
        tokens = data[step % STEPS * BATCH : (step % STEPS + 1) * BATCH]
        before = F.pad(tokens, (1, 0), value=C)[:, :-1]
        value = F.cross_entropy(forward(before).flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        loss = float(value.detach())
    return loss


@torch.inference_mode()
def drawing(model):
    """Tokens one after another, with keys and values kept."""
    size = BATCH, HEADS, DRAWN + 1, WIDTH // HEADS
    caches = [(torch.zeros(size), torch.zeros(size)) for _ in range(LAYERS)]
    token = torch.full((BATCH, 1), C)
    for place in range(DRAWN):
        logits = model(token, caches, place)[:, -1]
        token = torch.multinomial(logits.softmax(-1), 1)
    return token


def main() -> None:
    torch.set_num_threads(2)
    data = np.random.default_rng(0).integers(0, C, (STEPS * BATCH, T))
    rows, tensor = data[..., None].astype("float32"), torch.tensor(data)
    own, peer = dg.language_model(jax.random.key(0), C, width=WIDTH, num_layers=LAYERS), Model()
    compiled = torch.compile(peer)
    method = dg.Optax(optax.adam(1e-3), batch_size=BATCH, key=jax.random.key(1))
    learn = {
        "dgjax": lambda: jax.block_until_ready(dg.fit(own, rows, method=method, max_steps=EPOCHS * STEPS).objective),
        "PyTorch, eager": lambda: learning(peer, peer, tensor),
        "PyTorch, compiled": lambda: learning(peer, compiled, tensor),
    }
    draw = {
        "dgjax": lambda: jax.block_until_ready(dg.complete(own, jax.random.key(0), np.zeros((BATCH, 0, 1)), DRAWN)),
        "PyTorch, eager": lambda: drawing(peer),
    }
    for name, each, tokens in (("learning", learn, EPOCHS * STEPS * BATCH * T), ("drawing", draw, DRAWN * BATCH)):
        times: dict[str, list[float]] = {who: [] for who in each}
        for call in each.values():
            call()
        for _ in range(5):
            for who, call in each.items():
                began = time.perf_counter()
                call()
                times[who].append(time.perf_counter() - began)
        for who, found in times.items():
            print(f"{name}, {who}: {tokens / statistics.median(found):,.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
