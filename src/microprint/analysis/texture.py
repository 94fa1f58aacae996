"""How alike two textures are, and what a texture's fingerprint knows of its material.

All similarities are 1 for equal images and fall as the images differ. (The public DISTS is the *distance*
1 - similarity; S3's Table 1 lists similarities.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import factorial, pi

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from microprint.errors import UserError
from microprint.networks.vgg import VGG19

DISTS_LAYERS = ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4")
ORIENTATIONS, SCALES = 4, 3
TINY = 1e-6  # keeps ratios of two vanishing moments at one
NOTHING = 1e-3 / 255**2  # the same in STSIM-2, as its authors have it for grey values up to 255
WINDOW = 7  # coefficients, of STSIM-2 in windows


def mean_squared(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference (B,) of the pixels of images (B, 1, h, w): no measure of texture at all."""
    return (x - y).square().mean((1, 2, 3))


# --- DISTS -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def dists(vgg: VGG19, x: Tensor, y: Tensor) -> Tensor:
    """Deep image structure and texture similarity (Ding, Ma, Wang & Simoncelli 2020, eqs. 5-7), (B,), at most 1.

    Means of the feature maps are compared as texture, their covariance as structure. The published weights of the
    channels were fitted to human judgements of the maps of VGG16's ImageNet filters, and mean nothing for other maps; here
    all channels weigh the same, half for either term, and VGG19 stands for VGG16. So values are not those of the public DISTS.
    Structure meets pixel with pixel: a blurred copy scores above another piece of the same texture.
    Images (B, 1, h, w) in [0, 1], of 16 pixels or more an edge.
    """
    terms = [_structure_and_texture(a, b) for a, b in zip(_dists_maps(vgg, x), _dists_maps(vgg, y))]
    return torch.cat(terms, 1).mean(1)


def _dists_maps(vgg: VGG19, images: Tensor) -> list[Tensor]:
    return [images.expand(-1, 3, -1, -1), *vgg(images, DISTS_LAYERS, pool=l2_pool).values()]


def l2_pool(maps: Tensor) -> Tensor:
    """Halve maps by the root of the Hann-weighted mean square over 3x3 positions (Ding et al. 2020, eq. 3)."""
    hann = maps.new_tensor([0.25, 0.5, 0.25])
    kernel = (hann[:, None] * hann).expand(maps.shape[1], 1, 3, 3)
    return F.conv2d(maps.square(), kernel, stride=2, padding=1, groups=maps.shape[1]).add(1e-12).sqrt()


def _structure_and_texture(x: Tensor, y: Tensor) -> Tensor:
    """Mean of Ding et al.'s l (texture) and s (structure) for each channel: (B, C)."""
    mx, my = x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)
    dx, dy = x - mx, y - my
    covariance, spread = (dx * dy).mean((2, 3)), dx.square().mean((2, 3)) + dy.square().mean((2, 3))
    texture = (2 * mx * my + TINY) / (mx.square() + my.square() + TINY)
    return (texture[..., 0, 0] + (2 * covariance + TINY) / (spread + TINY)) / 2


# --- STSIM-2 ---------------------------------------------------------------------------------------------------------


def stsim2(x: Tensor, y: Tensor, window: int | None = None) -> Tensor:
    """Structural texture similarity STSIM-2 (Zujovic, Pappas & Neuhoff 2013, section III), (B,), in [0, 1].

    Each of the 14 subbands of a complex steerable pyramid is compared by its mean, its variance and its correlation with
    itself one pixel aside, ``(l c c01 c10)^(1/4)``; 26 pairs of subbands by the correlation of their magnitudes,
    ``1 - |difference| / 2``; the result is the mean of the 40. The paper knows two forms. Without a window the statistics are
    of whole images ("global"): no pixel meets the pixel of the other image, so a texture is like another piece of itself.
    With a window (7 in the authors' implementations) they are of all windows of that many coefficients an edge, which meet
    at the same places of both images, and each term is the mean over them.

    Images (B, 1, h, w) in [0, 1]; raises `UserError` unless their edges are equal and 8 divides them, or if a window is
    larger than the lowest band, an eighth of the image.
    """
    if x.shape != y.shape or x.shape[-1] % 2**SCALES or x.shape[-2] % 2**SCALES:
        shapes = f"images of shapes {tuple(x.shape)} and {tuple(y.shape)} cannot be compared"
        raise UserError(shapes, "stsim2", f"Give two of the same size, divisible by {2**SCALES}")
    if window and (edge := min(x.shape[-2:])) < (least := window * 2**SCALES):
        fault = f"images of {edge} pixels an edge leave fewer than {window} coefficients in the lowest band"
        raise UserError(fault, "stsim2", f"Give images of {least} pixels or more, or no window")
    # A window's variance is a small difference of squares: double precision.
    px, py = (steerable_pyramid(images[:, 0].double()) for images in (x, y))
    terms = [_band_similarity(a, b, window) for a, b in zip(_bands(px), _bands(py))]
    terms += [_agreement(_correlation(*a, window), _correlation(*b, window)) for a, b in zip(_band_pairs(px), _band_pairs(py))]
    return torch.stack([term.mean((1, 2)) for term in terms]).mean(0).clamp(0, 1).to(x.dtype)


def steerable_pyramid(images: Tensor) -> tuple[Tensor, list[list[Tensor]], Tensor]:
    """Complex steerable pyramid in the Fourier plane (Simoncelli & Freeman 1995; Portilla & Simoncelli 2000).

    Highpass (B, h, w), bands [scale][orientation] (B, h / 2^scale, w / 2^scale), complex, and lowpass (B, h / 8, w / 8) of
    images (B, h, w).
    """
    spectrum = torch.fft.fftshift(torch.fft.fft2(images), dim=(1, 2))
    octave, angle = _polar(images)
    # The first split lies half an octave below the Nyquist frequency, each next one an octave lower.
    highpass = _image(spectrum * _rise(octave, 0.0)).real
    spectrum, bands = spectrum * _fall(octave, 0.0), []
    for _ in range(SCALES):
        ring = spectrum * _rise(octave, -1.0)
        bands.append([_image(ring * _fan(angle, k)) for k in range(ORIENTATIONS)])
        # A quarter of the positions, so a quarter of the sum over frequencies.
        spectrum, angle, octave = _centre(spectrum * _fall(octave, -1.0)) / 4, _centre(angle), _centre(octave) + 1
    return highpass, bands, _image(spectrum).real


def _polar(images: Tensor) -> tuple[Tensor, Tensor]:
    """Octaves relative to the Nyquist frequency, and angles, of a centred spectrum (h, w)."""
    fy, fx = (torch.fft.fftshift(torch.fft.fftfreq(n, dtype=images.dtype, device=images.device)) * 2 for n in images.shape[1:])
    radius = torch.hypot(fy[:, None], fx).clamp_min(1e-9)
    return radius.log2(), torch.atan2(fy[:, None], fx.expand(len(fy), -1))


def _rise(octave: Tensor, top: float) -> Tensor:
    """Raised cosine over the octave below `top`: 0 below, 1 above."""
    return torch.cos(pi / 2 * (octave - top).clamp(-1, 0))


def _fall(octave: Tensor, top: float) -> Tensor:
    """What `_rise` leaves, so that both squares add up to one."""
    return torch.sin(pi / 2 * (top - octave).clamp(0, 1))


def _fan(angle: Tensor, k: int) -> Tensor:
    """Half of the plane around one direction: analytic, so that the band is complex with a smooth magnitude."""
    order = ORIENTATIONS - 1
    constant = 2**order * factorial(order) / (ORIENTATIONS * factorial(2 * order)) ** 0.5
    away = torch.remainder(angle - pi * k / ORIENTATIONS + pi, 2 * pi) - pi
    return 2 * constant * torch.cos(away).clamp_min(0) ** order


def _centre(spectrum: Tensor) -> Tensor:
    """Lower half of the frequencies of a centred spectrum: subsampling by two."""
    h, w = spectrum.shape[-2:]
    return spectrum[..., h // 4 : h - h // 4, w // 4 : w - w // 4]


def _image(spectrum: Tensor) -> Tensor:
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1)))


def _bands(pyramid) -> list[Tensor]:
    highpass, bands, lowpass = pyramid
    return [highpass, *(band for scale in bands for band in scale), lowpass]


def _band_similarity(x: Tensor, y: Tensor, window: int | None) -> Tensor:
    """Fourth root of mean, contrast and two neighbour terms (Zujovic et al. 2013, eqs. 5-9), (B, rows, columns) of windows."""
    mx, my = (_average(band, window, window).abs() for band in (x, y))
    vx, vy = _variance(x, window, window), _variance(y, window, window)
    luminance = (2 * mx * my + NOTHING) / (mx.square() + my.square() + NOTHING)
    contrast = (2 * (vx * vy).sqrt() + NOTHING) / (vx + vy + NOTHING)
    along = [_agreement(a, b) for a, b in zip(_neighbours(x, window), _neighbours(y, window))]
    return (luminance * contrast * along[0] * along[1]).clamp_min(0) ** 0.25


def _neighbours(band: Tensor, window: int | None) -> list[Tensor]:
    """Correlation of a band with itself one row down and one column aside, over the pairs inside each window."""
    less = window and window - 1
    down = _correlation(band[:, :-1], band[:, 1:], less, window)
    return [down, _correlation(band[:, :, :-1], band[:, :, 1:], window, less)]


def _band_pairs(pyramid) -> list[tuple[Tensor, Tensor]]:
    """Magnitudes of two orientations of a scale, and of two scales of an orientation, the finer on the grid of the coarser."""
    magnitudes = [[band.abs() for band in scale] for scale in pyramid[1]]
    pairs = [pair for scale in magnitudes for pair in combinations(scale, 2)]
    return pairs + [(F.avg_pool2d(fine, 2), coarse) for a, b in zip(magnitudes, magnitudes[1:]) for fine, coarse in zip(a, b)]


def _agreement(a: Tensor, b: Tensor) -> Tensor:
    return 1 - (a - b).abs() / 2


def _correlation(a: Tensor, b: Tensor, rows: int | None, columns: int | None = None) -> Tensor:
    """Correlation coefficients of two maps (B, h, w) in all windows (of `rows` each way, if nothing is said of columns)."""
    columns = columns or rows
    covariance = _average(a * b.conj(), rows, columns) - _average(a, rows, columns) * _average(b, rows, columns).conj()
    spread = (_variance(a, rows, columns) * _variance(b, rows, columns)).sqrt()
    return (covariance + NOTHING) / (spread + NOTHING)


def _variance(maps: Tensor, rows: int | None, columns: int | None) -> Tensor:
    return (_average(maps.abs().square(), rows, columns) - _average(maps, rows, columns).abs().square()).clamp_min(0)


def _average(maps: Tensor, rows: int | None, columns: int | None) -> Tensor:
    """Means in all windows inside maps (B, h, w), (B, h - rows + 1, w - columns + 1); None is the whole height or width."""
    means = maps.unfold(1, rows or maps.shape[1], 1).mean(-1)
    return means.unfold(2, columns or maps.shape[2], 1).mean(-1)


# --- what the latent vector knows ------------------------------------------------------------------------------------


def traverse(z: Tensor, dimension: int, values: Sequence[float]) -> Tensor:
    """Copies (V, d) of one latent vector (d,) with one component set to each value (S3, section 4.3)."""
    row = z.repeat(len(values), 1)
    row[:, dimension] = row.new_tensor(values)
    return row


def correlations(latent: ArrayLike, descriptors: dict[str, ArrayLike]) -> np.ndarray:
    """Pearson correlation (D, d) of each descriptor (N,) with each latent component (N, d).

    Where a descriptor is not known (NaN) the patch does not count; a constant one is correlated with nothing.
    """
    latent = np.asarray(latent, float)
    rows = []
    for values in map(np.asarray, descriptors.values()):
        known = np.isfinite(values)
        rows.append(_standard(values[known]) @ _standard(latent[known]) / max(known.sum(), 1))
    return np.array(rows).reshape(len(descriptors), latent.shape[1])


def _standard(a: np.ndarray) -> np.ndarray:
    spread = a.std(0)
    return (a - a.mean(0)) / np.where(spread > 1e-12 * np.abs(a).max(initial=0), spread, np.inf)


def partners(groups: ArrayLike, index: Sequence[int], same: bool, generator: np.random.Generator) -> np.ndarray:
    """For each patch of `index` another patch: of the same image (`same`), which must have one, or of a different one."""
    groups = np.asarray(groups)
    numbers = np.arange(len(groups))
    return np.array([generator.choice(numbers[((groups == groups[i]) == same) & (numbers != i)]) for i in index], int)
