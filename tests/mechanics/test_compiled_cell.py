"""The compiled cell against the one of tensor operations: fields and solutions, not spectra, are the same."""

import math

import pytest
import torch

from microprint.mechanics.compiled.cell import CompiledCell
from microprint.mechanics.spectral import PeriodicCell

SHAPES = [(8, 8, 8), (4, 6, 16), (5, 3, 7), (1, 9, 10)]


def field(shape, *leading, seed=0):
    return torch.randn(*leading, math.prod(shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scheme", ["fourier", "rotated"])
@pytest.mark.parametrize("shape", SHAPES)
def test_divergence_is_the_adjoint_of_the_gradient_and_as_large_as_it_was(scheme, shape):
    cell, other = CompiledCell(shape, scheme), PeriodicCell(shape, scheme)
    u, stress = field(shape, 3, 2), field(shape, 3, 3, 2, seed=1)
    force = cell.divergence(stress)
    torch.testing.assert_close((stress * cell.gradient(u)).sum((0, 1)).mean(-1), (force * u).sum((0, 2)))
    torch.testing.assert_close(cell.projected_rms(force), other.projected_rms(other.divergence(stress)))
    # The forces' own displacement: the gradients are fields, and the same.
    torch.testing.assert_close(cell.gradient(force), other.gradient(other.divergence(stress)))


@pytest.mark.parametrize("free", [[0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 1, 0]])
@pytest.mark.parametrize("scheme", ["fourier", "rotated"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equilibrium_is_the_same(scheme, shape, free):
    cells = CompiledCell(shape, scheme), PeriodicCell(shape, scheme)
    root = field(shape, 6, 6, 2)
    tangent = torch.einsum("ikbv,jkbv->ijbv", root, root) + torch.eye(6).double()[:, :, None, None]
    stress, gap, free = field(shape, 3, 3, 2, seed=1), field((1, 1, 2), 6), torch.tensor(free).double()[:, None]
    moduli = torch.tensor([2.0, 3.0]).double(), torch.tensor([0.7, 0.2]).double()
    answers = []
    for cell in cells:
        u, mean, used, change = cell.equilibrate(tangent.float(), cell.divergence(stress), gap * free, moduli, free, 1e-5, 500)
        answers.append((cell.gradient(u), mean, change.double()))
        assert (used > 5).all() and (used < 500).all()
    for one, other in zip(*answers):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3 * float(other.abs().amax()))


@pytest.mark.parametrize("shape", [(4, 4, 8), (4, 4, 7)])
def test_what_is_not_finite_stays_in_its_element(shape):
    """Elements follow one another in the same memory, in which nothing may be left."""
    cell, wrong = CompiledCell(shape, "fourier"), torch.tensor([torch.nan, 1.0]).double()
    tangent = 2.0 * torch.eye(6)[:, :, None, None].expand(-1, -1, 2, math.prod(shape)).contiguous()
    stress, one = field(shape, 3, 3, 2), torch.ones(1).double()
    moduli, free = (one.expand(2), one.expand(2)), torch.ones(6, 1).double()

    def answer(force):
        u, mean, used, change = cell.equilibrate(tangent, force, torch.ones(6, 2).double(), moduli, free, 1e-5, 500)
        return cell.gradient(u).movedim(2, 0), mean.T, used, change.movedim(1, 0)

    force = cell.divergence(stress)
    clean = answer(force)
    for ours, theirs in zip(answer(force * wrong[:, None]), clean):
        assert torch.equal(ours[1], theirs[1])
    cell.divergence(stress * wrong.flip(0)[:, None])  # what is left in the memory when the next call begins
    for ours, theirs in zip(answer(force), clean):
        assert torch.equal(ours, theirs)


def test_fields_may_lie_in_any_order():
    cell, stress = CompiledCell((4, 4, 8), "fourier"), field((4, 4, 8), 3, 3, 2)
    other = stress.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    assert torch.equal(cell.divergence(other), cell.divergence(stress))
