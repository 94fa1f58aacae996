"""The networks' operations on a CPU, ours beside torch's, in turn: convolutions of VGG19, of our drawings and of S2's decoder,
and the two of which an encoding of volume elements consists, the weights of sites and the loss of their cells.

    python benchmarks/networks.py [--threads 1] [--rounds 7]

Prints milliseconds of the result and of all gradients, medians, and the ratio with its range over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from microprint.microstructures.periodic import voxel_centres
from microprint.networks import power_diagram, weight_net, winograd
from microprint.networks.convolutions import EnlargingConvolution, PeriodicConvolution, convolve_enlarged
from microprint.networks.power_diagram import assignment_loss, owners
from microprint.networks.vgg import VGG19
from microprint.networks.weight_net import WeightNet

Work = Callable[[], Tensor]  # whose sum's gradients are asked for


def tasks() -> Iterator[tuple[str, Work, Work]]:
    """What is measured, ours and torch's."""
    vgg = VGG19.load()
    for name, (count, edge) in {"VGG19, 18 images of 64 x 64": (18, 64), "VGG19, 8 of 128 x 128": (8, 128)}.items():
        images = torch.rand(count, 1, edge, edge, requires_grad=True)
        yield name, *(partial(style, vgg, images, tiled) for tiled in (True, False))
    maps = torch.randn(18, 64, 128, 128, requires_grad=True)
    plain, enlarging = PeriodicConvolution(64, 32), EnlargingConvolution(64, 32)
    yield "periodic, 64 channels of 128 x 128", partial(plain, maps), partial(periodic, plain, maps)
    small = torch.randn(18, 64, 64, 64, requires_grad=True)
    yield "the same of maps enlarged from 64 x 64", partial(enlarging, small), partial(periodic, enlarging, small, scale=2)
    volumes, weight, last = (
        torch.randn(size, requires_grad=True) for size in ((8, 16, 12, 12, 12), (8, 16, 3, 3, 3), (1, 16, 4, 4, 4))
    )
    for name, kernel, padding in (
        ("3x3x3 of volumes enlarged from 12^3", weight, 1),
        ("4x4x4 to one channel of the same", last, 3),
    ):
        bias = torch.zeros(len(kernel), requires_grad=True)
        yield name, *(partial(function, volumes, kernel, bias, padding) for function in (convolve_enlarged, enlarged))
    site, metric = torch.rand(16, 42, 3, requires_grad=True), torch.ones(16, 3, requires_grad=True)
    net, weight = WeightNet(32, 3).requires_grad_(False), torch.zeros(16, 42, requires_grad=True)
    yield "weights of 16 x 42 sites", partial(net, site, metric), partial(as_tensors, partial(net, site, metric))
    grain = owners(*(tensor.detach() for tensor in (site, metric, weight)), voxel_centres(16).expand(3, -1))
    moved, sharpness, own = site + 0.02, torch.tensor(720.0), torch.eye(42, dtype=torch.bool).expand(16, -1, -1).contiguous()
    loss = partial(assignment_loss, moved.detach().requires_grad_(), metric, weight, sharpness, grain, own)
    yield "loss of their cells, 16^3 voxels each", loss, partial(as_tensors, loss)


def style(vgg: VGG19, images: Tensor, tiled: bool) -> Tensor:
    """Of all maps of a style loss."""
    with mock.patch.object(winograd, "suits", winograd.suits if tiled else lambda maps, weight: False):
        return sum(maps.square().mean() for maps in vgg(images).values())


def periodic(layer: PeriodicConvolution, maps: Tensor, scale: int = 1) -> Tensor:
    """A layer as torch has it, of maps that are enlarged so many times."""
    maps = F.interpolate(maps, scale_factor=scale) if scale > 1 else maps
    return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="circular"), layer.weight, layer.bias)


def enlarged(maps: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """`convolve_enlarged` as torch has it."""
    return F.conv3d(F.interpolate(maps, scale_factor=2), weight, bias, padding=padding)


def as_tensors(work: Work) -> Tensor:
    """The same by tensor operations, as on a GPU."""
    with mock.patch.object(weight_net, "compiled_here", never), mock.patch.object(power_diagram, "compiled_here", never):
        return work()


def never(_: Tensor) -> bool:
    """For `compiled_here`."""
    return False


def milliseconds(work: Work) -> float:
    """Of an answer and of its gradients."""
    begin = time.perf_counter()
    work().sum().backward()
    return 1e3 * (time.perf_counter() - begin)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| operation | torch / ms | ours / ms | ratio | range |\n|---|---|---|---|---|")
    for name, ours, theirs in tasks():
        milliseconds(ours), milliseconds(theirs)  # compiles, and transforms filters
        pairs = [(milliseconds(theirs), milliseconds(ours)) for _ in range(options.rounds)]
        plain, quick = (statistics.median(times) for times in zip(*pairs))
        ratios = [a / b for a, b in pairs]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {name} | {plain:.0f} | {quick:.0f} | {plain / quick:.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
