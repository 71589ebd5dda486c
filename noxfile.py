#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""The checks of the project, each in an environment of its own: `nox`, or `nox -s tests`."""

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# One thread for each worker of pytest, as on two cores more of them only wait for each other.
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("ruff>=0.8")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package as it is installed."""
    session.install(".", "mypy>=1.13")
    package = session.run(
        "python", "-c", "import dmft; print(dmft.__path__[0])", silent=True, log=False
    )
    session.run("mypy", "--config-file", "pyproject.toml", str(package).strip())


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments are those of pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "2", *session.posargs, env=SINGLE)


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that the package allows."""
    session.install("-e", ".[test]", "--resolution=lowest-direct")
    session.run("pytest", "-n", "2", *session.posargs, env=SINGLE)


@nox.session
def docs(session: nox.Session) -> None:
    """Run the examples of the docstrings and build the documentation; warnings are errors."""
    session.install("-e", ".[docs,test]")
    session.run("pytest", "--doctest-modules", "dmft", "solvers", env=SINGLE)
    session.run("sphinx-build", "-W", "--keep-going", "docs", "docs/_build/html", env=SINGLE)


@nox.session(default=False)
def wheel(session: nox.Session) -> None:
    """Build source distribution and wheel, and solve with the installed wheel elsewhere."""
    session.install("build")
    folder = Path(session.create_tmp())
    session.run("python", "-m", "build", "--outdir", str(folder))
    (built,) = folder.glob("*.whl")
    session.install(str(built))
    with session.chdir(folder):
        session.run("dmft", "solve", "--delta", "0.5", "--t-max", "1", "--rtol", "1e-2")


if __name__ == "__main__":
    nox.main()
