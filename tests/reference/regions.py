"""The rule of a study's regions as it reads: every window cut out, every pair looked at, one after the other."""

from __future__ import annotations

import itertools

SLACK = 1e-9


def window_of(values, corner, side):
    return values[corner[0] : corner[0] + side, corner[1] : corner[1] + side]


def far(corner, last):
    """Squared distance of twice the window's centre from twice the picture's."""
    return (2 * corner[0] - last) ** 2 + (2 * corner[1] - last) ** 2


def apart(one, two, side):
    return abs(one[0] - two[0]) >= side or abs(one[1] - two[1]) >= side


def quarter(values):
    """The first quartile, linear between the two values beside it."""
    values = sorted(values)
    place = 0.25 * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def pair_cost(rule, scores, contrasts, last, high, low):
    eccentricity = [(far(corner, last) / (2 * last * last)) ** 0.5 for corner in (high, low)]
    share = scores[low] / scores[high] if scores[high] > 0 else 0.0
    return round(
        abs(contrasts[high] - contrasts[low])
        + rule.eccentricity * abs(eccentricity[0] - eccentricity[1])
        + rule.score * share,
        6,
    )


def choose(reference, pixels, rule):
    """``{nearer side: (reference's corner, other's corner, cost)}``."""
    size = reference.shape[0]
    side = max(1, round(rule.side * size))
    last = size - side
    everywhere = list(itertools.product(range(last + 1), repeat=2))
    grey = pixels.astype(float).mean(2)
    scores = {corner: float(window_of(reference.astype(float), corner, side).mean()) for corner in everywhere}
    roomy = [c for c in everywhere if any(apart(c, other, side) for other in itertools.product((0, last), repeat=2))]
    highest = max(scores[corner] for corner in roomy)
    peak = next(corner for corner in roomy if scores[corner] >= (1 - SLACK) * highest)
    step = max(1, round(size / 56))
    starts = [start for start in range(last + 1) if start % step == 0 or start == last]
    corners = sorted({*itertools.product(starts, repeat=2), peak})
    contrasts = {corner: float(window_of(grey, corner, side).std()) for corner in corners}
    limit = max(rule.low * highest, quarter([scores[corner] for corner in corners]))
    best = None
    for high in corners:
        if high not in roomy or scores[high] < (1 - rule.margin - SLACK) * highest:
            continue
        free = [corner for corner in corners if apart(corner, high, side)]
        low = [corner for corner in free if scores[corner] <= limit + SLACK * highest]
        if not low:
            least = min(scores[corner] for corner in free)
            low = [corner for corner in free if scores[corner] <= least + SLACK * highest]
        found = {}
        for name, fits in (("reference", lambda a, b: a < b), ("other", lambda a, b: a > b)):
            for corner in low:
                if fits(far(high, last), far(corner, last)):
                    cost = pair_cost(rule, scores, contrasts, last, high, corner)
                    if name not in found or cost < found[name][2]:
                        found[name] = (high, corner, cost)
        if not found:
            costs = [pair_cost(rule, scores, contrasts, last, high, corner) for corner in low]
            found["reference"] = (high, low[costs.index(min(costs))], min(costs))
        order = (-len(found), round(sum(cost for _, _, cost in found.values()), 6))
        if best is None or order < best[0]:
            best = (order, found)
    return best[1]


def halves(costs):
    """Every way to say which region is nearer; the most equal halves, of these the cheapest: ``(imbalance, cost)``."""
    found = []
    for sides in itertools.product(("reference", "other"), repeat=len(costs)):
        if all(side in cost for side, cost in zip(sides, costs, strict=True)):
            total = sum(cost[side] for side, cost in zip(sides, costs, strict=True))
            found.append((abs(sides.count("other") - len(costs) / 2), total))
    return min(found)
