"""A recurrent network from the strain path and the texture of a polycrystal to its stress, in whichever axes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

PAIRS = 4  # of deviators whose products are seen
KEEP = 1.0  # bias towards keeping the memory at the start
FAINT = 1e-3  # length, in the units of the insides, below which a deviator has no direction


class Mix(nn.Module):
    """A linear map of features (members, B, inputs, ...) for each member of an ensemble."""

    def __init__(self, members: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(members, outputs, inputs) / inputs**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("koi,kbi...->kbo...", self.weight, x)


class PathNet(nn.Module):
    """Recurrent networks (an ensemble of `members`) from mean strain to mean deviatoric stress, increment by increment.

    The usual surrogate for paths is a gated recurrent unit (Cho et al., arXiv:1406.1078) that maps a strain path to stresses
    (Mozaffar et al., PNAS 116 (2019) 26414; Bonatti, Berisha & Mohr, Int. J. Plast. 158 (2022) 103430), with the texture as a
    further input. It has to learn from examples that a turned sample is the same sample. Here what it remembers are `memories`
    deviators, its gates see nothing but their lengths and angles, and the texture acts on them by the volume averages of its
    crystals' fourth-order tensors: a turned sample gives the turned stress, exactly.

    Parameters
    ----------
    averages : number of fourth-order averages that describe a texture.
    units : size of the hidden layer that sets the gates.
    product : (5, 5, 5), of two deviators the deviator of their symmetric product; it tells tension from compression.
    """

    def __init__(self, members: int, averages: int, memories: int, units: int, product: Tensor):
        super().__init__()
        self.members, self.memories = members, memories
        self.see = Mix(members, (memories + 3) * (1 + averages), 3 * memories + 2 * PAIRS)
        self.hidden = Mix(members, 2 * memories + 1, units)
        self.gates = Mix(members, units + 1, 4 * memories)
        self.register_buffer("product", product.float())
        for name in ("strain_unit", "stress_unit"):
            self.register_buffer(name, torch.ones(()))

    def scale(self, strain_unit: float, stress_unit: float) -> None:
        """Set what strain and what stress in Pa are 1 inside."""
        self.strain_unit.fill_(strain_unit)
        self.stress_unit.fill_(stress_unit)

    def forward(self, strain: Tensor, texture: Tensor) -> Tensor:
        """Deviatoric stress (members, B, T + 1, 5) in Pa, each member's of its own paths.

        Strain (members, B, T + 1, 5) is deviatoric, 0 at the start; `texture` is (members, B, averages, 5, 5).
        """
        strain = strain / self.strain_unit
        memory = strain.new_zeros(*strain.shape[:2], self.memories, 5)
        stress = [strain.new_zeros(*strain.shape[:2], 5)]
        for now, change in zip(strain[:, :, 1:].unbind(2), strain.diff(dim=2).unbind(2)):
            memory, answer = self._increment(memory, torch.stack([now, change, stress[-1]], 2), texture)
            stress.append(answer)
        return torch.stack(stress, 2) * self.stress_unit

    def _increment(self, memory: Tensor, seen: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        """Memory and stress after an increment, all in the units of the insides."""
        seen = torch.cat([memory, seen], 2)
        felt = torch.einsum("kbma,kbnac->kbnmc", seen, texture).flatten(2, 3)
        sizes = [self.memories] * 3 + [PAIRS] * 2
        probe, other, new, left, right = self.see(torch.cat([seen, felt], 2)).split(sizes, 2)
        products = torch.einsum("kbma,kbmd,adc->kbmc", left, right, self.product)
        new = torch.cat([new[:, :, :PAIRS] + products, new[:, :, PAIRS:]], 2)
        new = new / (1 + new.norm(dim=-1, keepdim=True))
        length = (probe.square().sum(-1) + FAINT**2).sqrt()
        angle = (probe * other).sum(-1) / (length * (other.square().sum(-1) + FAINT**2).sqrt())
        always = torch.ones_like(length[..., :1])
        hidden = gelu(self.hidden(torch.cat([length, angle, always], 2)))
        keep, write, read, through = self.gates(torch.cat([hidden, always], 2))[..., None].chunk(4, 2)
        keep = torch.sigmoid(keep + KEEP)
        memory = keep * memory + (1 - keep) * write * new
        return memory, (read * memory + through * probe).mean(2)

    def losses(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """``loss``, and mean ``error`` over mean stress; `batch` holds what `forward` takes, ``stress`` and ``known`` (.., T).

        What is after the end of a path is not known.
        """
        with torch.autocast(batch["strain"].device.type, enabled=False):
            answer = self(batch["strain"], batch["texture"])
            square = ((answer - batch["stress"]) / self.stress_unit)[:, :, 1:].square().sum(-1)
        size = (batch["stress"] / self.stress_unit)[:, :, 1:].norm(dim=-1)
        known = batch["known"] / batch["known"].mean()
        error = (square + 1e-4).sqrt()
        return {
            "loss": (known * (error + 0.5 * square)).mean(),
            "error": (known * error).mean().detach() / (known * size).mean(),
        }
