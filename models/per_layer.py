"""One value a layer from ``N``, ``A:B`` or ``A,B,C``: the logbook's rules, without torch."""


def _positions(layers: int) -> list[float]:
    """Each layer's position in [0, 1]; 0 for a single layer."""
    return [i / (layers - 1) if layers > 1 else 0.0 for i in range(layers)]


def _listed(spec: int | str, layers: int) -> list[int] | None:
    """The values of ``N`` or ``A,B,C``; None if ``spec`` is a range."""
    text = str(spec)
    if ":" in text:
        return None
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
    values = _listed(spec, layers)
    if values is None:
        a, b = map(int, str(spec).split(":"))
        values = [int(a + (b - a) * i / max(layers - 1, 1)) for i in range(layers)]
    if min(values) < 1:
        raise ValueError(f"channels must be at least 1, got {min(values)}")
    return values


def kernels_per_layer(spec: int | str, layers: int) -> list[int]:
    """Kernel sizes of encoder layers 1..``layers``, all odd.

    A range ``a:b`` is interpolated and made odd by ``int(k / 2) * 2 + 1`` (logbook, table
    "kernel-size-range"): 3:9 over 11 layers is 3 3 5 5 5 7 7 7 7 9 9. Raises ``ValueError`` for
    a wrong number of values or an even kernel.
    """
    values = _listed(spec, layers)
    ends = [int(end) for end in str(spec).split(":")] if values is None else values
    for k in ends:
        if k % 2 == 0:
            raise ValueError(f"kernel sizes must be odd, as in the logbook ({k} is even)")
        if k < 1:
            raise ValueError(f"kernel sizes must be at least 1, got {k}")
    if values is None:
        a, b = ends
        values = [int((a * (1 - t) + t * b) / 2) * 2 + 1 for t in _positions(layers)]
    return values
