"""A transformer in loops of plain NumPy, float64: one row, one token, one head at a time."""

import numpy as np


def normalised(z, scale):
    return z / np.sqrt((z**2).mean() + 1e-6) * scale


def turned(head, place):
    """A head's numbers with each pair turned by an angle."""
    c, out = len(head), np.array(head)
    for i in range(c // 2):
        angle = place * 1e4 ** (-2 * i / c)
        one, other = head[i], head[i + c // 2]
        out[i] = one * np.cos(angle) - other * np.sin(angle)
        out[i + c // 2] = one * np.sin(angle) + other * np.cos(angle)
    return out


def activated(x, name):
    return np.maximum(x, 0) ** 2 if name == "squared_relu" else x / (1 + np.exp(-x))


def outputs(network, x, y=None, mask=None):
    """Of tokens x (t, f) or numbers (t,), a label's one-hot y (k,), and a mask (t, t)."""
    part = {name: np.asarray(getattr(network.layers, name), float) for name in vars(network.layers) if name[0] != "_"}
    embedding = np.asarray(network.embedding, float)
    z = []
    for place, token in enumerate(x):
        own = embedding[token] if np.ndim(x) == 1 else token @ embedding
        own = own if network.positions is None else own + np.asarray(network.positions, float)[place]
        z.append(own if y is None else own + y @ np.asarray(network.offset, float))
    for layer in range(len(part["scales"])):
        z = attended(network, z, layer, part, mask)
        for place, own in enumerate(z):
            hidden = activated(normalised(own, part["scales"][layer, 1]) @ part["hidden"][layer], network.activation)
            z[place] = own + hidden @ part["outputs"][layer]
    last = embedding.T if network.output is None else np.asarray(network.output, float)
    return np.stack([normalised(own, np.asarray(network.scale, float)) @ last for own in z])


def attended(network, z, layer, part, mask):
    """Vectors with what attention adds to each."""
    a, h = network.num_heads, len(z[0])
    c, projected = h // a, [normalised(own, part["scales"][layer, 0]) @ part["projections"][layer] for own in z]
    found = []
    for t, own in enumerate(z):
        heads = []
        for head in range(a):
            cut = slice(head * c, (head + 1) * c)
            turn = turned if network.rotary else lambda head, place: head
            query, logits, values = turn(projected[t][:h][cut], t), [], []
            for u, other in enumerate(projected):
                if mask is None or mask[t, u]:
                    logits.append(query @ turn(other[h : 2 * h][cut], u) / np.sqrt(c))
                    values.append(other[2 * h :][cut])
            shares = np.exp(np.array(logits) - max(logits))
            heads.append(shares / shares.sum() @ np.array(values))
        found.append(own + np.concatenate(heads) @ part["attended"][layer])
    return found
