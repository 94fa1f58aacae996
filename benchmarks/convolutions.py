"""VGG19 on a CPU: its convolutions by Winograd's tiles beside torch's, in turn, for images as notebook 08 trains with.

    python benchmarks/convolutions.py [--threads 1] [--rounds 7]

Prints milliseconds of the maps and of their gradient, medians, and the ratio with its range over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from unittest import mock

import torch

from microprint.networks import winograd
from microprint.networks.vgg import VGG19

IMAGES = {"drawings (18 of 64 x 64)": (18, 64), "TextureVAE (8 of 128 x 128)": (8, 128)}


def milliseconds(vgg: VGG19, images: torch.Tensor, tiled: bool) -> float:
    """Of all maps of a style loss, and of the gradient by the images."""
    with mock.patch.object(winograd, "suits", winograd.suits if tiled else lambda maps, weight: False):
        begin = time.perf_counter()
        sum(maps.square().mean() for maps in vgg(images).values()).backward()
        return 1e3 * (time.perf_counter() - begin)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    vgg = VGG19.load()
    print("| images | torch / ms | tiles / ms | ratio | range |\n|---|---|---|---|---|")
    for name, (count, edge) in IMAGES.items():
        images = torch.rand(count, 1, edge, edge, requires_grad=True)
        milliseconds(vgg, images, True)  # compiles, and transforms the filters
        pairs = [(milliseconds(vgg, images, False), milliseconds(vgg, images, True)) for _ in range(options.rounds)]
        plain, tiled = (statistics.median(times) for times in zip(*pairs))
        ratios = [a / b for a, b in pairs]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {name} | {plain:.0f} | {tiled:.0f} | {plain / tiled:.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
