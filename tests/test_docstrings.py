"""Public functions and classes have an example in their docstring, which the doctests run."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import dmft
import dmft.solvers

PICTURES = ("dmft.figures.plots", "dmft.figures.paths", "dmft.figures.sweeps", "dmft.report")
INSIDE = 240  # Functions and classes of inner modules without one: it may only fall.


def public_of(module):
    """Return the functions and classes that a module itself defines, by their full names.

    Compiled functions are left out, as other compiled code alone calls them, and so are those that
    compile them, which are all called alike.
    """
    return {
        f"{module.__name__}.{name}": value
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and not name.startswith("_")
        and name != "compile_functions"
        and value.__module__ == module.__name__
    }


def modules():
    found = {info.name for info in pkgutil.walk_packages(dmft.__path__, "dmft.")}
    # in an editable installation it stands in a folder of its own
    found |= {info.name for info in pkgutil.walk_packages(dmft.solvers.__path__, "dmft.solvers.")}
    for name in sorted(found - {"dmft.__main__"}):
        try:
            yield importlib.import_module(name)
        except ImportError:  # an extra that is not installed
            if not name.startswith(("dmft.report", "dmft.sweeps")):
                raise


def without_example(objects):
    parser = doctest.DocTestParser()
    return sorted(
        name for name, value in objects.items() if not parser.get_examples(value.__doc__ or "")
    )


def test_every_public_name_has_an_example():
    names = {f"dmft.{name}": getattr(dmft, name) for name in dmft.__all__}
    public = {name: value for name, value in names.items() if not inspect.ismodule(value)}
    for name in PICTURES:
        public |= public_of(pytest.importorskip(name))
    assert len(public) > 60
    assert without_example(public) == []


def test_every_function_and_class_of_the_mathematics_has_an_example():
    solvers = {}
    for module in modules():
        if module.__name__.startswith("dmft.solvers"):
            solvers |= public_of(module)
    assert len(solvers) > 50
    assert without_example(solvers) == []


def test_inner_functions_and_classes_gain_examples():
    inner = {}
    for module in modules():
        inner |= public_of(module)
    missing = without_example(inner)
    assert len(missing) <= INSIDE, f"{len(missing)} have no example: {missing}"


def test_what_has_no_example_is_found():
    def bare():
        """Return nothing."""

    assert without_example({"bare": bare, "Grid": dmft.Grid}) in (["bare"], ["Grid", "bare"])
    assert without_example({"bare": bare}) == ["bare"]
