"""Power diagrams: microstructures as a function of their seeds, sharp to draw and soft to learn."""

from __future__ import annotations

import torch
from torch import Tensor

from microprint.microstructures.periodic import compiled_here, least_power, voxel_centres, wrap


@torch.no_grad()
def owners(site: Tensor, metric: Tensor, weight: Tensor, axes: Tensor) -> Tensor:
    """The seed (B, n, n, n) that has each voxel: that with the least sum_a m_a (x_a - s_ia)^2 - w_i, distances periodic.

    Without weights this is a Voronoi tessellation, with weights a power diagram (a Laguerre tessellation), of a space that
    is stretched along its axes. Sites (B, M, 3) are in edges of the volume element, `axes` (3, n) the coordinates of the
    voxels; the metric (B, 3) are factors, weights (B, M) squared edges.
    """
    x, y, z = _squares(site, metric, axes)
    return least_power(x, y - weight[..., None], z)


def assignment_loss(
    site: Tensor, metric: Tensor, weight: Tensor, sharpness: Tensor, grain_id: Tensor, member: Tensor
) -> Tensor:
    r"""Mean over voxels of -ln sum_(i in the voxel's grain) p_i(x), (B,) in nats: how far the cells are from the grains.

    p = softmax_i(k (w_i - sum_a m_a (x_a - s_ia)^2)) with the `sharpness` k, 1 / squared edges. `member` (B, M, G) tells
    whether a cell is (a part of) a grain; faces between cells of one grain cost nothing. Grain ids are (B, n, n, n).
    Differentiable in site, metric, weight and sharpness.
    """
    if compiled_here(site):
        return _Compiled.apply(site, metric, weight, sharpness, grain_id, member)
    axes = voxel_centres(grain_id.shape[-1], site.device).expand(3, -1)
    x, y, z = _squares(site, metric, axes)
    power = x[..., :, None, None] + (y[..., :, None] + z[..., None, :])[:, :, None] - weight[..., None, None, None]
    share = (-sharpness * power).flatten(2).log_softmax(1)  # (B, M, n^3)
    ids = grain_id.flatten(1).long()[:, None].expand(-1, share.shape[1], -1)
    return -share.masked_fill(~member.gather(2, ids), -torch.inf).logsumexp(1).mean(1)


def _squares(site: Tensor, metric: Tensor, axes: Tensor) -> tuple[Tensor, ...]:
    """Squared distances (B, M, n) of voxels from sites along each axis, which add up."""
    return (metric[:, None, :, None] * wrap(axes - site[..., None]).square()).unbind(2)


class _Compiled(torch.autograd.Function):
    """`assignment_loss` with its gradients, which cost little more than the loss."""

    @staticmethod
    def forward(ctx, site, metric, weight, sharpness, grain_id, member):
        from microprint.networks.compiled_assignment import assignment

        offset = wrap(voxel_centres(grain_id.shape[-1]) - site.detach()[..., None])
        arrays = (t.detach().double().contiguous().numpy() for t in (offset, metric, weight))
        loss, *gradients = assignment(*arrays, float(sharpness), grain_id.contiguous().numpy(), member.numpy())
        ctx.save_for_backward(*(torch.from_numpy(gradient).to(site.dtype) for gradient in gradients))
        return torch.from_numpy(loss).to(site.dtype)

    @staticmethod
    def backward(ctx, outer):
        site, metric, weight, sharpness = ctx.saved_tensors
        scaled = outer[:, None, None] * site, outer[:, None] * metric, outer[:, None] * weight
        return *scaled, (outer * sharpness).sum(), None, None
