"""Codes of the scalar maps w = phi(H) that the compiled functions know.

With p the parameters at one time:

    LINEAR      w = p0 (p1 - H)                                         D = p0
    HYPERBOLIC  w = (exp(p0 - H) - exp(p1 + H))/2                       D = -dw/dH
    POWER       w = p2 (u^L - v^L)/L, u = (p1 + (L-2) H/2)^(-1/(L-2)), L = p0, v with -H
    TABLE       w = p0 f(H), f interpolated from a table of H, f, -df/dH
"""

from __future__ import annotations

LINEAR = 0
HYPERBOLIC = 1
POWER = 2
TABLE = 3
