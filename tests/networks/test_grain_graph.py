"""Grains, contacts, and the graph network."""

import torch

from microprint import orientations
from microprint.microstructures.volume_elements import VolumeElements
from microprint.networks.grain_graph import GrainGraph, GrainGraphNet, grain_graph, volume_shares


def elements(ids):
    grains = int(ids.max()) + 1
    return VolumeElements.of(ids[None], orientations.random((1, grains), torch.Generator().manual_seed(0)), "hexagonal")


def test_slabs_touch_along_their_normal():
    """Three slabs across y of 4, 2 and 2 layers: each has half of its surface in common with each of the others."""
    ids = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])[None, :, None].expand(8, 8, 8)
    graph = grain_graph(elements(ids))
    torch.testing.assert_close(graph.share[0], torch.tensor([0.5, 0.25, 0.25]))
    torch.testing.assert_close(graph.contact[0], 0.5 * (1 - torch.eye(3)))
    torch.testing.assert_close(graph.normal[0, 0, 1], torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(graph.normal[0, 0, 2], torch.tensor([0.0, -1.0, 0.0]))  # round the end


def test_a_staircase_of_voxels_has_the_normal_of_its_plane():
    x, y = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    ids = ((x + y) % 12 // 4)[..., None].expand(12, 12, 4)
    graph = grain_graph(elements(ids))
    torch.testing.assert_close(graph.normal[0, 0, 1], torch.tensor([0.5, 0.5, 0.0]).sqrt())
    torch.testing.assert_close(graph.normal, -graph.normal.transpose(1, 2))


def inputs(graph):
    features = torch.randn(*graph.share.shape, 5, generator=torch.Generator().manual_seed(1))
    return {"features": features, **graph._asdict()}


def network():
    torch.manual_seed(0)
    net = GrainGraphNet(5, 8, 2, points=6, modes=2)
    torch.nn.init.normal_(net.head.out.weight)
    net.head.modes.normal_()
    return net


def random_graph():
    ids = torch.randint(6, (8, 8, 8), generator=torch.Generator().manual_seed(2)) * (torch.arange(8) < 6)
    return grain_graph(elements(ids))


def test_the_order_of_grains_and_rows_without_a_grain_do_not_matter():
    batch, net, order = inputs(random_graph()), network(), torch.tensor([3, 1, 5, 0, 4, 2])
    other = {"features": batch["features"][:, order], "share": batch["share"][:, order]}
    other |= {name: batch[name][:, order][:, :, order] for name in ("contact", "normal")}
    torch.testing.assert_close(net(other), net(batch), rtol=1e-4, atol=1e-5)
    pad = lambda x, axes: torch.nn.functional.pad(x, (0, 0) * (x.ndim - 1 - axes) + (0, 2) * axes)  # noqa: E731
    padded = {"features": pad(batch["features"], 1), "share": pad(batch["share"], 1)}
    padded |= {name: pad(batch[name], 2) for name in ("contact", "normal")}
    torch.testing.assert_close(net(padded), net(batch), rtol=1e-4, atol=1e-5)


def test_contacts_and_their_directions_are_heard_but_not_the_sign():
    batch, net = inputs(random_graph()), network()
    torch.testing.assert_close(net(batch | {"normal": -batch["normal"]}), net(batch))
    assert (net(batch | {"normal": batch["normal"].roll(1, -1)}) - net(batch)).abs().max() > 1e-4
    assert (net(batch | {"contact": 0 * batch["contact"]}) - net(batch)).abs().max() > 1e-4


def test_shares_are_those_of_the_voxels():
    ids = torch.tensor([0, 1, 1, 1])[None, None, :].expand(2, 2, 4)
    torch.testing.assert_close(volume_shares(elements(ids)), torch.tensor([[0.25, 0.75]]))
    assert isinstance(grain_graph(elements(ids)), GrainGraph)
