"""Identity of an experiment: which runs and sweep points are the same one.

An identity is a hash of the command and of the options that differ from their neutral value, each
option's original default. An option that is added later, and whose neutral value keeps the
old behaviour, therefore changes no identity. A changed default changes the identity of the runs
that use it. An option whose values changed their meaning has a version, which is hashed with it.
Left out are the options marked ``identity=False``: run folder, tracking, device, place of the data.
"""

import hashlib
import json
from typing import Any

from experiment.settings import Settings, options_of

VERSION = 1  # of this rule
MAX_NAME = 64  # characters of a made run name

# The options whose values commit 73bab81 hashed, neutral or not.
_SHARED = (
    "data", "size", "train_images", "val_images", "epochs", "images", "batch_size", "lr",
    "weight_decay", "optimizer", "scheduler", "seed", "precision", "compile", "deterministic",
)  # fmt: skip
LEGACY_OPTIONS = {
    "resconv": (
        *_SHARED, "checkpoint_activations", "layers", "ks", "ch", "residual_weight", "bn_encoder",
        "bn_decoder", "bn_last", "act", "stride", "padding", "groups", "conv", "rank", "loss",
    ),
    "classify": (
        *_SHARED, "model", "conv", "rank", "dropout", "flip", "shift", "cutout",
        "label_smoothing", "mirror_eval",
    ),
}  # fmt: skip


def experiment_settings(settings: Settings) -> dict[str, Any]:
    """The options that belong to the identity and differ from their neutral value."""
    values = settings.flat()
    kept = {}
    for name, option in options_of(settings.command).items():
        value = values[name]
        changed = value != option.neutral or option.version > 1
        if option.identity and changed and option.has_effect(values):
            kept[name if option.version == 1 else f"{name}@{option.version}"] = value
    return kept


def identity(settings: Settings) -> str:
    """12 hex digits, equal for equal experiments on any machine."""
    content = {"version": VERSION, "command": settings.command} | experiment_settings(settings)
    return _hash(content)


def default_name(settings: Settings) -> str:
    """A run name that differs where experiments differ: ``resconv-l11-k3-9-c32-lr0.001``.

    The command, the options that its net always shows, then every option of the identity that
    has an effect and is not the command's default. A name that would be too long ends in the
    identity.
    """
    prefixes, values = type(settings.net).name_prefixes, settings.flat()
    if values.get("conv") == "select" and "conv" not in prefixes:
        prefixes = prefixes | {"conv": ""}
    parts = [settings.command]
    for name, prefix in prefixes.items():
        rank = values["rank"] if name == "conv" and values[name] == "select" else ""
        parts.append(f"{prefix}{values[name]}{rank}")
    for name, o in options_of(settings.command).items():
        hidden = name in prefixes or name in ("data", "conv", "rank") or not o.identity
        if not hidden and values[name] != o.default and o.has_effect(values):
            parts.append(f"{name.replace('_', '')}{values[name]}")
    text = "-".join(parts).replace(":", "-").replace(",", "_").lower()
    return shortened_name(text, identity(settings))


def shortened_name(text: str, key: str) -> str:
    """``text``, or its beginning and that of ``key`` where it is too long for a run's name."""
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 9]}-{key[:8]}"


def legacy_identity(settings: Settings) -> str | None:
    """The fingerprint that commit 73bab81 gave these settings; None if it could not express them.

    Journals of its sweeps name their points by it.
    """
    legacy = LEGACY_OPTIONS.get(settings.command)
    if legacy is None or set(experiment_settings(settings)) - set(legacy):
        return None
    values = settings.flat()
    content = {"task": settings.command, "checkpoint_activations": False}
    content |= {name: values[name] for name in legacy}
    if content["conv"] == "full":
        del content["rank"]
    return _hash(content)


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
