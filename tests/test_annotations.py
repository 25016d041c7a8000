"""Every parameter and every result of what users call is annotated."""

import importlib
import inspect

import pytest

MODULES = ["dgjax", "dgjax.numpyro", "dgjax.priors", "dgjax.scorers", "dgjax.structures", "dgjax.networks"]


@pytest.mark.parametrize("module", MODULES)
def test_what_is_public_is_annotated(module):
    functions = dict(public_functions(importlib.import_module(module)))
    assert functions
    missing = {name: lacking for name, function in functions.items() if (lacking := not_annotated(function))}
    assert not missing


def public_functions(module):
    """Functions of a module, and methods and properties of its classes, those that begin with _ left out."""
    for name, value in vars(module).items():
        if name.startswith("_") or not getattr(value, "__module__", "").startswith("dgjax"):
            continue
        if inspect.isclass(value):
            yield from methods(name, value)
        elif callable(value):
            yield name, value


def methods(name, of_class):
    for member, value in vars(of_class).items():
        value = getattr(value, "__func__", getattr(value, "fget", value))
        # A protocol has no __init__ of its own: typing puts one there.
        public = not member.startswith("_") or (member == "__init__" and value.__module__ != "typing")
        if public and inspect.isfunction(value):
            yield f"{name}.{member}", value


def not_annotated(function):
    signature = inspect.signature(function)
    lacking = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and name not in ("self", "cls")
    ]
    returns = signature.return_annotation is not signature.empty or function.__name__ == "__init__"
    return lacking + ["return"] * (not returns)
