"""Small linear systems of the compiled law: elimination, and substitution for one or six right-hand sides."""

from microprint.jit import part


@part
def eliminate(a, lower, order, n):
    """Gauss elimination with partial pivoting of the first n rows of a, right-hand side included, four columns at a time.

    Row k was exchanged with row order[k]; the factors of the others and inverse pivots go to `lower`.
    """
    width = n // 4 * 4 + 4
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(a[i, k]) > abs(a[best, k]):
                best = i
        order[k] = best
        if best != k:
            for j in range(width):
                a[k, j], a[best, j] = a[best, j], a[k, j]
            for j in range(k):
                lower[k, j], lower[best, j] = lower[best, j], lower[k, j]
        inverse = 1.0 / a[k, k]
        lower[k, k] = inverse
        for i in range(k + 1, n):
            factor = a[i, k] * inverse
            lower[i, k] = factor
            for j in range(k // 4 * 4, width, 4):
                a0, a1 = a[i, j] - factor * a[k, j], a[i, j + 1] - factor * a[k, j + 1]
                a2, a3 = a[i, j + 2] - factor * a[k, j + 2], a[i, j + 3] - factor * a[k, j + 3]
                a[i, j], a[i, j + 1], a[i, j + 2], a[i, j + 3] = a0, a1, a2, a3


@part
def back_substitute(a, lower, x, n):
    """Solution of the eliminated system."""
    for k in range(n - 1, -1, -1):
        total = a[k, n]
        for j in range(k + 1, n):
            total -= a[k, j] * x[j]
        x[k] = total * lower[k, k]


@part
def solve_six(a, lower, order, x, n):
    """Solve in place for six right-hand sides, the columns of x, with the factors of `eliminate`."""
    for k in range(n):
        if order[k] != k:
            for c in range(6):
                x[k, c], x[order[k], c] = x[order[k], c], x[k, c]
    for k in range(n):
        x0, x1, x2, x3, x4, x5 = x[k, 0], x[k, 1], x[k, 2], x[k, 3], x[k, 4], x[k, 5]
        for i in range(k + 1, n):
            _subtract(x, i, lower[i, k], x0, x1, x2, x3, x4, x5)
    for k in range(n - 1, -1, -1):
        f = lower[k, k]
        x0, x1, x2, x3, x4, x5 = f * x[k, 0], f * x[k, 1], f * x[k, 2], f * x[k, 3], f * x[k, 4], f * x[k, 5]
        x[k, 0], x[k, 1], x[k, 2], x[k, 3], x[k, 4], x[k, 5] = x0, x1, x2, x3, x4, x5
        for i in range(k):
            _subtract(x, i, a[i, k], x0, x1, x2, x3, x4, x5)


@part
def _subtract(x, i, f, x0, x1, x2, x3, x4, x5):
    """Row i of x less f times another."""
    y0, y1, y2 = x[i, 0] - f * x0, x[i, 1] - f * x1, x[i, 2] - f * x2
    y3, y4, y5 = x[i, 3] - f * x3, x[i, 4] - f * x4, x[i, 5] - f * x5
    x[i, 0], x[i, 1], x[i, 2], x[i, 3], x[i, 4], x[i, 5] = y0, y1, y2, y3, y4, y5
