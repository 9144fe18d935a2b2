"""Can a condition be guessed from what travels beside the pixels? Kernel ridge classifiers on words and numbers.

Whoever is guessed at shares neither participant nor class neuron with those that were learnt from: otherwise a design
that shows every class neuron equally often in both conditions makes the guess worse than chance. Chance is what comes
of permuting each participant's conditions. That holds only where every participant's class neurons have an order of
their own: in one study, whose design gives them one order, neighbours in it never share a condition, and texts that
name nothing but class neurons are guessed off chance, above or below.
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

WORD = re.compile(r"[^\s\"',:;(){}\[\]\\]+")
PEOPLE_FOLDS, NEURON_FOLDS = 5, 4
DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Guess:
    """How well a condition was guessed.

    Attributes:
        accuracy: share of right guesses; low, high: 95 % interval, participants drawn anew.
        chance: mean accuracy with labels permuted within participants; chance_low, chance_high: its 95 % range.
        p: share of permutations that do at least as well.
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
            f"{self.accuracy:.1%} right [{self.low:.1%}, {self.high:.1%}]; permuted {self.chance:.1%} "
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
    targets = np.column_stack([signs, *(_permuted(signs, who, rng) for _ in range(permutations))])
    right = _right(kernel, targets, _folds(who, PEOPLE_FOLDS, rng), _folds(which, NEURON_FOLDS, rng))
    scores = right.mean(axis=0)
    low, high = np.percentile(_bootstrap(right[:, 0], who, rng), (2.5, 97.5))
    chance_low, chance_high = np.percentile(scores[1:], (2.5, 97.5))
    p = (1 + (scores[1:] >= scores[0]).sum()) / (1 + permutations)
    return Guess(scores[0], low, high, scores[1:].mean(), chance_low, chance_high, float(p))


def _folds(codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each row, ``(n,)``; rows of one group share it."""
    groups = codes.max() + 1
    return (rng.permutation(groups) % min(count, groups))[codes]


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


def _permuted(signs: np.ndarray, who: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    found = signs.copy()
    for person in range(who.max() + 1):
        rows = np.flatnonzero(who == person)
        found[rows] = rng.permutation(found[rows])
    return found


def _bootstrap(right: np.ndarray, who: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return accuracies ``(DRAWS,)`` with participants drawn anew."""
    hits, rows = np.bincount(who, right), np.bincount(who)
    drawn = rng.integers(0, len(rows), (DRAWS, len(rows)))
    return hits[drawn].sum(axis=1) / rows[drawn].sum(axis=1)
