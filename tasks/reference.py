"""Known errors of the nearest-neighbour baseline, by data set: what a net must beat."""

from collections.abc import Mapping
from typing import Any

# val/l1_composite of the nearest training images, by data set, corruption, size, training and
# validation images: python train.py baseline --method knn --data fashion-mnist
NEAREST: dict[tuple[Any, ...], float] = {("fashion-mnist", "half", "28", 60_000, 10_000): 0.0396}


def beside_baseline(config: Mapping[str, Any], last: Mapping[str, float]) -> str | None:
    """One line: the run's ``val/l1_composite`` beside the kNN baseline's; None where unknown."""
    dataset, ours = config.get("dataset") or {}, last.get("val/l1_composite")
    height, _, width = str(config.get("size")).partition("x")
    size = height if width in ("", height) else f"{height}x{width}"
    images = dataset.get("train"), dataset.get("val")
    known = NEAREST.get((dataset.get("name"), config.get("corruption"), size, *images))
    if ours is None or known is None or config.get("command") == "baseline":
        return None
    share = abs(1 - ours / known)
    verdict = f"{share:.1%} {'below' if ours < known else 'above'}"
    return f"val/l1_composite {ours:.4f} is {verdict} the nearest training images' {known:.4f}"
