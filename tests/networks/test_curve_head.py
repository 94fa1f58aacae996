"""The last layers of networks that answer with curves, and the periodic convolutional network on them."""

import torch

from microprint.networks.convolutions import wrapped
from microprint.networks.curve_cnn import CurveCNN
from microprint.networks.curve_head import CurveHead

G = torch.Generator().manual_seed(0)


def test_it_begins_as_the_linear_regression_of_the_curves():
    """Curves that are linear in the averages, with a point at which they are all alike, are met before any training."""
    averages = torch.randn(40, 3, generator=G)
    curves = 5e7 + 1e6 * averages @ torch.randn(3, 6, generator=G)
    curves[:, 0] = 0.0
    head = CurveHead(3, 4, 6, modes=4)
    head.start(averages[:30], curves[:30])
    answer = head(averages[30:], torch.randn(10, 4))
    torch.testing.assert_close(answer, curves[30:], rtol=1e-4, atol=1e3)
    assert answer[:, 0].abs().max() == 0 and head.losses(answer, curves[30:])["loss"] < 1e-4


def test_the_mean_misses_all_of_the_variance():
    curves = torch.randn(50, 6, generator=G)
    head = CurveHead(3, 4, 6, modes=2)
    head.start(torch.zeros(50, 3), curves)
    torch.testing.assert_close(head.losses(curves.mean(0).expand(50, 6), curves)["loss"], torch.tensor(1.0))


def test_more_modes_than_curves_are_left_out():
    head = CurveHead(3, 4, 6, modes=4)
    head.start(torch.randn(2, 3, generator=G), torch.randn(2, 6, generator=G))
    assert head(torch.zeros(1, 3), torch.zeros(1, 4)).isfinite().all()


def network():
    torch.manual_seed(0)
    net = CurveCNN(5, 8, 2, points=6, modes=2)
    torch.nn.init.normal_(net.head.out.weight)
    net.head.modes.normal_()
    return net


def test_a_convolution_goes_round_the_cell():
    """Against the same sum by shifts."""
    x, kernel = torch.randn(1, 1, 4, 4, 4, generator=G), torch.randn(1, 1, 3, 3, 3, generator=G)
    shifted = sum(
        kernel[0, 0, i, j, k] * x.roll((1 - i, 1 - j, 1 - k), (2, 3, 4)) for i in range(3) for j in range(3) for k in range(3)
    )
    torch.testing.assert_close(torch.nn.functional.conv3d(wrapped(x), kernel), shifted, rtol=1e-4, atol=1e-4)


def test_a_shift_by_blocks_changes_nothing_and_an_exchange_of_voxels_does():
    field, net = torch.randn(2, 5, 8, 8, 8, generator=G), network()
    torch.testing.assert_close(net({"field": field.roll((2, 4, 6), (2, 3, 4))}), net({"field": field}), rtol=1e-4, atol=1e-5)
    exchanged = field.flatten(2)[:, :, torch.randperm(512, generator=G)].view_as(field)
    assert (net({"field": exchanged}) - net({"field": field})).abs().max() > 1e-4
