"""W&B sweep files as YAML, read with the safe loader and without its traps."""

import itertools
from pathlib import Path
from typing import Any

import yaml

from common.errors import InputError


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses doubled keys and base-60 numbers (``3:9`` is 189).

    A date such as ``2026-11-25`` stays text, as a project's or sweep's name needs it.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(getattr(key, "value", key))
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} is given twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_int(self, node: yaml.ScalarNode) -> Any:
        if ":" in node.value:
            raise yaml.constructor.ConstructorError(
                None, None,
                f"YAML reads {node.value} as a number in base 60; write '{node.value}' in quotes",
                node.start_mark,
            )  # fmt: skip
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
    for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> tuple[dict[str, Any], str]:
    """The mapping in ``path`` and its leading comment without the ``#`` signs.

    Raises ``InputError`` for a file that is missing, not text, not YAML (with line and column), not
    a mapping, or several documents.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(
            f"{path}: cannot be read ({reason}); give a sweep file, for example "
            "sweep_configs/smoke.yaml"
        ) from None
    try:
        documents = [d for d in yaml.load_all(text, Loader=_Loader) if d is not None]  # safe
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InputError(f"{path}{where}: {problem}") from None
    if len(documents) > 1:
        names = ", ".join(str(d.get("name", "?")) for d in documents if isinstance(d, dict))
        raise InputError(
            f"{path}: {len(documents)} YAML documents (names: {names}); a file holds one sweep, "
            "write each to a file of its own"
        )
    content = documents[0] if documents else None
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a W&B sweep definition: method, metric, parameters, …")
    header = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return content, "\n".join(line[1:].strip() for line in header)
