"""A VGG19 of random weights, for tests that need no trained ones."""

import torch

from microprint.networks.vgg import CHANNELS
from microprint.networks.vgg_weights import CONVOLUTIONS


def random_tensors(seed=0):
    """Weights of the right shapes that keep activations of order one."""
    generator = torch.Generator().manual_seed(seed)
    tensors, channels = {"mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.25)}, 3
    for name in CONVOLUTIONS:
        shape = (CHANNELS[name], channels, 3, 3)
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / (9 * channels)) ** 0.5
        tensors[f"{name}.bias"] = torch.zeros(CHANNELS[name])
        channels = CHANNELS[name]
    return tensors
