"""Can a condition be guessed from what travels beside the pixels? Kernel ridge classifiers on words and numbers.

Whoever is guessed at shares neither participant nor class neuron with those that were learnt from: otherwise a design
that shows every class neuron equally often in both conditions makes the guess worse than chance. Participants who met
the same class neurons in the same conditions are spread evenly over the folds: were one condition of a class neuron
commoner among those learnt from, it would be the rarer one among the others, and class neurons whose texts look alike
would give a guess that is off chance without any leak. Chance is what comes of swapping both conditions in half of
these participants, which keeps the design as balanced as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

__all__ = ["Guess", "guess", "number_kernel", "word_kernel"]

WORD = re.compile(r"[^\s\"',:;(){}\[\]\\]+")
PEOPLE_FOLDS, NEURON_FOLDS = 5, 4
DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Guess:
    """How well a condition was guessed.

    Attributes:
        accuracy: share of right guesses; low, high: 95 % interval, participants drawn anew.
        chance: mean accuracy where half of the participants have both conditions swapped; chance_low, chance_high: its
        95 % range.
        p: share of such swaps that do at least as well.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    chance_low: float
    chance_high: float
    p: float

    def __str__(self) -> str:
        """Return one line for a person."""
        return (
            f"{self.accuracy:.1%} right [{self.low:.1%}, {self.high:.1%}]; swapped {self.chance:.1%} "
            f"[{self.chance_low:.1%}, {self.chance_high:.1%}], p = {self.p:.3f}"
        )


def word_kernel(texts: Sequence[str]) -> np.ndarray:
    """Return the inner products ``(n, n)`` of what differs between texts, as strings of one to four characters."""
    counts = [Counter(WORD.findall(text)) for text in texts]
    same = {word for word, times in counts[0].items() if all(one[word] == times for one in counts)}
    rest = [" ".join(word for word in WORD.findall(text) if word not in same) or "nothing" for text in texts]
    found = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True).fit_transform(rest)
    return (found @ found.T).toarray()


def number_kernel(numbers: np.ndarray) -> np.ndarray:
    """Return the radial kernel ``(n, n)`` of standardised numbers ``(n, d)``."""
    return rbf_kernel(StandardScaler().fit_transform(numbers.astype(np.float64)))


def guess(
    kernel: np.ndarray, labels: np.ndarray, people: Sequence[str], neurons: Sequence[str], *, permutations: int = 1000,
    seed: int = 0,
) -> Guess:  # fmt: skip
    """Guess labels of two kinds across participants and class neurons.

    Args:
        kernel: ``(n, n)``; labels: ``(n,)`` bool; people, neurons: whose each row is.
    """
    rng = np.random.default_rng(seed)
    who, which = (np.unique(names, return_inverse=True)[1] for names in (list(people), list(neurons)))
    signs = np.where(labels, 1.0, -1.0)
    alike = _alike(signs, who, which)
    parts = _spread(alike, PEOPLE_FOLDS, rng)
    targets = np.column_stack([signs, *(signs * _swaps(alike, parts, rng)[who] for _ in range(permutations))])
    right = _right(kernel, targets, parts[who], _folds(which, NEURON_FOLDS, rng))
    scores = right.mean(axis=0)
    low, high = np.percentile(_bootstrap(right[:, 0], who, rng), (2.5, 97.5))
    chance_low, chance_high = np.percentile(scores[1:], (2.5, 97.5))
    p = (1 + (scores[1:] >= scores[0]).sum()) / (1 + permutations)
    return Guess(scores[0], low, high, scores[1:].mean(), chance_low, chance_high, float(p))


def _folds(codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each row, ``(n,)``; rows of one group share it."""
    groups = codes.max() + 1
    return (rng.permutation(groups) % min(count, groups))[codes]


def _alike(signs: np.ndarray, who: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return each participant's group ``(people,)``: those who met the same class neurons in the same conditions."""
    met = [sorted(zip(which[who == person], signs[who == person], strict=True)) for person in range(who.max() + 1)]
    return np.unique([repr(one) for one in met], return_inverse=True)[1]


def _spread(alike: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return each participant's fold ``(people,)``; every group is spread over all folds."""
    order = np.lexsort((rng.random(len(alike)), alike))
    parts = np.empty(len(alike), int)
    parts[order] = np.arange(len(alike)) % count
    return parts


def _swaps(alike: np.ndarray, parts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return 1 or -1 for each participant, half of each group and about half of its part of each fold."""
    order = np.lexsort((rng.random(len(alike)), parts, alike))
    swaps = np.empty(len(alike))
    swaps[order] = np.where((np.arange(len(alike)) + rng.integers(2)) % 2, 1.0, -1.0)
    return swaps


def _right(kernel: np.ndarray, targets: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which guesses are right, ``(n, columns)`` bool."""
    right = np.zeros(targets.shape, bool)
    for one in np.unique(first):
        for other in np.unique(second):
            test = np.flatnonzero((first == one) & (second == other))
            train = np.flatnonzero((first != one) & (second != other))
            if not len(test):
                continue
            model = KernelRidge(alpha=1.0, kernel="precomputed").fit(kernel[np.ix_(train, train)], targets[train])
            right[test] = np.sign(model.predict(kernel[np.ix_(test, train)])) == targets[test]
    return right


def _bootstrap(right: np.ndarray, who: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return accuracies ``(DRAWS,)`` with participants drawn anew."""
    hits, rows = np.bincount(who, right), np.bincount(who)
    drawn = rng.integers(0, len(rows), (DRAWS, len(rows)))
    return hits[drawn].sum(axis=1) / rows[drawn].sum(axis=1)
