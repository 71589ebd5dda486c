"""What to cite: BibTeX of the theory and the methods that a result rests on.

A result names its sources by their keys in `ENTRIES`; a preprint's key is its number on arXiv.
"""

from __future__ import annotations

from typing import Any

from dmft import __version__

ENTRIES: dict[str, dict[str, str]] = {
    "2510.01930": {
        "author": "Nishiyama, Sota and Imaizumi, Masaaki",
        "title": "Precise Dynamics of Diagonal Linear Networks: A Unifying Analysis by "
        "Dynamical Mean-Field Theory",
        "year": "2025",
    },
    "2112.07572": {
        "author": "Celentano, Michael and Cheng, Chen and Montanari, Andrea",
        "title": "The high-dimensional asymptotics of first order methods with random data",
        "year": "2021",
    },
    "2412.16765": {
        "author": "Labarri{\\`e}re, Hippolyte and Molinari, Cesare and Rosasco, Lorenzo and Vega, "
        "Cristian and Villa, Silvia",
        "title": "Optimization Insights into Deep Diagonal Linear Networks",
        "year": "2024",
    },
    "2607.12332": {
        "author": "Zhao and others",
        "title": "{arXiv}:2607.12332 (saddle-to-saddle dynamics of deep diagonal networks)",
        "year": "2026",
    },
    "2304.00488": {
        "author": "Pesme, Scott and Flammarion, Nicolas",
        "title": "Saddle-to-Saddle Dynamics in Diagonal Linear Networks",
        "year": "2023",
    },
    "2601.10483": {
        "author": "Martin, Simon and Biroli, Giulio and Bach, Francis",
        "title": "High-Dimensional Analysis of Gradient Flow for Extensive-Width Quadratic "
        "Neural Networks",
        "year": "2026",
    },
    "hairer1996": {
        "author": "Hairer, Ernst and Wanner, Gerhard",
        "title": "Solving Ordinary Differential Equations {II}: Stiff and "
        "Differential-Algebraic Problems",
        "publisher": "Springer",
        "edition": "2",
        "year": "1996",
        "doi": "10.1007/978-3-642-05221-7",
    },
    "stetter1978": {
        "author": "Stetter, Hans J.",
        "title": "The defect correction principle and discretization methods",
        "journal": "Numerische Mathematik",
        "volume": "29",
        "pages": "425--443",
        "year": "1978",
        "doi": "10.1007/BF01432879",
    },
    "gerstner1998": {
        "author": "Gerstner, Thomas and Griebel, Michael",
        "title": "Numerical integration using sparse grids",
        "journal": "Numerical Algorithms",
        "volume": "18",
        "pages": "209--232",
        "year": "1998",
        "doi": "10.1023/A:1019129717644",
    },
    "joe2008": {
        "author": "Joe, Stephen and Kuo, Frances Y.",
        "title": "Constructing {Sobol} sequences with better two-dimensional projections",
        "journal": "SIAM Journal on Scientific Computing",
        "volume": "30",
        "pages": "2635--2654",
        "year": "2008",
        "doi": "10.1137/070709359",
    },
}


def cite(result: Any = None) -> str:
    r"""Return BibTeX entries of this software and of what a result rests on.

    Parameters
    ----------
    result : Result, optional
        Such as a solution or an ensemble; the theory of diagonal networks by default.

    Returns
    -------
    str
        One entry for each of `result.sources`, in their order, after that of the software.

    Raises
    ------
    TypeError
        If the argument has no `sources`, so that it is no result.

    Examples
    --------
    >>> import dmft
    >>> print(dmft.cite().split("\n")[0])
    @software{dmft,
    """
    sources = ("2510.01930",) if result is None else getattr(result, "sources", None)
    if sources is None:
        raise TypeError(f"result must be a result such as a dmft.Solution; got {result!r}")
    software = {
        "author": "{The dmft developers}",
        "title": "dmft: dynamical mean-field theory of training dynamics",
        "version": __version__,
        "year": "2026",
    }
    entries = [_entry("software", "dmft", software)]
    for key in dict.fromkeys(sources):
        fields = ENTRIES[key]
        if key[0].isdigit():
            preprint = {"eprint": key, "archiveprefix": "arXiv"}
            entries.append(_entry("misc", f"arxiv{key}", fields | preprint))
        else:
            entries.append(_entry("article" if "journal" in fields else "book", key, fields))
    return "\n\n".join(entries)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = ",\n".join(f"  {name} = {{{text}}}" for name, text in fields.items())
    return f"@{kind}{{{key},\n{lines}\n}}"
