r"""Cast-iron-like micrographs: graphite nodules, worms and flakes in ferrite, by cooling rate and magnesium content.

A synthetic stand-in for the twelve images of Sardeshmukh et al. 2021 (TextureVAE), which are not public: castings of four
radii, three magnesium contents, unetched, with faint ferrite grain boundaries. It follows what is known of cast iron in
outline only; none of its numbers was measured.

* Cooling: solidification time grows as (volume / surface)^2 (Chvorinov), so the rate as 1 / radius^2.
* Particles: their number an area grows as the root of the cooling rate, at 11 % of graphite; so slow cooling makes few
  and large ones. Without magnesium graphite grows as flakes, with 0.025 % as short thick worms beside nodules, with
  0.045 % as nodules.
* Strength (`strengths`): a formula of descriptors of the image, with the known signs. Graphite bears no load; ferrite is
  the stronger the shorter the way between particles (Hall & Petch); elongated graphite is a notch, the worse the longer
  it is (Griffith), and costs ultimate strength more than yield strength.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

RADII_MM = (12.0, 24.0, 36.0, 48.0)
MAGNESIUM_PCT = (0.0, 0.025, 0.045)
PIXEL_M = 1e-6
GRAPHITE_SHARE = 0.11
COOLING_AT_12_MM = 10.0  # K/s
COUNT_AT_12_MM = 300.0  # nodules per mm^2

_GREY = {"ferrite": 0.74, "boundary": 0.66, "graphite": 0.16}
_NOISE = 0.02
_BLUR_PX = 0.8
_MARGIN = 40  # pixels around an image in which particles start too


@dataclass(frozen=True)
class Casting:
    """One of the twelve samples, a cylinder."""

    radius_mm: float
    magnesium_pct: float  # by weight

    @property
    def cooling_rate(self) -> float:
        """Cooling rate in K/s."""
        return COOLING_AT_12_MM * (12.0 / self.radius_mm) ** 2

    @property
    def tested(self) -> bool:
        """Whether the paper's study measured its strength: slowest and fastest cooling only."""
        return self.radius_mm in (RADII_MM[0], RADII_MM[-1])


CASTINGS = tuple(Casting(radius, magnesium) for magnesium in MAGNESIUM_PCT for radius in RADII_MM)


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
    descriptors: dict[str, float]  # by name; the unit is in the name


def generate(casting: Casting, shape: tuple[int, int], rng: np.random.Generator) -> Micrograph:
    """Micrograph (rows, columns) of a casting, at one micrometre a pixel."""
    particles = sample_particles(casting, shape, rng)
    graphite = render(particles, shape)
    # Grains of ferrite are somewhat larger than the distance between nodules.
    boundary = grain_boundaries(shape, 2.0 * nodule_diameter_px(casting), rng)
    grey = np.where(boundary, _GREY["boundary"], _GREY["ferrite"])
    grey = np.where(graphite, _GREY["graphite"], grey)
    image = _blur(grey) + _NOISE * rng.standard_normal(shape)
    return Micrograph(np.clip(image, 0, 1).astype(np.float32), describe(particles, graphite))


def sample_particles(casting: Casting, shape: tuple[int, int], rng: np.random.Generator) -> list[Particle]:
    """Graphite particles whose areas add up to the graphite's share of the image; none starts inside another."""
    particles: list[Particle] = []
    goal = GRAPHITE_SHARE * (shape[0] + 2 * _MARGIN) * (shape[1] + 2 * _MARGIN)
    while sum(p.area for p in particles) < goal:
        candidate = _draw(casting, rng, shape)
        if all(np.hypot(*(candidate.middle - p.middle)) > 1.1 * (candidate.radius + p.radius) for p in particles):
            particles.append(candidate)
    return particles


def _draw(casting: Casting, rng: np.random.Generator, shape: tuple[int, int]) -> Particle:
    """A particle somewhere in the image or within a margin around it."""
    middle = rng.uniform(-_MARGIN, np.array(shape) + _MARGIN)
    diameter = nodule_diameter_px(casting) * rng.lognormal(0, 0.25)
    ripple, phase = rng.normal(0, 0.04, 2), rng.uniform(0, 2 * math.pi, 2)
    share_of_nodules = {0.0: 0.0, 0.025: 0.35, 0.045: 1.0}[casting.magnesium_pct]
    if rng.random() < share_of_nodules:
        return Particle(middle[None], diameter / 2, ripple, phase)
    slender = 16.0 if casting.magnesium_pct == 0 else 5.0
    thickness = diameter * math.sqrt(math.pi / (4 * slender))  # same area as the nodule
    line = _bent_line(middle, slender * thickness, bend=1.2 if slender > 10 else 2.0, rng=rng)
    return Particle(line, thickness / 2, ripple, phase)


def nodule_diameter_px(casting: Casting) -> float:
    """Mean diameter of nodules: graphite's share of the area over their number."""
    per_pixel = COUNT_AT_12_MM * math.sqrt(casting.cooling_rate / COOLING_AT_12_MM) * 1e6 * PIXEL_M**2
    return math.sqrt(4 * GRAPHITE_SHARE / (math.pi * per_pixel))


def _bent_line(middle: np.ndarray, length: float, bend: float, rng: np.random.Generator) -> np.ndarray:
    """Points along a line of given length whose direction turns steadily, by a normal angle of deviation `bend`."""
    steps = np.linspace(-0.5, 0.5, 13)
    direction = rng.uniform(0, 2 * math.pi) + rng.normal(0, bend) * steps + rng.normal(0, bend) * steps**2
    path = np.cumsum(np.stack([np.cos(direction), np.sin(direction)], 1), 0) * length / len(steps)
    return middle + path - path[len(path) // 2]


def render(particles: list[Particle], shape: tuple[int, int]) -> np.ndarray:
    """Where graphite is, (h, w) bool."""
    graphite = np.zeros(shape, bool)
    for particle in particles:
        for piece in particle.pieces():
            reach = 1.3 * particle.radius + 1
            low = np.maximum(np.floor(piece.min(0) - reach), 0).astype(int)
            high = np.minimum(np.ceil(piece.max(0) + reach) + 1, shape).astype(int)
            if (low < high).all():
                window = tuple(slice(a, b) for a, b in zip(low, high))
                pixels = np.stack(np.mgrid[window], -1)
                nodule = len(piece) == 1
                graphite[window] |= _in_nodule(pixels, particle) if nodule else _in_capsule(pixels, *piece, particle.radius)
    return graphite


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
    """Faint lines: pixels of a Voronoi tessellation, mean grain size in pixels, whose right or lower neighbour differs."""
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
    return (owner != np.roll(owner, 1, 0)) | (owner != np.roll(owner, 1, 1))


def describe(particles: list[Particle], graphite: np.ndarray) -> dict[str, float]:
    """Descriptors: graphite's share and the ferrite between it from the pixels, the rest from the particles in view.

    ``nodularity`` is the share of graphite area in particles less than 1.67 times as long as wide (ISO 945's limit of
    roundness 0.6); ``ferrite_path_m`` is the mean length of straight lines in ferrite, 2 (1 - share) over the crossings
    per length in two directions.
    """
    inside = [p for p in particles if (p.middle >= 0).all() and (p.middle < graphite.shape).all()] or particles
    area = np.array([p.area for p in inside])
    aspect = np.array([p.length / (2 * p.radius) for p in inside])
    crossings = 0.5 * ((graphite[1:] != graphite[:-1]).mean() + (graphite[:, 1:] != graphite[:, :-1]).mean())
    share = float(graphite.mean())
    return {
        "graphite_share": share,
        "particles_per_mm2": len(inside) / (graphite.size * PIXEL_M**2 * 1e6),
        "nodularity": float(area[aspect < 1 / 0.6].sum() / area.sum()),
        "aspect_ratio": float((aspect * area).sum() / area.sum()),
        "length_m": PIXEL_M * float(np.average([p.length for p in inside], weights=area)),
        "ferrite_path_m": PIXEL_M * 2 * (1 - share) / float(crossings),
    }


def strengths(descriptors: dict[str, float]) -> dict[str, float]:
    r"""Yield and ultimate strength in Pa, of a stated formula, not of a test.

    With graphite share f, nodularity N, ferrite path l and particle length c::

        notch = (1 - N) sqrt(c / 100 um)
        yield = (1 - f) (230 MPa + 0.35 MPa sqrt(m) / sqrt(l)) / (1 + 0.5 notch)
        ultimate = 1.55 (1 - f) (230 MPa + 0.35 MPa sqrt(m) / sqrt(l)) / (1 + 1.3 notch)
    """
    notch = (1 - descriptors["nodularity"]) * math.sqrt(descriptors["length_m"] / 1e-4)
    matrix = (1 - descriptors["graphite_share"]) * (230e6 + 0.35e6 / math.sqrt(descriptors["ferrite_path_m"]))
    return {"yield_strength": matrix / (1 + 0.5 * notch), "ultimate_strength": 1.55 * matrix / (1 + 1.3 * notch)}


def patch_corners(shape: tuple[int, int], edge: int, stride: int) -> np.ndarray:
    """Upper left corners (P, 2) of all square patches that fit into an image."""
    rows, columns = (np.arange(0, length - edge + 1, stride) for length in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def _blur(image: np.ndarray) -> np.ndarray:
    """Gaussian blur of the microscope, by FFT."""
    squared = np.add.outer(np.fft.fftfreq(image.shape[0]) ** 2, np.fft.rfftfreq(image.shape[1]) ** 2)
    gain = np.exp(-2 * (math.pi * _BLUR_PX) ** 2 * squared)
    return np.fft.irfft2(np.fft.rfft2(image) * gain, s=image.shape)
