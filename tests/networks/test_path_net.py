"""The recurrent network for load paths: memory, symmetry, what it can learn."""

import pytest
import torch

from microprint import orientations
from microprint.mechanics.deviators import rotation
from microprint.networks.path_net import PathNet
from microprint.systems.path_rival import PRODUCT


def network(members=2, averages=1):
    torch.manual_seed(3)
    net = PathNet(members, averages, 6, 8, PRODUCT)
    net.scale(2e-3, 5e7)
    return net


def paths(members=2, count=3, increments=6):
    generator = torch.Generator().manual_seed(0)
    strain = torch.cat([torch.zeros(members, count, 1, 5), torch.randn(members, count, increments, 5, generator=generator).cumsum(2) * 1e-3], 2)
    texture = torch.randn(members, count, 1, 5, 5, generator=generator)
    return strain, texture + texture.mT


def test_what_comes_later_changes_nothing_before_and_the_start_is_free_of_stress():
    net, (strain, texture) = network(), paths()
    other = strain.clone()
    other[:, :, 4:] += 1e-3
    one, two = net(strain, texture), net(other, texture)
    torch.testing.assert_close(one[:, :, :4], two[:, :, :4], rtol=0, atol=0)
    assert (one[:, :, 4:] != two[:, :, 4:]).any() and one[:, :, 0].abs().max() == 0 and one[:, :, 1:].abs().min() > 0


def test_a_turned_sample_gives_the_turned_stress():
    net, (strain, texture) = network(), paths()
    turn = rotation(orientations.random((), torch.Generator().manual_seed(1)))
    turned = net(strain @ turn.T, turn @ texture @ turn.T)
    torch.testing.assert_close(turned, net(strain, texture) @ turn.T, rtol=1e-3, atol=1e3)


def test_tension_is_not_compression():
    net, (strain, texture) = network(), paths()
    forth, back = net(strain, texture), net(-strain, texture)
    assert (forth + back).norm() > 0.01 * forth.norm()


def test_members_do_not_see_each_other_s_paths():
    net, (strain, texture) = network(), paths()
    other = strain.clone()
    other[1] *= 2
    one, two = net(strain, texture), net(other, texture)
    torch.testing.assert_close(one[0], two[0])
    assert (one[1] - two[1]).abs().max() > 1e5


def test_what_is_not_known_costs_nothing_and_an_elastic_path_is_learnt():
    net, (strain, texture) = network(1), paths(1, 24)
    batch = {"strain": strain, "texture": texture, "stress": 3e10 * strain, "known": torch.ones(1, 24, 6)}
    batch["known"][:, :, 4:] = 0
    worse = batch | {"stress": batch["stress"].clone()}
    worse["stress"][:, :, 5:] = 1e9
    generator = torch.Generator()
    assert net.losses(worse, generator)["loss"] == net.losses(batch, generator)["loss"]
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    start = float(net.losses(batch, generator)["error"])
    for _ in range(60):
        optimizer.zero_grad()
        losses = net.losses(batch, generator)
        losses["loss"].backward()
        optimizer.step()
    assert float(losses["error"]) < 0.3 * start and start == pytest.approx(1, abs=0.5)
