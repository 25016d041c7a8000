"""Operations on a CPU by numba, by subject, each with the signature of its reference."""

from dgjax_kernels.cpu import (
    attention as attention,
    chain as chain,
    gaussian as gaussian,
    independent as independent,
    regression as regression,
    summary as summary,
)
