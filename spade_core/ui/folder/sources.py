"""Which pictures: bundled ones, a folder of the server's, or a zip of one's own."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from PIL import Image, ImageOps

from spade_core.errors import PictureError, SpadeError
from spade_core.pictures.archive import Limits, unpacked
from spade_core.pictures.picture import READABLE, Source, bundled, load_picture, read_file
from spade_core.pictures.splits import reference_files, spread
from spade_core.roles import DEMO_PICTURES, allows
from spade_core.ui.common.frame import jobs, settings
from spade_core.ui.common.pickers import HELD, may_type, select, type_folder
from spade_core.ui.common.subject import shelved
from spade_core.ui.common.text import literal
from spade_core.ui.common.uploads import KEPT, MIB, UPLOADED, ask_for_file
from spade_core.ui.neurons.references import BUNDLED, folders

TYPED, ZIP = "typed", "zip"
MOST = 200  # pictures that the page takes at a time; the command line takes any number
ZIP_BYTES = 200 * MIB
LIMITS = Limits(MOST, 256 * MIB)  # half of what the server keeps of all uploaded pictures
SHOWN, SMALL = 24, 104  # pictures before a run, and px of each
UNPACKED = "folder_zip_kept"  # the session's: which upload was unpacked, and to what


@dataclass(frozen=True)
class Chosen:
    """Pictures that were picked.

    Attributes:
        pictures: as payloads name them; images: how the command line names their folder or archive.
        linkable: whether a link can name them: all bundled pictures.
    """

    pictures: tuple[Source, ...]
    images: str
    linkable: bool = False


def pick_pictures() -> Chosen | None:
    """Draw the choice of pictures; return None while something is missing."""
    known = folders(settings().references)
    titles = {BUNDLED: "Bundled pictures"} | {name: name for name in known if name != BUNDLED}
    if may_type():
        titles[TYPED] = "A folder on this computer …"
    if allows(settings().mode, "bring"):
        titles[ZIP] = "Upload a zip …"
    chosen = select("Pictures", titles, BUNDLED, "folder_from")
    try:
        if chosen == BUNDLED:
            return _pick_bundled()
        if chosen == ZIP:
            return _unpack_upload()
        return _type_folder() if chosen == TYPED else _listed(known[chosen], f"The folder “{chosen}”")
    except SpadeError as error:
        st.error(literal(error), icon=":material/folder_off:")
        return None


def _pick_bundled() -> Chosen | None:
    known = bundled()
    most = DEMO_PICTURES if settings().mode == "demo" else len(known)
    first = list(known)[:most]
    titles = {name: entry.title for name, entry in known.items()}
    with st.expander("Which of them", icon=":material/checklist:"):
        names = st.multiselect(
            "Which of them",
            titles,
            first,
            format_func=titles.__getitem__,
            max_selections=most,
            key="folder_bundled",
            label_visibility="collapsed",
        )
    if not names:
        st.caption("Choose at least one picture.")
        return None
    pictures = tuple(_named(shelved(f"bundled:{name}"), known[name].file) for name in names)
    return Chosen(pictures, "assets/pictures", names == first)


def _named(source: Source, name: str) -> Source:
    """Return the source with the name of its file, as a folder would have it."""
    source["name"] = name
    return source


def _type_folder() -> Chosen | None:
    hint = f"Its {READABLE} files, not those of folders in it."
    path = type_folder("folder_path", "/home/me/pictures", hint)
    return None if path is None else _listed(path, "The folder")


def _listed(folder: Path, called: str) -> Chosen:
    """Return the pictures of a folder; no sentence tells where it lies, as whoever reads it may not know."""
    try:
        found = reference_files(folder)
    except (SpadeError, OSError) as error:
        raise PictureError(f"{called} is absent, cannot be read, or holds no pictures: choose another.") from error
    if len(found) > MOST:
        st.caption(
            f":material/info: {len(found):,} pictures are there; {MOST} spread over them are taken. The command line "
            "takes them all."
        )
    taken = spread(found, MOST)
    return Chosen(tuple(_source(path) for path in taken), str(folder))


def _source(path: Path) -> Source:
    """Return how payloads name a file; what cannot be read has no content, and the run says why."""
    try:
        state = path.stat()
        content = _content((str(path), state.st_size, state.st_mtime_ns))
    except (PictureError, OSError):
        content = ""
    return {"path": str(path), "name": path.name, "sha256": content}


@st.cache_data(max_entries=4096, show_spinner=False)
def _content(file: tuple[str, int, int]) -> str:
    """Return the sha256 of a file of a path, a size and a time of change."""
    return hashlib.sha256(read_file(Path(file[0]))).hexdigest()


def _unpack_upload() -> Chosen | None:
    """Unpack an upload once; its pictures are kept by their content, as those that are uploaded one by one."""
    hint = f"Up to {MOST} pictures and {ZIP_BYTES // MIB} MB; folders in it are fine."
    file = ask_for_file("Zip of pictures", "folder_zip", ZIP_BYTES, hint=hint)
    if file is None:
        st.session_state.pop(UNPACKED, None)
        st.caption(hint)
        return None
    before, pictures = st.session_state.get(UNPACKED, ("", ()))
    if before != file.file_id:
        pictures = tuple(_kept(name, data) for name, data in unpacked(file, LIMITS))
        st.session_state[UNPACKED] = file.file_id, pictures
    return Chosen(pictures, file.name)


def _kept(name: str, data: bytes) -> Source:
    return jobs().shelve(name, hashlib.sha256(data).hexdigest(), data)


def show_pictures(pictures: Sequence[Source]) -> None:
    """Show the first pictures that can be read, small."""
    place = st.container(horizontal=True)
    for source in pictures[:SHOWN]:
        if (small := _small(source["path"], source.get("sha256", ""))) is not None:
            place.image(small, caption=source.get("name"), width=SMALL, alt=source.get("name"))
    if len(pictures) > SHOWN:
        st.caption(f"and {len(pictures) - SHOWN} more")


@st.cache_data(max_entries=512, show_spinner=False)
def _small(path: str, content: str) -> bytes | None:
    """Return a small WebP of a picture of that content, or None where it is none."""
    try:
        image = Image.fromarray(load_picture(path).pixels) if content else None
    except PictureError:
        image = None
    if image is None:
        return None
    out = io.BytesIO()
    ImageOps.fit(image, (2 * SMALL, 2 * SMALL)).save(out, "WEBP", quality=80)
    return out.getvalue()


def link_of(source: Source) -> str:
    """Return how a link names a picture: ``bundled:NAME``, or as an upload that this session now holds.

    Raises:
        PictureError: it is there no more.
    """
    if source["path"].startswith("bundled:"):
        return source["path"]
    name = str(source.get("name"))
    kept = shelved(name, read_file(Path(source["path"]), name))
    token = st.session_state[HELD] = KEPT.keep(name, kept["path"])
    return UPLOADED + token


def by_name(pictures: Sequence[Source]) -> Mapping[str, Source]:
    """Return the pictures by their files' names, as rows have them."""
    return {str(one.get("name")): one for one in pictures}
