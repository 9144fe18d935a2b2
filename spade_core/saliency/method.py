"""What a method is to those who choose it: its title, its cost, and how its options are said.

Command line, links, the pages' fields, the command that a page shows, and the manifest's configuration derive from the
declarations in ``options.py``. Nothing heavy is imported: a formula, and torch with it, comes when it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypeVar

from spade_core.errors import ConfigError, LayerError
from spade_core.pruning.kinds import Kind, OneOf
from spade_core.saliency.options import MethodOption

if TYPE_CHECKING:
    from torch import Tensor

    from spade_core.models.loaded import LoadedModel
    from spade_core.saliency.base import Task

T = TypeVar("T")
ANOTHER = "Choose another method."
_PACKAGE = __name__.rpartition(".")[0]


@dataclass(frozen=True)
class Method:
    """An attribution method as people choose it; its formula is the function of its slug's name in ``module``.

    Attributes:
        slug, title: how it is chosen and shown.
        cost: ``fast`` (a few passes), ``medium`` (tens) or ``slow`` (hundreds).
        module: of this package.
        signed: whether its map has negative evidence.
        needs: ``module:function`` of this package that says why it cannot be applied to a model; empty: it always can.
        options: what can be set, by name.
        help: one line with the method's paper, for people.
    """

    slug: str
    title: str
    cost: str
    module: str
    signed: bool = True
    needs: str = ""
    options: Mapping[str, MethodOption] = field(default_factory=dict)
    help: str = ""

    def attribute(self, task: Task) -> Tensor:
        """Return the attribution ``(1, channels, height, width)``; its sum over the channels is the map."""
        return resolve_name(f"{_PACKAGE}.{self.module}:{self.slug}")(task)

    def demand(self, model: LoadedModel) -> None:
        """Refuse a model to which the method cannot be applied.

        Raises:
            LayerError: it cannot be.
        """
        if reason := self.unsupported(model):
            raise LayerError(f"{reason} {ANOTHER}")

    def unsupported(self, model: LoadedModel) -> str | None:
        """Return one sentence why the method cannot be applied to ``model``, or None."""
        return resolve_name(f"{_PACKAGE}.{self.needs}")(model, self.title) if self.needs else None

    def complete(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return all options, ``given`` over the defaults; None leaves one at its default.

        Raises:
            ConfigError: an option is unknown or out of its range.
        """
        return {**{name: option.default for name, option in self.options.items()}, **self.checked(given)}

    def checked(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return of ``given`` what is said, each value as the method uses it.

        Raises:
            ConfigError: an option is unknown or out of its range.
        """
        values = {name: value for name, value in given.items() if value is not None}
        return {name: self._told(self.option(name).kind.check, value) for name, value in values.items()}

    def read(self, name: str, text: str) -> object:
        """Return the value of an option that a link gives as text.

        Raises:
            ConfigError: the option is unknown, or the text has no such value.
        """
        return self._told(self.option(name).kind.read, text)

    def option(self, name: str) -> MethodOption:
        """Return one option.

        Raises:
            ConfigError: there is no such option.
        """
        if name not in self.options:
            advice = f"take {', '.join(self.options)}" if self.options else "leave it out"
            raise ConfigError(f"{self.title} has no option {name!r}: {advice}.")
        return self.options[name]

    def _told(self, convert: Callable[[T], object], value: T) -> object:
        """Return ``convert(value)``; what cannot be converted is told with the method's title."""
        try:
            return convert(value)
        except ConfigError as error:
            sentence = str(error)
            raise ConfigError(f"{self.title}: {sentence[0].lower()}{sentence[1:]}") from None


@dataclass(frozen=True)
class MethodOptions(Kind[Mapping[str, Mapping[str, object]]]):
    """Options of several methods, without those at their defaults, by method and name.

    ``lime.samples:99,occlusion.window:0.2`` in a link, ``--option lime.samples=99 --option occlusion.window=0.2`` in
    words.
    """

    table: Mapping[str, Method]

    def check(self, value: object) -> Mapping[str, Mapping[str, object]]:
        pairs = value.items() if isinstance(value, Mapping) else [(value, {})]
        checked = {slug: self._method(slug).checked(given) for slug, given in pairs}
        return self._but_defaults(checked)

    def read(self, text: str) -> Mapping[str, Mapping[str, object]]:
        return self._parsed((item for item in text.split(",") if item), ":", Method.read)

    def said(self, items: Iterable[str]) -> Mapping[str, Mapping[str, object]]:
        """Return the options of a command's words.

        Raises:
            ConfigError: a word is no option of a method, or has no value that can be used.
        """
        return self._parsed(items, "=", lambda method, name, text: method.checked({name: text})[name])

    def write(self, value: Mapping[str, Mapping[str, object]]) -> str:
        return ",".join(f"{place}:{text}" for place, text in self._texts(value))

    def words(self, flag: str, value: Mapping[str, Mapping[str, object]]) -> list[str]:
        return [word for place, text in self._texts(value) for word in (flag, f"{place}={text}")]

    def _parsed(
        self, items: Iterable[str], mark: str, value_of: Callable[[Method, str, str], object]
    ) -> Mapping[str, Mapping[str, object]]:
        found: dict[str, dict[str, object]] = {}
        for item in items:
            place, told, text = item.partition(mark)
            slug, dot, name = place.partition(".")
            if not told or not dot:
                example = f"integrated_gradients.steps{mark}64"
                raise ConfigError(f"{item!r} is no option of a method: give METHOD.NAME{mark}VALUE, as {example}.")
            found.setdefault(slug, {})[name] = value_of(self._method(slug), name, text)
        return self._but_defaults(found)

    def _method(self, slug: object) -> Method:
        return self.table[OneOf("method", self.table).check(slug)]

    def _but_defaults(self, given: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
        found = {}
        for slug, values in given.items():
            options = self.table[slug].options
            if changed := {name: value for name, value in values.items() if value != options[name].default}:
                found[slug] = changed
        return found

    def _texts(self, value: Mapping[str, Mapping[str, object]]) -> list[tuple[str, str]]:
        return [
            (f"{slug}.{name}", self.table[slug].options[name].kind.write(one))
            for slug, given in value.items()
            for name, one in given.items()
        ]
