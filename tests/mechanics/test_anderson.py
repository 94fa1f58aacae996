"""Anderson's acceleration of fixed points, many systems at a time."""

import torch

from microprint.mechanics.anderson import Anderson


def problem(systems=4, size=6, seed=0):
    """x <- x + c(x) with c = b - A x, whose plain iteration diverges or crawls; and the exact solutions."""
    generator = torch.Generator().manual_seed(seed)
    matrix = 0.15 * torch.randn(systems, size, size, generator=generator, dtype=torch.float64)
    matrix = matrix @ matrix.mT + torch.diag(torch.linspace(0.1, 2.2, size, dtype=torch.float64))
    b = torch.randn(systems, size, generator=generator, dtype=torch.float64)
    return matrix, b, torch.linalg.solve(matrix, b[..., None])[..., 0]


def march(matrix, b, steps):
    anderson, x = Anderson(lambda p, q: (p * q).sum(-1)), torch.zeros_like(b)
    taken = torch.zeros_like(b)
    for number in range(steps):
        c = b - (matrix @ x[..., None])[..., 0]
        taken = anderson.step(c, taken, torch.full((len(b), 1), number > 0))
        x = x + taken
    return x


def test_it_converges_where_the_plain_iteration_does_not():
    matrix, b, solution = problem()
    plain = torch.zeros_like(b)
    for _ in range(40):
        plain = plain + b - (matrix @ plain[..., None])[..., 0]
    assert (plain - solution).norm() > 1e2
    assert (march(matrix, b, 40) - solution).norm() < 1e-6


def test_systems_do_not_touch_one_another():
    matrix, b, _ = problem()
    torch.testing.assert_close(march(matrix, b, 5)[2:3], march(matrix[2:3], b[2:3], 5), rtol=1e-9, atol=0)


def test_an_invalid_step_leaves_no_trace():
    anderson = Anderson(lambda p, q: (p * q).sum(-1))
    c = torch.ones(2, 3, dtype=torch.float64)
    anderson.step(c, torch.zeros_like(c), torch.tensor([[False], [False]]))
    step = anderson.step(0.5 * c, c, torch.tensor([[False], [True]]))
    torch.testing.assert_close(step[0], 0.5 * c[0])
    torch.testing.assert_close(step[1], c[1], rtol=1e-6, atol=0)  # the secant through 1 and 1/2 points on by 1


def test_selection_keeps_the_history():
    anderson = Anderson(lambda p, q: (p * q).sum(-1))
    c = torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    yes = torch.ones(3, 1, dtype=torch.bool)
    anderson.step(c, torch.zeros_like(c), ~yes)
    anderson.step(0.7 * c, c, yes)
    part = anderson.select(torch.tensor([0, 2]))
    torch.testing.assert_close(part.step(0.2 * c[[0, 2]], c[[0, 2]], yes[:2]), anderson.step(0.2 * c, c, yes)[[0, 2]])
