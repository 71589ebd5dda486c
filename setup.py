"""Names the packages: `solvers/` at the top of the repository is shipped as `dmft.solvers`."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["dmft", "dmft.*"]),
        *(f"dmft.{name}" for name in find_packages(include=["solvers", "solvers.*"])),
    ],
    package_dir={"dmft.solvers": "solvers"},
)
