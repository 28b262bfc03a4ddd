"""Executes GraphQL documents on nodes: dicts of field name -> value, or -> a function of arguments.

Nothing is checked against a schema. A field that a node lacks is answered with null and noted, so
that a new client's question shows up instead of failing elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    ListTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    SelectionSetNode,
)
from graphql import parse as parse_graphql
from graphql.utilities import value_from_ast_untyped


class QueryError(Exception):
    """The request cannot be answered; the message goes to the client as a GraphQL error."""


@functools.lru_cache
def parse(text: str) -> tuple[OperationDefinitionNode, dict[str, SelectionSetNode]]:
    """The operation in ``text`` and its fragments by name. Raises ``QueryError``."""
    try:
        definitions = parse_graphql(text, no_location=True).definitions
    except GraphQLError as error:
        raise QueryError(str(error)) from None
    [operation] = [d for d in definitions if isinstance(d, OperationDefinitionNode)]
    fragments = [d for d in definitions if isinstance(d, FragmentDefinitionNode)]
    return operation, {f.name.value: f.selection_set for f in fragments}


class Execution:
    """One answer; ``unknown`` lists the fields that no node has."""

    def __init__(self, text: str, variables: dict):
        self.operation, self.fragments = parse(text)
        self.variables: dict = {}
        self.unknown: list[str] = []
        for definition in self.operation.variable_definitions or ():
            name, kind = definition.variable.name.value, definition.type
            value = variables.get(name)
            if value is None and definition.default_value:
                value = value_from_ast_untyped(definition.default_value)
            kind = kind.type if isinstance(kind, NonNullTypeNode) else kind
            if isinstance(kind, ListTypeNode) and value is not None and not isinstance(value, list):
                value = [value]  # as GraphQL takes one value where a list is asked for
            self.variables[name] = value

    def data(self, root: dict) -> object:
        name = self.operation.name.value if self.operation.name else ""
        return self.node(root, [self.operation.selection_set], name)

    def node(self, value: Any, selections: list[SelectionSetNode], path: str) -> object:
        if isinstance(value, list):
            return [self.node(item, selections, path) for item in value]
        if value is None or not selections:
            return value
        merged: dict[str, list[FieldNode]] = {}
        for field in self.fields(selections):
            merged.setdefault((field.alias or field.name).value, []).append(field)
        answer = {}
        for key, fields in merged.items():
            below = f"{path}.{fields[0].name.value}"
            found = self.resolve(value, fields[0], below)
            inner = [field.selection_set for field in fields if field.selection_set]
            answer[key] = self.node(found, inner, below)
        return answer

    def fields(self, selections: list[SelectionSetNode]) -> Iterator[FieldNode]:
        for selected in (one for group in selections for one in group.selections):
            if not self.is_included(selected):
                continue
            if isinstance(selected, FieldNode):
                yield selected
            elif isinstance(selected, FragmentSpreadNode):
                yield from self.fields([self.fragments[selected.name.value]])
            elif isinstance(selected, InlineFragmentNode):
                yield from self.fields([selected.selection_set])

    def is_included(self, selected: Any) -> bool:
        return all(
            bool(self.arguments(directive).get("if")) == (directive.name.value == "include")
            for directive in selected.directives or ()
        )

    def resolve(self, value: dict, field: FieldNode, path: str) -> object:
        if field.name.value not in value:
            self.unknown.append(path)
            return None
        found = value[field.name.value]
        return found(**self.arguments(field)) if callable(found) else found

    def arguments(self, node: Any) -> dict:
        values = self.variables
        return {a.name.value: value_from_ast_untyped(a.value, values) for a in node.arguments or ()}
