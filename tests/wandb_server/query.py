"""A GraphQL reader and executor: as much of the language as the W&B clients send.

The types live in the resolvers: a node is a dict of field name -> value, or -> a function of
the field's arguments. Nothing is checked against a schema. A field that no node has is answered
with null and noted, so that a new client's question shows up instead of failing elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?P<skip>[\s,\ufeff]+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\])*")
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[_A-Za-z]\w*)
    |(?P<mark>\.\.\.|[$!(){}\[\]:=@|])""",
    re.VERBOSE,
)


class QueryError(Exception):
    """The request cannot be answered; the message goes to the client as a GraphQL error."""


@dataclass
class Field:
    name: str
    alias: str
    arguments: dict
    directives: dict
    selections: list


@dataclass
class Spread:
    fragment: str | None
    selections: list


@dataclass
class Variable:
    name: str


@dataclass
class Operation:
    name: str
    defaults: dict
    lists: set[str]
    selections: list
    fragments: dict = field(default_factory=dict)


def parse(text: str) -> Operation:
    """The operation in `text`, with its fragments. Raises QueryError where it cannot be read."""
    reader = Reader(tokens(text))
    operation, fragments = None, {}
    while not reader.done():
        if reader.accept("fragment"):
            name = reader.next()
            reader.expect("on")
            reader.next()
            fragments[name] = reader.selections()
        else:
            operation = reader.operation()
    if operation is None:
        raise QueryError("no operation in the query")
    operation.fragments = fragments
    return operation


def tokens(text: str) -> list[str]:
    found, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise QueryError(f"cannot read the query at {text[position : position + 30]!r}")
        position = match.end()
        if match.lastgroup != "skip":
            found.append(match.group())
    return found


class Reader:
    """Recursive descent over the tokens of one document."""

    def __init__(self, found: list[str]):
        self.tokens = found
        self.position = 0

    def done(self) -> bool:
        return self.position >= len(self.tokens)

    def peek(self) -> str:
        return "" if self.done() else self.tokens[self.position]

    def next(self) -> str:
        if self.done():
            raise QueryError("the query ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def accept(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.position += 1
        return True

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise QueryError(
                f"expected {token!r} before {' '.join(self.tokens[self.position :][:5])!r}"
            )

    def until(self, token: str) -> Iterator[None]:
        while not self.accept(token):
            yield

    def operation(self) -> Operation:
        name, defaults, lists = "", {}, set()
        if self.peek() != "{":
            self.next()  # query or mutation
            if self.peek() not in "({":
                name = self.next()
            if self.accept("("):
                for _ in self.until(")"):
                    self.variable_definition(defaults, lists)
        return Operation(name, defaults, lists, self.selections())

    def variable_definition(self, defaults: dict, lists: set[str]) -> None:
        self.expect("$")
        name = self.next()
        self.expect(":")
        if self.peek() == "[":
            lists.add(name)
        self.type()
        if self.accept("="):
            defaults[name] = self.value()

    def type(self) -> None:
        if self.accept("["):
            self.type()
            self.expect("]")
        else:
            self.next()
        self.accept("!")

    def selections(self) -> list:
        if not self.accept("{"):
            return []
        return [self.selection() for _ in self.until("}")]

    def selection(self) -> Field | Spread:
        if self.accept("..."):
            if self.accept("on"):
                self.next()
                return Spread(None, self.selections())
            return Spread(self.next(), [])
        alias = name = self.next()
        if self.accept(":"):
            name = self.next()
        arguments = self.arguments()
        directives = {}
        while self.accept("@"):
            directive = self.next()
            directives[directive] = self.arguments()
        return Field(name, alias, arguments, directives, self.selections())

    def arguments(self) -> dict:
        return dict(self.pair() for _ in self.until(")")) if self.accept("(") else {}

    def pair(self) -> tuple[str, object]:
        name = self.next()
        self.expect(":")
        return name, self.value()

    def value(self) -> object:
        token = self.next()
        if token == "$":
            return Variable(self.next())
        if token == "[":
            return [self.value() for _ in self.until("]")]
        if token == "{":
            return dict(self.pair() for _ in self.until("}"))
        if token[0] == '"' or token[0] in "-0123456789" or token in ("true", "false", "null"):
            return json.loads(token)
        return token  # an enum


class Execution:
    """One answer: `data` for `operation` from the root node; `unknown` lists fields nobody has."""

    def __init__(self, operation: Operation, variables: dict):
        self.operation = operation
        given = {
            # GraphQL takes one value where a list is asked for as a list of one.
            name: [value] if name in operation.lists and not isinstance(value, list) else value
            for name, value in variables.items()
            if value is not None
        }
        self.variables = operation.defaults | given
        self.unknown: list[str] = []

    def data(self, root: dict) -> dict:
        return self.node(root, self.operation.selections, self.operation.name)

    def node(self, value: object, selections: list, path: str) -> object:
        if isinstance(value, list):
            return [self.node(item, selections, path) for item in value]
        if value is None or not selections:
            return value
        answer: dict = {}
        for selected in self.fields(selections):
            if not all(self.allowed(selected)):
                continue
            below = f"{path}.{selected.name}"
            answer[selected.alias] = self.node(
                self.resolve(value, selected, below), selected.selections, below
            )
        return answer

    def fields(self, selections: list) -> Iterator[Field]:
        merged: dict[str, Field] = {}
        for selected in self.flat(selections):
            if selected.alias in merged:
                known = merged[selected.alias]
                both = known.selections + selected.selections
                selected = Field(known.name, known.alias, known.arguments, known.directives, both)
            merged[selected.alias] = selected
        yield from merged.values()

    def flat(self, selections: list) -> Iterator[Field]:
        for selected in selections:
            if isinstance(selected, Field):
                yield selected
            elif selected.fragment is None:
                yield from self.flat(selected.selections)
            else:
                yield from self.flat(self.operation.fragments[selected.fragment])

    def allowed(self, selected: Field) -> Iterator[bool]:
        for directive, arguments in selected.directives.items():
            condition = bool(self.fill(arguments.get("if")))
            yield condition if directive == "include" else not condition

    def resolve(self, value: dict, selected: Field, path: str) -> object:
        if selected.name not in value:
            self.unknown.append(path)
            return None
        found = value[selected.name]
        return found(**self.fill(selected.arguments)) if callable(found) else found

    def fill(self, value: object) -> object:
        if isinstance(value, Variable):
            return self.variables.get(value.name)
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return value
