r"""Cast-iron-like micrographs: graphite nodules, worms and flakes in ferrite, by eight causes that can be set one by one.

A synthetic stand-in for the twelve images of Sardeshmukh et al. 2021 (TextureVAE), which are not public: castings of four
radii, three magnesium contents, unetched, with faint ferrite grain boundaries. It follows what is known of cast iron in
outline only; none of its numbers was measured.

* Causes (`CONTROLS`): of the material the nodularity, the size, share and thickness of graphite and the size of grains; of
  the picture the contrast of boundaries, the exposure and the noise. `drawn` takes them at random, each by itself.
* Cooling: solidification time grows as (volume / surface)^2 (Chvorinov), so the rate as 1 / radius^2, and the number of
  particles an area as the root of the rate; so slow cooling makes few and large ones.
* Magnesium: without it graphite grows as flakes, with 0.025 % as short thick worms beside nodules, with 0.045 % as nodules.

The twelve castings have their causes from radius and magnesium; of drawn ones it is the other way round.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

RADII_MM = (12.0, 24.0, 36.0, 48.0)
MAGNESIUM_PCT = (0.0, 0.025, 0.045)
PIXEL_M = 2e-6
COOLING_AT_12_MM = 10.0  # K/s
COUNT_AT_12_MM = 300.0  # particles per mm^2
FERRITE, GRAPHITE, BOUNDARY = range(3)

_NODULARITY = (0.0, 0.35, 1.0)  # at `MAGNESIUM_PCT`
_LEAST_SLENDERNESS = 3.0  # of a worm, length by thickness
_FERRITE_GREY, _GRAPHITE_GREY = 0.74, 0.16
_SPREAD = 0.25  # of the logarithm of a particle's diameter
_BLUR_UM = 0.8


@dataclass(frozen=True)
class Casting:
    """What the micrographs of a casting follow from."""

    nodularity: float  # share of the graphite's area in nodules, not in worms or flakes
    diameter_um: float  # of a disc with a particle's mean area
    graphite_share: float  # of the image's area
    thickness_um: float  # of worms and flakes; their length follows from their area
    grain_um: float  # distance between centres of ferrite grains
    boundary_contrast: float  # grey value of grain boundaries below that of ferrite
    exposure: float  # factor of all grey values, by the light
    noise: float  # standard deviation of the grey value of a pixel

    @property
    def density_per_mm2(self) -> float:
        """Number of particles per mm^2, if none overlap."""
        return 4e6 * self.graphite_share / (math.pi * self.diameter_um**2)

    @property
    def slenderness(self) -> float:
        """Length by thickness of worms and flakes, if they were straight and had corners."""
        return math.pi * self.diameter_um**2 / (4 * self.thickness_um**2)

    @property
    def cooling_rate(self) -> float:
        """Cooling rate in K/s, from the number of particles."""
        return COOLING_AT_12_MM * (self.density_per_mm2 / COUNT_AT_12_MM) ** 2

    @property
    def magnesium_pct(self) -> float:
        """Magnesium content in percent by weight, from the nodularity."""
        return float(np.interp(self.nodularity, _NODULARITY, MAGNESIUM_PCT))


CONTROLS = tuple(field.name for field in fields(Casting))
# Ranges of what is drawn, and whether evenly in the logarithm.
RANGES = {
    "nodularity": (0.0, 1.0),
    "diameter_um": (18.0, 45.0),
    "graphite_share": (0.07, 0.15),
    "thickness_um": (4.0, 12.0),
    "grain_um": (20.0, 90.0),
    "boundary_contrast": (0.02, 0.2),
    "exposure": (0.85, 1.1),
    "noise": (0.01, 0.06),
}
LOGARITHMIC = ("diameter_um", "thickness_um", "grain_um", "boundary_contrast", "noise")


def drawn(rng: np.random.Generator) -> Casting:
    """A casting whose causes are independent and even over `RANGES`; those in `LOGARITHMIC` in their logarithms.

    Only the thickness is cut, where small particles would be thick, so that no worm is less than three times as long.
    """
    values = {}
    for name, (low, high) in RANGES.items():
        value = rng.uniform(math.log(low), math.log(high)) if name in LOGARITHMIC else rng.uniform(low, high)
        values[name] = math.exp(value) if name in LOGARITHMIC else value
    thickest = _thickness(values["diameter_um"], _LEAST_SLENDERNESS)
    return Casting(**values | {"thickness_um": min(values["thickness_um"], thickest)})


def _named(radius_mm: float, magnesium_pct: float) -> Casting:
    """One of the twelve samples, a cylinder."""
    share, rate = 0.11, COOLING_AT_12_MM * (RADII_MM[0] / radius_mm) ** 2
    density = COUNT_AT_12_MM * math.sqrt(rate / COOLING_AT_12_MM)
    diameter = math.sqrt(4e6 * share / (math.pi * density))
    return Casting(
        nodularity=float(np.interp(magnesium_pct, MAGNESIUM_PCT, _NODULARITY)),
        diameter_um=diameter,
        graphite_share=share,
        thickness_um=_thickness(diameter, 16.0 if magnesium_pct == 0 else 5.0),
        grain_um=2.0 * diameter,  # somewhat more than the distance between nodules
        boundary_contrast=0.08,
        exposure=1.0,
        noise=0.02,
    )


def _thickness(diameter: float, slenderness: float) -> float:
    """Thickness of worms with the area of a disc."""
    return diameter * math.sqrt(math.pi / (4 * slenderness))


# The twelve samples by radius in mm and magnesium in percent by weight. The paper's study measured the strength of those
# that cooled slowest and fastest.
CASTINGS = {(radius, magnesium): _named(radius, magnesium) for magnesium in MAGNESIUM_PCT for radius in RADII_MM}
TESTED_RADII_MM = (RADII_MM[0], RADII_MM[-1])


class Particle(NamedTuple):
    """Graphite particle: a disc swept along a bent line. Lengths and areas are in pixels."""

    line: np.ndarray  # points of its centre line, (K, 2); a single point makes a nodule
    radius: float  # half its thickness
    ripple: np.ndarray  # amplitudes of the second and third harmonic of a nodule's outline, over its radius
    phase: np.ndarray  # their phases, radians

    @property
    def length(self) -> float:
        """Greatest extent along the centre line."""
        return float(np.linalg.norm(np.diff(self.line, axis=0), axis=1).sum()) + 2 * self.radius

    @property
    def area(self) -> float:
        return math.pi * self.radius**2 + 2 * self.radius * (self.length - 2 * self.radius)

    @property
    def middle(self) -> np.ndarray:
        """Point in the middle of the centre line."""
        return self.line[len(self.line) // 2]

    def pieces(self) -> list[np.ndarray]:
        """Straight pieces of the centre line, (2, 2) each, or its only point, (1, 2)."""
        return [self.line] if len(self.line) == 1 else [self.line[i : i + 2] for i in range(len(self.line) - 1)]


class Micrograph(NamedTuple):
    """An image and what is in it."""

    image: np.ndarray  # grey values in [0, 1], (h, w) float32
    phase: np.ndarray  # `FERRITE`, `GRAPHITE` or `BOUNDARY` of each pixel, (h, w) uint8
    descriptors: dict[str, float]  # by name; the unit is in the name


def generate(casting: Casting, shape: tuple[int, int], rng: np.random.Generator) -> Micrograph:
    """Micrograph (rows, columns) of a casting, `PIXEL_M` a pixel; it is a part of a larger piece, and not periodic."""
    particles, graphite = sample_graphite(casting, shape, rng)
    phase = np.where(grain_boundaries(shape, _pixels(casting.grain_um), rng), BOUNDARY, FERRITE).astype(np.uint8)
    phase[graphite] = GRAPHITE
    greys = np.array([_FERRITE_GREY, _GRAPHITE_GREY, _FERRITE_GREY - casting.boundary_contrast])
    image = casting.exposure * _blur(greys[phase]) + casting.noise * rng.standard_normal(shape)
    return Micrograph(np.clip(image, 0, 1).astype(np.float32), phase, describe(particles, phase))


def sample_graphite(casting: Casting, shape: tuple[int, int], rng: np.random.Generator) -> tuple[list[Particle], np.ndarray]:
    """Particles in the image and around it, and where graphite is, (h, w) bool; none starts inside another.

    They are drawn until graphite has its share of the image and of a margin, in which particles start that reach in.
    """
    margin = math.ceil(_pixels(0.6 * max(casting.diameter_um, _length_um(casting))))
    canvas = np.zeros([length + 2 * margin for length in shape], bool)
    particles: list[Particle] = []
    covered, goal = 0, casting.graphite_share * canvas.size
    while covered < goal:
        candidate = _draw(casting, rng, canvas.shape)
        if all(math.dist(candidate.middle, p.middle) > 1.1 * (candidate.radius + p.radius) for p in particles):
            covered += add_particle(canvas, candidate)
            particles.append(candidate)
    inner = tuple(slice(margin, margin + length) for length in shape)
    return [p._replace(line=p.line - margin) for p in particles], canvas[inner]


def _draw(casting: Casting, rng: np.random.Generator, shape: tuple[int, ...]) -> Particle:
    """A particle somewhere in the image; its size is log-normal, that of the mean area is 1."""
    middle, size = rng.uniform(0, shape), rng.lognormal(-(_SPREAD**2), _SPREAD)
    ripple, phase = rng.normal(0, 0.04, 2), rng.uniform(0, 2 * math.pi, 2)
    if rng.random() < casting.nodularity:
        return Particle(middle[None], _pixels(size * casting.diameter_um) / 2, ripple, phase)
    thickness = _pixels(size * casting.thickness_um)
    # Short worms are bent more than long flakes.
    bend = float(np.interp(casting.slenderness, (5.0, 16.0), (2.0, 1.2)))
    line = _bent_line(middle, _pixels(size * (_length_um(casting) - casting.thickness_um)), bend, rng)
    return Particle(line, thickness / 2, ripple, phase)


def _length_um(casting: Casting) -> float:
    """Length of worms and flakes, round ends included, whose area is that of a nodule."""
    return casting.thickness_um * (casting.slenderness + 1 - math.pi / 4)


def _pixels(micrometres: float) -> float:
    return micrometres * 1e-6 / PIXEL_M


def _bent_line(middle: np.ndarray, length: float, bend: float, rng: np.random.Generator) -> np.ndarray:
    """Points along a line of given length whose direction turns steadily, by a normal angle of deviation `bend`."""
    steps = np.linspace(-0.5, 0.5, 13)
    direction = rng.uniform(0, 2 * math.pi) + rng.normal(0, bend) * steps + rng.normal(0, bend) * steps**2
    path = np.cumsum(np.stack([np.cos(direction), np.sin(direction)], 1), 0) * length / (len(steps) - 1)
    return middle + path - path[len(path) // 2]


def add_particle(graphite: np.ndarray, particle: Particle) -> int:
    """Draw a particle where graphite is, (h, w) bool; the number of pixels that were none before."""
    added = 0
    for piece in particle.pieces():
        reach = 1.3 * particle.radius + 1
        low = np.maximum(np.floor(piece.min(0) - reach), 0).astype(int)
        high = np.minimum(np.ceil(piece.max(0) + reach) + 1, graphite.shape).astype(int)
        if (low < high).all():
            window = tuple(slice(a, b) for a, b in zip(low, high))
            pixels = np.stack(np.mgrid[window], -1)
            nodule = len(piece) == 1
            inside = _in_nodule(pixels, particle) if nodule else _in_capsule(pixels, *piece, particle.radius)
            added += np.count_nonzero(inside & ~graphite[window])
            graphite[window] |= inside
    return added


def _in_nodule(pixels: np.ndarray, particle: Particle) -> np.ndarray:
    offset = pixels - particle.line[0]
    angle = np.arctan2(offset[..., 0], offset[..., 1])
    waves = sum(a * np.cos(k * angle + p) for k, a, p in zip((2, 3), particle.ripple, particle.phase))
    return np.hypot(offset[..., 0], offset[..., 1]) < particle.radius * (1 + waves)


def _in_capsule(pixels: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    along, offset = end - start, pixels - start
    share = np.clip(offset @ along / (along @ along), 0, 1)
    return np.linalg.norm(offset - share[..., None] * along, axis=-1) < radius


def grain_boundaries(shape: tuple[int, int], size: float, rng: np.random.Generator) -> np.ndarray:
    """Lines: pixels of a Voronoi tessellation, mean grain size in pixels, whose left or upper neighbour differs."""
    pitch = np.maximum(np.round(np.array(shape) / size), 1).astype(int)
    corner = np.stack(np.meshgrid(*(np.arange(-1, n + 1) for n in pitch), indexing="ij"), -1)
    seeds = (corner + rng.uniform(0, 1, corner.shape)) * (np.array(shape) / pitch)  # one in each box of a grid
    rows, columns = np.indices(shape)
    box = [np.clip((c * n // s), 0, n - 1) + 1 for c, n, s in zip((rows, columns), pitch, shape)]
    best, owner = np.full(shape, np.inf), np.zeros(shape, int)
    for i, j in itertools.product((-1, 0, 1), repeat=2):
        at = (box[0] + i, box[1] + j)
        distance = (rows - seeds[at][..., 0]) ** 2 + (columns - seeds[at][..., 1]) ** 2
        owner = np.where(distance < best, at[0] * (pitch[1] + 2) + at[1], owner)
        best = np.minimum(best, distance)
    lines = np.zeros(shape, bool)
    lines[1:] |= owner[1:] != owner[:-1]
    lines[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    return lines


def describe(particles: list[Particle], phase: np.ndarray) -> dict[str, float]:
    """Descriptors: shares and lengths of what lies between from the pixels (h, w), the rest from the particles in view.

    ``measured_nodularity`` is the share of graphite area in particles less than 1.67 times as long as wide (ISO 945's limit
    of roundness 0.6); ``ferrite_path_m`` is the mean length of straight lines in ferrite, 2 (1 - share) over the crossings
    per length in two directions; ``boundary_m_per_m2`` is pi / 2 times the boundaries that such lines meet per length.
    """
    inside = [p for p in particles if (p.middle >= 0).all() and (p.middle < phase.shape).all()] or particles
    area = np.array([p.area for p in inside])
    aspect = np.array([p.length / (2 * p.radius) for p in inside])
    graphite, boundary = phase == GRAPHITE, phase == BOUNDARY
    crossings = 0.5 * ((graphite[1:] != graphite[:-1]).mean() + (graphite[:, 1:] != graphite[:, :-1]).mean())
    met = 0.5 * ((boundary[1:] > boundary[:-1]).mean() + (boundary[:, 1:] > boundary[:, :-1]).mean())
    share = float(graphite.mean())
    return {
        "measured_graphite_share": share,
        "measured_nodularity": float(area[aspect < 1 / 0.6].sum() / area.sum()),
        "particles_per_mm2": len(inside) / (graphite.size * PIXEL_M**2 * 1e6),
        "aspect_ratio": float((aspect * area).sum() / area.sum()),
        "length_m": PIXEL_M * float(np.average([p.length for p in inside], weights=area)),
        "width_m": PIXEL_M * float(np.average([2 * p.radius for p in inside], weights=area)),
        "ferrite_path_m": PIXEL_M * 2 * (1 - share) / float(crossings),
        "boundary_m_per_m2": math.pi / 2 * float(met) / PIXEL_M,
    }


def patch_corners(shape: tuple[int, int], edge: int, stride: int) -> np.ndarray:
    """Upper left corners (P, 2) of all square patches that fit into an image."""
    rows, columns = (np.arange(0, length - edge + 1, stride) for length in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def _blur(image: np.ndarray) -> np.ndarray:
    """Gaussian blur of the microscope, by FFT."""
    squared = np.add.outer(np.fft.fftfreq(image.shape[0]) ** 2, np.fft.rfftfreq(image.shape[1]) ** 2)
    gain = np.exp(-2 * (math.pi * _pixels(_BLUR_UM)) ** 2 * squared)
    return np.fft.irfft2(np.fft.rfft2(image) * gain, s=image.shape)
