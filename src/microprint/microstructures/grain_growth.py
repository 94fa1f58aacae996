"""Grains that have grown: volume elements (VEs) by the Potts model, with curved faces and most grains not convex.

Every voxel begins as a grain of its own. In a sweep each voxel in turn is offered the grain of a neighbour, drawn at random,
and takes it unless its boundary, the number of its 26 neighbours in other grains, would grow: the Metropolis rule at zero
temperature (Anderson, Srolovitz, Grest & Sahni 1984, doi:10.1016/0001-6160(84)90151-2; on the cubic lattice with 26
neighbours, Holm & Battaile 2001, doi:10.1007/s11837-001-0063-2). Voxels of a sublattice, no two of them neighbours, take
their turns at once. All is counted in integers, and drawn on the CPU: a seed gives the same VEs on every device.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from microprint.microstructures.volume_elements import number_without_gaps

_NEIGHBOURS = sorted((o for o in product((-1, 0, 1), repeat=3) if any(o)), key=lambda o: sum(map(abs, o)))
_FACES = 6  # of the neighbours, the first ones, share a face with the voxel


def anneal(
    count: int, edge: int, grains: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Grain numbers (count, n, n, n) without gaps, and the number of grains (count,), of grains grown in a periodic cube.

    Each VE grows until `grains` or a few less are left in it; n = `edge` voxels. The generator is on the CPU.
    """
    state = torch.arange(edge**3, device=device).repeat(count, 1)
    sublattices = [(voxels.to(device), neighbours.to(device)) for voxels, neighbours in _sublattices(edge)]
    while (growing := _grains(state) > grains).any():
        for voxels, neighbours in sublattices:
            pick = torch.randint(len(_NEIGHBOURS), (len(voxels), count), generator=generator).to(device)
            _offer(state, growing, voxels, neighbours, neighbours.gather(1, pick).T)
    for voxels, neighbours in sublattices:
        state[:, voxels] = _without_specks(state[:, voxels], state[:, neighbours])
    return number_without_gaps(state.reshape(count, edge, edge, edge), edge**3)


def _offer(state: Tensor, growing: Tensor, voxels: Tensor, neighbours: Tensor, giver: Tensor) -> None:
    """Offer the voxels (V,) of states (B, n^3) that are growing (B,) the grains of one neighbour each, their giver (B, V)."""
    own, offered = state[:, voxels], state.gather(1, giver)
    element, number = ((own != offered) & growing[:, None]).nonzero().unbind(1)  # the others need not be looked at
    own, offered = own[element, number], offered[element, number]
    around = state[element[:, None], neighbours[number]]
    accepted = (around == offered[:, None]).sum(1) >= (around == own[:, None]).sum(1)
    state[element, voxels[number]] = torch.where(accepted, offered, own)


def _without_specks(own: Tensor, around: Tensor) -> Tensor:
    """Grains (B, V) of voxels; who shares no face with its own grain joins that of its face neighbours with most votes of all.

    A speck is no face neighbour of its own grain, and who has joined a grain is no speck any more: one sweep leaves none.
    """
    faces = around[..., :_FACES]
    speck = (faces != own[..., None]).all(2)
    offered = faces[speck]
    votes = (offered[:, :, None] == around[speck][:, None]).sum(2)
    return own.masked_scatter(speck, offered.gather(1, votes.argmax(1, keepdim=True)))


def _grains(state: Tensor) -> Tensor:
    """Number of grains (B,) in each VE of states (B, n^3)."""
    return torch.zeros_like(state, dtype=torch.bool).scatter_(1, state, True).sum(1)


def _sublattices(edge: int) -> list[tuple[Tensor, Tensor]]:
    """Voxels (V,) of each sublattice, and their neighbours (V, 26), in flat numbers of the periodic cube.

    Eight where the edge is even. Where it is odd, the last layer of each axis adjoins the first, and is one of its own.
    """
    voxel = torch.arange(edge)
    kind = torch.where((voxel == edge - 1) & (edge % 2 == 1), 2, voxel % 2)
    layers = [voxel[kind == k] for k in kind.unique()]
    sublattices = []
    for axes in product(layers, repeat=3):
        x, y, z = ((torch.cartesian_prod(*axes)[:, None] + torch.tensor([(0, 0, 0), *_NEIGHBOURS])) % edge).unbind(-1)
        number = (x * edge + y) * edge + z
        sublattices.append((number[:, 0], number[:, 1:]))
    return sublattices
