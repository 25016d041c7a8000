"""Frozen dataclasses that are pytrees, made by the decorator `dataclass`: the classes of all models and their parts."""

import dataclasses
import functools
import textwrap
from typing import Any, Literal, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dgjax import _advice
from dgjax._arguments import as_array, is_concrete
from dgjax._elsewhere import of_attribute
from dgjax._parameters import check_numbers

T = TypeVar("T")

DATACLASSES: dict[str, type] = {}
"""Dataclasses made by `dataclass`, by their names: what `dgjax.load` may build, and nothing else."""
LINE = 88  # characters of a model that is shown on one line
MADE: set[type] = set()
"""Dataclasses made by `dataclass`, those of users that share a name too."""


def static(**kwargs: Any) -> Any:
    """A dataclass field that holds a plain Python value: part of the pytree's structure, not a leaf."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


def tree(**kwargs: Any) -> Any:
    """A dataclass field that holds any pytree of arrays, stored without conversion."""
    return dataclasses.field(metadata={"tree": True}, **kwargs)


@dataclass_transform(frozen_default=True, field_specifiers=(static, tree, dataclasses.field))
def dataclass(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that is a pytree of its fields.

    The constructor converts NumPy arrays, lists and numbers to JAX arrays. JAX rebuilds such objects without the
    constructor, so a transformation may put anything in place of a leaf.

    The constructor raises ValueError for NaN and plus infinity in fields of floats, unless the class is `unchecked`.
    """
    check = getattr(cls, "__post_init__", None)

    def settle(self: Any) -> None:
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            value, place = getattr(self, field.name), f"{cls.__name__}({field.name}=...)"
            if field.metadata.get("static", False):
                object.__setattr__(self, field.name, _as_plain(value, place))
            elif not field.metadata:
                floats = _is_float(field.type)
                if floats and not getattr(cls, "unchecked", False):
                    value = as_array(value, place, "real numbers", missing=None) if _is_given(value) else value
                    check_numbers(value, place)
                object.__setattr__(self, field.name, _as_arrays(value, place, floats))
        if check is not None:
            check(self)

    cls.__post_init__ = settle  # type: ignore[attr-defined]
    cls = dataclasses.dataclass(frozen=True, repr=False)(cls)
    if cls.__repr__ is object.__repr__:
        cls.__repr__ = described
    if not hasattr(cls, "__getattr__"):
        cls.__getattr__ = of_attribute  # type: ignore[attr-defined]
    # The annotations are those of the fields; the constructor takes anything that becomes such an array.
    cls.__no_type_check__ = True  # type: ignore[attr-defined]
    _register(cls)
    # No class of a user's takes the place of one of these: their files would load as something else.
    if not DATACLASSES.get(cls.__name__, cls).__module__.startswith("dgjax.") or cls.__module__.startswith("dgjax."):
        DATACLASSES[cls.__name__] = cls
    return cls


def described(self: Any) -> str:
    """`__repr__` of models and their parts: fields by name, arrays by dtype and shape, as `mean: float32[3,4]`.

    On one line, or one for each field where that is too long.
    """
    plain = {field.name for field in dataclasses.fields(self) if field.metadata.get("static", False)}
    fields = {field.name: getattr(self, field.name, None) for field in dataclasses.fields(self)}
    parts = [f"{name}={value!r}" if name in plain else f"{name}: {_brief(value)}" for name, value in fields.items()]
    line = f"{type(self).__name__}({', '.join(parts)})"
    if len(line) <= LINE and "\n" not in line:
        return line
    lines = textwrap.indent("".join(f"{part},\n" for part in parts), "    ")
    return f"{type(self).__name__}(\n{lines})"


def _brief(value):
    """Text of a field: an array's dtype and shape, or its number if it has no axes; parts in turn."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        number = shape == () and is_concrete(value) and not jnp.issubdtype(dtype, jax.dtypes.extended)
        return f"{value.item():.6g}" if number else f"{dtype}[{','.join(map(str, shape))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_brief, value))}{',' * (len(value) == 1)})"
    if type(value) is dict:
        return f"{{{', '.join(f'{key}: {_brief(part)}' for key, part in value.items())}}}"
    return repr(value) if dataclasses.is_dataclass(value) else _advice.shown(value)


def _register(cls):
    """Registration of a dataclass as a pytree: its fields are children, the static ones part of the structure."""
    data, meta = _field_names(cls, static=False), _field_names(cls, static=True)
    keys = tuple(map(jax.tree_util.GetAttrKey, data))

    def flatten(self):
        fields = self.__dict__
        return [fields[name] for name in data], tuple([fields[name] for name in meta])

    def flatten_with_keys(self):
        children, aux = flatten(self)
        return tuple(zip(keys, children, strict=True)), aux

    def unflatten(aux, children):
        self = object.__new__(cls)
        self.__dict__.update(zip(data, children, strict=True))
        self.__dict__.update(zip(meta, aux, strict=True))
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    MADE.add(cls)


def precisions(model: Any) -> frozenset[Any]:
    """Dtypes of a model's parameters, which it remembers: it is frozen, and JAX rebuilds it from its fields alone."""
    remembered = model.__dict__ if type(model) in MADE else {}
    if "_precisions" not in remembered:
        remembered["_precisions"] = frozenset(leaf.dtype for leaf in jax.tree.leaves(model))
    return remembered["_precisions"]


def trained(model: Any) -> list[bool]:
    """Whether each leaf of a model, in their order, is learnt: not so in fields that a part says are `untrained`."""

    def has_constants(node: Any) -> bool:
        return type(node) in MADE and bool(getattr(node, "untrained", ()))

    found: list[bool] = []
    for node in jax.tree.leaves(model, is_leaf=has_constants):
        if has_constants(node):
            fields = _field_names(type(node), static=False)
            parts = ((name in node.untrained, trained(getattr(node, name))) for name in fields)
            found += [own and not constant for constant, leaves in parts for own in leaves]
        else:
            found.append(True)
    return found


def for_complete_rows(model: T) -> T:
    """Specialisation of a model to complete rows: every cell is observed, and was found in its column's support.

    Each part whose class says `complete = False` becomes one of a class that differs in `complete = True` alone, so
    that its methods need not look for missing cells, nor be compiled for them. A part that says None stays as it is,
    with its own parts, for they see other rows than the model does. Nothing keeps such a model: it is made where a
    program is traced.
    """
    return _in_form(model, True)


def for_any_rows(model: T) -> T:
    """Inverse of `for_complete_rows`: the model for rows that may miss cells."""
    return _in_form(model, False)


def _in_form(part: Any, complete: bool) -> Any:
    """Part of a model with `complete` as given, in it and in all its parts; what `dataclass` did not make stays."""
    if isinstance(part, tuple):
        return tuple(_in_form(own, complete) for own in part)
    own: Any = type(part)
    form = getattr(own, "complete", False)
    if own not in MADE or form is None:
        return part
    if form is not complete and hasattr(own, "complete"):
        own = _complete_form(own) if complete else own.__base__
    changed = object.__new__(own)
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        object.__setattr__(changed, field.name, value if field.metadata else _in_form(value, complete))
    return changed


@functools.cache
def _complete_form(cls):
    """Dataclass that differs from another in `complete` alone. It has no name of its own: it is never saved."""
    form = type(cls.__name__, (cls,), {"complete": True, "__module__": cls.__module__, "__doc__": cls.__doc__})
    _register(form)
    return form


def expect_part(owner: Any, name: str, contract: type | str, kind: str) -> None:
    """Raises ValueError unless field `name` of `owner` is a part of that `kind`: of a class, or with a method."""
    part = getattr(owner, name)
    if not (hasattr(type(part), contract) if isinstance(contract, str) else isinstance(part, contract)):
        raise ValueError(f"{type(owner).__name__}({name}=...) must be {kind}; got a {type(part).__name__}.")


HOMES = {"density": "Mixture(log_weights, density)", "scorer": "Logistic(bias, scorer)"}
"""Where a part that is of whole sequences belongs."""


def expect_rows(owner: Any, part: Any, kind: Literal["density", "scorer"]) -> None:
    """Raises ValueError if a part that is to be of rows, as a part of `owner`, is of whole sequences or no density."""
    kinds = getattr(part, "capabilities", None)
    if kinds is not None and kinds.log_prob == "none":
        raise ValueError(
            f"{type(owner).__name__} expects a {kind} that knows log p(x); a {type(part).__name__} draws rows and "
            "tells classes, and is a model by itself alone, or as dgjax.Mixture(log_weights, density)."
        )
    if part.sequential:
        raise ValueError(
            f"{type(owner).__name__} expects a {kind} of rows; got a {type(part).__name__}, which is one of whole "
            f"sequences. A {kind} of sequences goes into dgjax.{HOMES[kind]}."
        )


def _field_names(cls: type, static: bool) -> tuple[str, ...]:
    if dataclasses.is_dataclass(cls):
        return tuple(f.name for f in dataclasses.fields(cls) if f.metadata.get("static", False) is static)
    return ()


@functools.cache
def _is_float(annotation: Any) -> bool:
    """Whether a field's jaxtyping annotation is an array of floats."""
    return all("float" in name for name in getattr(annotation, "dtypes", ("int",)))


def _as_arrays(value: Any, place: str, floats: bool) -> Any:
    if value is None or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return value
    if isinstance(value, tuple | list) and any(part is None or dataclasses.is_dataclass(part) for part in value):
        return tuple(value)
    if isinstance(value, Array) and jnp.issubdtype(value.dtype, jax.dtypes.extended):  # a key
        return value
    if _is_given(value) or hasattr(value, "__array__"):
        array = as_array(value, place, "real numbers", missing=None)
        if isinstance(array, np.ndarray):  # in NumPy: JAX wraps ints of more than 32 bits
            wide = array.dtype.kind != "f" or array.dtype.itemsize > 8
            # A copy, for the caller may change his own; JAX's would be a program for each shape.
            return jax.device_put(np.array(array, jax.dtypes.canonicalize_dtype(float) if wide else array.dtype))
        return array.astype(float) if floats and not jnp.issubdtype(array.dtype, jnp.floating) else array
    if hasattr(value, "dtype"):
        return value
    raise ValueError(f"{place} must be an array or another part of a model; got {_advice.shown(value)}.")


def _is_given(value: Any) -> bool:
    """Whether a value is numbers on the host, which are checked before they move to a device."""
    return isinstance(value, np.ndarray | np.generic | list | tuple | float | int)


def _as_plain(value: Any, place: str) -> Any:
    """A static field with NumPy scalars as Python numbers: JAX hashes it as a compilation key, and `save` writes it."""
    if isinstance(value, tuple | list):
        return type(value)(_as_plain(part, place) for part in value) if type(value) in (tuple, list) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Array | np.ndarray):
        if value.ndim or not is_concrete(value):
            given = "an array" if is_concrete(value) else "a value that is not known before compiling"
            raise ValueError(f"{place} must be a plain number, string or tuple, of which arrays depend; got {given}.")
        return value.item()
    return value
