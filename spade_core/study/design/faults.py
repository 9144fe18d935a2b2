"""What is wrong with a design's YAML, in one sentence that names the field, the nearest known one, and the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import pairwise
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError

Place = tuple[int | str, ...]
_FIELD = re.compile(r"“(\w+)”")


class Loader(yaml.SafeLoader):
    """Reads plain values, and says on which line one stands that it cannot read."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """Return the value of a node."""
        try:
            return super().construct_object(node, deep)
        except (
            ValueError,
            TypeError,
            AttributeError,
            ArithmeticError,
        ) as error:  # dates that are none, numbers of 5,000 digits
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


def unreadable(error: Exception, text: str) -> str:
    """Return why a text is no YAML, and on which line."""
    line = None
    if isinstance(error, RecursionError):
        return "The design is no YAML that can be read: its brackets lie too deep within each other."
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
    elif isinstance(error, yaml.reader.ReaderError):
        line = 1 + text.count("\n", 0, error.position)
    problem = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return f"The design is no YAML: {problem[:200]}{_on(line)}."


def invalid(error: ValidationError, text: str, model: type[BaseModel]) -> str:
    """Return the first thing that keeps a YAML text from being a design; an unknown field explains a missing one."""
    faults = error.errors()
    first = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    place = first["loc"]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"there is no such field{_nearest(place, model)}"
    named = _FIELD.search(message) if first["type"] == "value_error" else None  # of several fields, the first named
    line = _line(text, (*place, named[1]) if named else place)
    where = ".".join(str(part) for part in place) or "design"
    return f"The design's “{where}” cannot be used: {message}{_on(line)}."


def _on(line: int | None) -> str:
    return "" if line is None else f" (line {line})"


def _nearest(place: Place, model: type[BaseModel]) -> str:
    """Return the known field that looks most like an unknown one, in words, or all known ones."""
    known = _fields_beside(place, model)
    close = get_close_matches(str(place[-1]), known, 1, cutoff=0.5)
    return f"; did you mean “{close[0]}”?" if close else f"; it has {', '.join(known)}"


def _fields_beside(place: Place, model: type[BaseModel]) -> list[str]:
    parts = [model]
    for before, name in pairwise(("", *place[:-1])):
        of_kind = [part for part in parts if isinstance(before, int) and name in _kinds(part)]
        inner = [part.model_fields[str(name)].annotation for part in parts if str(name) in part.model_fields]
        if of_kind:
            parts = of_kind
        elif isinstance(name, str):
            parts = [found for one in inner for found in _models(one)]
    return list(dict.fromkeys(name for part in parts for name in part.model_fields))


def _kinds(model: type[BaseModel]) -> tuple[object, ...]:
    """Return what the field ``kind`` may be, which pydantic has in the place of a fault after the element's number."""
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models within the type of a field, such as those of a tuple's elements."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _line(text: str, place: Place) -> int | None:
    """Return on which line a field stands, or the part that should hold it; None: neither is there."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for before, part in pairwise(("", *place)):
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            kind = isinstance(before, int) and any(
                (key.value, value.value) == ("kind", part) for key, value in node.value
            )
            if found is not None and not kind:
                line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
