"""Files of the Hugging Face hub, from its usual cache or the internet.

Cached files need no connection; a missing one is noticed at once, where the hub's own client retries for most of a
minute. Only the few files that are read are fetched, none above the size limit, and nothing that comes with them is
run.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from spade_core.config import Settings
from spade_core.errors import ModelError
from spade_core.models.weights import check_reachable

logger = logging.getLogger(__name__)

_NAME = r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?"
_REVISION = r"\w[\w./-]*"


@dataclass(frozen=True)
class Repository:
    """A repository of the hub.

    Attributes:
        name: ``owner/name``; revision: a branch, tag or commit, or None.
        title: what people called it, for errors; advice: what they may do without a connection.
    """

    name: str
    revision: str | None
    title: str
    advice: str

    @classmethod
    def parse(cls, text: str, title: str, advice: str) -> Repository:
        """Read ``owner/name`` or ``owner/name@revision``.

        Raises:
            ModelError: it is no such name.
        """
        if not re.fullmatch(f"{_NAME}(?:@{_REVISION})?", text) or ".." in text:
            raise ModelError(f"{title!r} names no model of the hub: give hf-hub:OWNER/NAME, or its folder as weights.")
        name, _, revision = text.partition("@")
        return cls(name, revision or None, title, advice)

    def file(self, *names: str) -> Path | None:
        """Return the first of the named files that the repository has, cached before fetched ones; None: it has none.

        Raises:
            ModelError: it is neither cached nor reachable, there is no such repository, or it is too large.
        """
        from huggingface_hub import try_to_load_from_cache

        found = [try_to_load_from_cache(self.name, name, revision=self.revision) for name in names]
        cached = [one for one in found if isinstance(one, str)]
        if cached:
            return Path(cached[0])
        # What is neither a path nor None is the cache's word that there is no such file.
        unknown = [name for name, one in zip(names, found, strict=True) if one is None]
        return self._fetched(unknown) if unknown else None

    def _fetched(self, names: list[str]) -> Path | None:
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            if constants.HF_HUB_OFFLINE:
                raise ConnectionError("HF_HUB_OFFLINE is set")
            check_reachable(hf_hub_url(self.name, names[0], revision=self.revision))
            return next(filter(None, map(self._download, names)), None)
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            logger.info("%s: %s", self.name, error)
            raise ModelError(
                f"{constants.ENDPOINT} shows no model {self.title} to the public: check its name and revision."
            ) from None
        except _network_errors() as error:
            logger.info("download of %s failed: %s", self.name, error)
            raise ModelError(
                f"The weights of {self.title} could not be fetched from {constants.ENDPOINT}/{self.name}: connect to "
                f"the internet, put them into the Hugging Face cache ({constants.HF_HUB_CACHE}), or {self.advice}."
            ) from None

    def _download(self, name: str) -> Path | None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError

        try:
            size = get_hf_file_metadata(hf_hub_url(self.name, name, revision=self.revision)).size or 0
        except EntryNotFoundError:
            logger.info("%s has no %s", self.name, name)
            return None
        limit = Settings.from_environment().max_weights_bytes
        if size > limit:
            raise ModelError(
                f"The file {name} of {self.title} has {size / 2**20:.0f} MB, more than the {limit / 2**20:.0f} MB "
                "allowed: raise SPADE_MAX_WEIGHTS_BYTES, or take a smaller model."
            )
        return Path(hf_hub_download(self.name, name, revision=self.revision))


def _network_errors() -> tuple[type[Exception], ...]:
    errors: tuple[type[Exception], ...] = (OSError,)  # requests' are; those of its successor httpx are not
    with contextlib.suppress(ImportError):
        errors += (importlib.import_module("httpx").HTTPError,)
    return errors
