"""What is compared: every way to make a method's map of a picture, each declared once.

An arm says which networks a method explains: the dense model, traces of it by their options, or one network for all
pictures; and what its maps are multiplied with. To add one, add a line to ``_ALL``; most are nothing but options of
``spade_core.trace``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spade_core.errors import ConfigError
from spade_core.pruning.options import RATIO_OPTIONS, BundleOptions
from spade_core.pruning.sparsity import WEIGHTED_METHOD


@dataclass(frozen=True)
class Arm:
    """One way to make maps.

    Attributes:
        slug, title, help: how it is chosen and shown.
        trace: options of the traces that are explained, over what the run gives for all; None: the dense model is.
        traces: how many traces, of a seed each; the map is then the mean of theirs.
        average: of ``AVERAGES``, what that mean is of.
        copies: over how many noisy copies of the picture a map is averaged, as SmoothGrad's are, whatever its
            processing; 0: as that says.
        guide: function of ``guides`` that gives what the maps are multiplied with.
        folder: ``module:function`` of ``baselines`` that makes one network of a folder for all pictures, in the place
            of traces.
    """

    slug: str
    title: str
    help: str
    trace: Mapping[str, object] | None = None
    traces: int = 1
    average: str = BundleOptions().average
    copies: int = 0
    guide: str = ""
    folder: str = ""

    @property
    def magnitudes(self) -> bool:
        """Whether its maps are means of magnitudes, which have no sign."""
        return self.copies > 0 or self.bundle.magnitudes

    @property
    def bundle(self) -> BundleOptions:
        """How many traces a map is made of, and how."""
        return BundleOptions(traces=self.traces, average=self.average)

    def options(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return the options of its traces; a preset of its own replaces the ratios that are ``given``."""
        own = self.trace or {}
        return {
            name: value for name, value in given.items() if "preset" not in own or name not in RATIO_OPTIONS
        } | dict(own)


_FASTSPADE = "The default of version 0.1: SparseGPT as the paper's FastSPADE, all receptive fields alike, no refit."
_GLOBAL = "One mask for all pictures, by the mean second moments of a folder's; solver and ratios as the default's."
_SPARSE_FC = "The last layer fitted to the model's predictions for a folder, by an elastic net (Wong et al. 2021)."
_NOISY = "The default with four noisy copies of the picture among its views."
_OF_BUNDLE = "The same; more passes than three {} and their gradient maps take."
_SEEN_NOISE = {"views": 8, "untouched": 3, "noisy": 4}
_ALL = (
    Arm("dense", "Dense", "The model as it is."),
    Arm("default", "SPADE, default", "A trace by the options as given, else by the model's default preset.", {}),
    Arm("weighted", "SPADE, weighted", "Receptive fields weighted by the target, with a refit.", WEIGHTED_METHOD),
    Arm("noisy", "SPADE, noisy views", _NOISY, _SEEN_NOISE),
    Arm("unweighted", "SPADE, unweighted", "The default with all receptive fields alike.", {"weighting": "none"}),
    Arm("fastspade", "FastSPADE", _FASTSPADE, {"preset": "unweighted"}),
    Arm("paper", "Paper's method", "1,024 random views, each layer on its own.", {"preset": "paper"}),
    Arm("spade", "SPADE, exact", "The default by the exact solver.", {"solver": "spade"}),
    Arm("magnitude", "Magnitude", "The default with a mask by magnitude.", {"solver": "magnitude"}),
    Arm("admm", "SPADE, ADMM", "The default by ADMM.", {"solver": "admm"}),
    Arm("spade_rows", "SPADE, exact by row", "The default by the exact solver, row by row.", {"solver": "spade-rows"}),
    Arm("random", "Random", "The default with a random mask.", {"solver": "random"}),
    Arm("bundle2", "Bundle of two", "Mean of the magnitudes of two default traces.", {}, traces=2),
    Arm("bundle", "Bundle of three", "Mean of the magnitudes of three default traces.", {}, traces=3),
    Arm("bundle5", "Bundle of five", "Mean of the magnitudes of five default traces.", {}, traces=5),
    Arm("signed2", "Two, signed", "Mean of the maps of two default traces.", {}, traces=2, average="signed"),
    Arm("signed", "Three, signed", "Mean of the maps of three default traces.", {}, traces=3, average="signed"),
    Arm("signed5", "Five, signed", "Mean of the maps of five default traces.", {}, traces=5, average="signed"),
    Arm("noisy_bundle", "Three, noisy views", "Mean of the magnitudes of three such traces.", _SEEN_NOISE, traces=3),
    Arm("smoothgrad", "Dense, noisy copies", "Mean of the dense magnitudes at 8 noisy copies.", copies=8),
    Arm("smoothgrad24", "Dense, 24 noisy copies", _OF_BUNDLE.format("default traces"), copies=24),
    Arm("smoothgrad64", "Dense, 64 noisy copies", _OF_BUNDLE.format("noisy traces at 8 copies each"), copies=64),
    Arm("global", "One mask for all", _GLOBAL, {}, folder="global_mask:global_mask"),
    Arm("sparse_fc", "Sparse FC", _SPARSE_FC, folder="sparse_fc:sparse_fc"),
    Arm("relevance", "Dense x relevance", "Dense maps times the relevance of all layers.", guide="relevant"),
    Arm("relevance_mask", "Dense where relevant", "Dense maps on the most relevant tenth.", guide="most_relevant"),
)
ARMS: dict[str, Arm] = {arm.slug: arm for arm in _ALL}


def of_bundle(bundle: BundleOptions) -> str:
    """Return the arm whose maps are made of so many default traces.

    Raises:
        ConfigError: there is none.
    """
    known = {arm.bundle: slug for slug, arm in ARMS.items() if arm.trace == {} and not arm.folder}
    asked = bundle if bundle.traces != 1 else BundleOptions()
    if asked not in known:
        counts = ", ".join(map(str, sorted({one.traces for one in known})))
        raise ConfigError(f"Maps of many pictures are not made of {bundle.traces} traces: take one of {counts}.")
    return known[asked]
