"""Column headings and values as a reader writes them."""

from typing import Any

TITLES = {
    "place": "#", "differs": "differs from best", "from_best": "from best",
    "from_baseline": "from baseline, %", "joined": "settings", "group_runs": "runs",
    "test_difference": "test difference", "bn_encoder": "bn enc", "bn_decoder": "bn dec",
    "residual_weight": "residual weight", "images_per_second": "images/s", "lr": "learning rate",
    "receptive_field": "receptive field", "multiply_adds": "multiply-adds",
    "train_images": "train images", "val_images": "val images", "runs": "seeds",
}  # fmt: skip


def title(column: str) -> str:
    """The heading of a column."""
    return TITLES.get(column, column.replace("_", " "))


def show(value: Any) -> str:
    """A setting as a reader writes it: ``1.0`` as 1, True as yes, None as a dash.

    Control characters, which could steer a terminal, are replaced.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(char if char.isprintable() else "�" for char in text)
