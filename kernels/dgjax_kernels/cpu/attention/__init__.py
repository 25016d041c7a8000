"""Attention on a CPU, with the signatures of `dgjax_kernels.attention`; numba is imported when it is traced."""

import math

import jax.numpy as jnp

from dgjax_kernels._op import like
from dgjax_kernels.attention import attention as of_attention, gradient as of_gradient
from dgjax_kernels.cpu.calls import called


@like(of_attention)
def attention(q, k, v, mask):
    from dgjax_kernels.cpu.attention.softmax import handler

    arguments = _arguments(q, k, v, mask)
    return called(handler, [arguments[0].shape], *arguments)[0].reshape(q.shape)


@like(of_gradient)
def gradient(q, k, v, mask, cotangent):
    from dgjax_kernels.cpu.attention.softmax import handler_back

    arguments = *_arguments(q, k, v, mask), cotangent.reshape(-1, *q.shape[-3:])
    found = called(handler_back, [one.shape for one in arguments[:3]], *arguments)
    return tuple(own.reshape(one.shape) for own, one in zip(found, (q, k, v), strict=True))


def _arguments(q, k, v, mask):
    """Heads (n, t, a, c), masks (g, t, u) as bytes, and which of these is that of each n."""
    masks, leading = math.prod(mask.shape[:-2]), q.shape[:-3]
    which = jnp.broadcast_to(jnp.arange(masks, dtype=jnp.int32).reshape(mask.shape[:-2]), leading)
    heads = (one.reshape(-1, *one.shape[-3:]) for one in (q, k, v))
    return *heads, mask.reshape(-1, *mask.shape[-2:]).astype(jnp.uint8), which.reshape(-1)
