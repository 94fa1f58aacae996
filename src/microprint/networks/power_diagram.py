"""Soft power diagrams: microstructures as a differentiable function of their seeds."""

from __future__ import annotations

from torch import Tensor

from microprint.microstructures.periodic import wrap


def soft_power_diagram(centre: Tensor, sharpness: Tensor, weight: Tensor, value: Tensor, axes: Tensor) -> Tensor:
    r"""Field (B, k, n, n, n) of values that seeds share out among themselves.

    f(x) = sum_i p_i(x) v_i with p = softmax_i(w_i - sum_a s_ia |x_a - c_ia|^2), the distances periodic. Where the
    sharpness s grows without bound this is a tessellation: of Voronoi for equal s and w, of Laguerre (a power diagram)
    for equal s, else a generalised balanced power diagram with axes along the edges, which is known to fit measured
    grains (Alpers et al. 2015, doi:10.1080/14786435.2015.1015469). Any grid may be asked for.

    Parameters
    ----------
    centre : (B, M, 3), in edges of the volume element.
    sharpness : (B, M, 3), per square edge.
    weight : (B, M).
    value : (B, M, k).
    axes : (3, n) coordinates of the voxels along each edge.
    """
    score = -sharpness[..., None] * wrap(axes - centre[..., None]).square()  # (B, M, 3, n), small: axes separate
    x, y, z = (weight[..., None, None] / 3 + score).unbind(2)
    total = x[..., :, None, None] + (y[..., :, None] + z[..., None, :])[:, :, None]
    shares = total.flatten(2).softmax(1)
    return (value.transpose(1, 2) @ shares).unflatten(2, total.shape[2:])
