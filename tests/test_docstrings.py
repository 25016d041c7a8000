"""Every docstring stands alone, and says which errors its own constructor or function raises."""

import ast
import importlib
import inspect
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = [ROOT / "dgjax", ROOT / "kernels" / "dgjax_kernels"]
MODULES = ["dgjax", "dgjax.numpyro", "dgjax.priors", "dgjax.scorers"]
LEANS = re.compile(r"\b(likewise|ditto|ibid|see above|as above|the one above|the same (for|of|as rows|with))\b", re.I)
RAISES = re.compile(r"\braise \w|\b(check|expect)_\w+\(|\b(at_least_one|not_negative|as_count|as_key)\(")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_docstring_leans_on_the_one_before_it(folder):
    texts = {place: text for path in sorted(folder.rglob("*.py")) for place, text in docstrings(path)}
    assert texts
    assert not {place: text for place, text in texts.items() if LEANS.search(text)}


@pytest.mark.parametrize("module", MODULES)
def test_errors_of_public_functions_and_constructors_are_documented(module):
    own = [(name, *source_and_text(value)) for name, value in vars(importlib.import_module(module)).items()]
    raising = {name: text for name, source, text in own if not name.startswith("_") and RAISES.search(source)}
    assert raising
    assert not {name for name, text in raising.items() if "aises" not in text}


def docstrings(path):
    """Place and text of each docstring in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def source_and_text(value):
    """Source of a function, or of a class's constructor, in this package; and the docstring beside it."""
    if not getattr(value, "__module__", "").startswith("dgjax"):
        return "", ""
    if inspect.isclass(value):
        made = (vars(value).get(name) for name in ("__post_init__", "__init__"))
        by = [function for function in made if inspect.isfunction(function) and function.__module__ == value.__module__]
    else:
        by = [inspect.unwrap(value)] if inspect.isfunction(inspect.unwrap(value)) else []
    return "\n".join(source_of(function) for function in by), value.__doc__ or ""


def source_of(function):
    try:
        return inspect.getsource(function)
    except OSError:  # a dataclass writes its own __init__
        return ""
