"""Objects named by text, so that registries import nothing heavy."""

import importlib
from typing import Any


def load_object(path: str) -> Any:
    """The object at ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
