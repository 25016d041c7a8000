"""Plain PyTorch, on the GPU where it has one: EM of Gaussian mixtures, and logistic regression."""

import math

import numpy as np
import torch


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def given(array) -> torch.Tensor:
    """A copy of an array there."""
    return torch.tensor(np.asarray(array), device=device())


def em(x, mean, covariance, steps):
    """So many steps from equal weights and unit covariances, full or diagonal, label after label; the means (k, d)."""
    rows, start = given(x), given(mean)
    d = rows.shape[1]

    def scores(mean, factors):
        found = []
        for own, factor in zip(mean, factors, strict=True):
            if covariance == "full":
                z = torch.linalg.solve_triangular(factor, (rows - own).T, upper=False)
                found.append(-0.5 * (z**2).sum(0) - factor.diagonal().log().sum())
            else:
                found.append(-0.5 * (((rows - own) / factor) ** 2).sum(1) - factor.log().sum())
        return torch.stack(found, 1) - d / 2 * math.log(2 * math.pi)

    def factor_of(c, own):
        residual = rows - own
        if covariance == "full":
            return torch.linalg.cholesky((c[:, None] * residual).T @ residual / c.sum())
        return ((c[:, None] * residual**2).sum(0) / c.sum()).sqrt()

    def run():
        mean, one = start, torch.eye(d).to(rows) if covariance == "full" else torch.ones(d).to(rows)
        log_weights, factors = torch.zeros(len(start)).to(rows), [one] * len(start)
        for _ in range(steps):
            c = torch.softmax(log_weights + scores(mean, factors), 1)
            mean = (c.T @ rows) / c.sum(0)[:, None]
            factors = [factor_of(own, m) for own, m in zip(c.T, mean, strict=True)]
            log_weights = c.mean(0).log()
        return mean.cpu().numpy()

    return run


def newton(x, y, l2, steps):
    """So many steps of two-class logistic regression with a ridge, from 0; the weights (d,)."""
    rows = given(x)
    z = torch.cat([torch.ones(len(rows), 1).to(rows), rows], 1)
    labels = given(y).to(rows)
    ridge = torch.full((z.shape[1],), float(l2)).to(rows)
    ridge[0] = 0

    def run():
        weight = torch.zeros(z.shape[1]).to(rows)
        for _ in range(steps):
            p = torch.sigmoid(z @ weight)
            gradient = z.T @ (labels - p) - ridge * weight
            curvature = (z * (p * (1 - p))[:, None]).T @ z + torch.diag(ridge)
            weight = weight + torch.linalg.solve(curvature, gradient)
        return weight[1:].cpu().numpy()

    return run


def lbfgs(x, y, k, l2, steps):
    """So many iterations of softmax regression with a ridge on the weights, from 0; the objective, as dgjax has it."""
    rows, labels = given(x), given(y).long()

    def run():
        weight = torch.zeros(k, rows.shape[1]).to(rows).requires_grad_()
        bias = torch.zeros(k).to(rows).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=steps, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def loss():
            optimizer.zero_grad()
            cost = torch.nn.functional.cross_entropy(rows @ weight.T + bias, labels, reduction="sum")
            value = (cost + l2 / 2 * (weight**2).sum()) / len(rows)
            value.backward()
            return value

        optimizer.step(loss)
        return -float(loss().detach()) * len(rows)

    return run
