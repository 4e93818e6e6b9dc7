"""Numbers that stand for all numbers in between, such as those that a curve is drawn through."""


def spread(first: int, last: int, points: int) -> list[int]:
    """Return at most so many whole numbers from `first` to `last`, evenly spread, both ends among them."""
    if last < first:
        return []
    steps = min(points, last - first + 1) - 1
    return [first] if steps == 0 else [first + (last - first) * step // steps for step in range(steps + 1)]
