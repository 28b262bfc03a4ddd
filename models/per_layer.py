"""One value a layer from ``N``, ``A:B`` or ``A,B,C``: the logbook's rules, without torch."""

from collections.abc import Callable


def _values(
    spec: int | str, layers: int, between: Callable[[int, int, int, int], int]
) -> list[int]:
    """The values of a spec; those of a range are ``between(a, b, i, layers - 1)``."""
    text = str(spec)
    if ":" in text:
        a, b = map(int, text.split(":"))
        return [between(a, b, i, max(layers - 1, 1)) for i in range(layers)]
    values = [int(part) for part in text.split(",")]
    if "," not in text:
        return values * layers
    if len(values) != layers:
        raise ValueError(
            f"has {len(values)} values for {layers} layers; give one value a layer, a single "
            "value or a range"
        )
    return values


def channels_per_layer(spec: int | str, layers: int) -> list[int]:
    """Output channels of encoder layers 1..``layers``.

    A range ``a:b`` gives ``int(a + (b - a) * i / (layers - 1))``: truncated, not rounded
    (logbook, table "channels"). Raises ``ValueError`` for a wrong number of values, or a zero.
    """
    values = _values(spec, layers, lambda a, b, i, last: int(a + (b - a) * i / last))
    if min(values) < 1:
        raise ValueError(f"channels must be at least 1, got {min(values)}")
    return values


def kernels_per_layer(spec: int | str, layers: int) -> list[int]:
    """Kernel sizes of encoder layers 1..``layers``, all odd.

    A range ``a:b`` is interpolated and made odd by ``int(k / 2) * 2 + 1`` (logbook, table
    "kernel-size-range"): 3:9 over 11 layers is 3 3 5 5 5 7 7 7 7 9 9. Raises ``ValueError`` for
    a wrong number of values or an even kernel.
    """
    values = _values(
        spec, layers, lambda a, b, i, last: int((a * (1 - i / last) + i / last * b) / 2) * 2 + 1
    )
    for k in map(int, str(spec).replace(":", ",").split(",")):
        if k % 2 == 0:
            raise ValueError(f"kernel sizes must be odd, as in the logbook ({k} is even)")
        if k < 1:
            raise ValueError(f"kernel sizes must be at least 1, got {k}")
    return values
