"""JSON schemas as each provider takes them: the root one object, every object closed, refused keywords taken out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from agentroute.targets.model_rules import ModelRules

__all__ = ["FittedSchema", "SchemaRules", "count_choices", "fit_schema", "is_object", "is_recursive", "why_not_strict"]

Schema: TypeAlias = Mapping[str, Any]

_COMBINATORS: Final = ("allOf", "anyOf", "oneOf")
_ONE: Final = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
_MANY: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""The keywords that hold one schema, a list of them, and schemas by name. Under any other keyword stands plain data."""

_HOLDING: Final = frozenset({*_ONE, *_MANY, *_NAMED})

_MAX_DEPTH: Final = 100
_MAX_SCHEMAS: Final = 20_000
"""Deeper and larger schemas are sent as they are: no provider takes one, and none is worth our stack."""


@dataclass(frozen=True, slots=True)
class SchemaRules:
    """What a provider takes of JSON Schema.

    `root_object`: the root says `type: object`. `root_refused`: keywords that may not stand at the root; of those that
    join schemas one is enough for all. `closed`: every object says `additionalProperties: false`. `all_required`: every
    property is required. `refused`: keywords that may stand nowhere. `formats`: the values of `format` that are taken;
    None for all. `recursion`: whether a schema may hold itself. `references`: whether `$ref` is followed; if not, what
    it names must stand in its place. `type_beside_any`: whether `type` may stand beside `anyOf`. `ref_siblings`:
    whether anything may stand beside `$ref`.
    """

    root_object: bool = False
    root_refused: frozenset[str] = frozenset()
    closed: bool = False
    all_required: bool = False
    refused: frozenset[str] = frozenset()
    formats: frozenset[str] | None = None
    recursion: bool = True
    references: bool = True
    type_beside_any: bool = True
    ref_siblings: bool = True

    @classmethod
    def of_tool(cls, rules: ModelRules, *, strict: bool) -> SchemaRules:
        """Of the schema of a tool."""
        closed = strict and "strict" in rules.closed_objects
        refused = {*rules.keywords_refused, *(rules.strict_keywords_refused if strict else ())}
        return cls._of(rules, refused, closed=closed, strict=strict)

    @classmethod
    def of_answer(cls, rules: ModelRules, *, strict: bool) -> SchemaRules:
        """Of the schema of an answer."""
        closed = "answer" in rules.closed_objects or (strict and "strict" in rules.closed_objects)
        refused = {
            *rules.keywords_refused,
            *rules.answer_keywords_refused,
            *(rules.strict_keywords_refused if strict else ()),
        }
        return cls._of(rules, refused, closed=closed, strict=closed)

    @classmethod
    def _of(cls, rules: ModelRules, refused: Iterable[str], *, closed: bool, strict: bool) -> SchemaRules:
        formats = rules.strict_formats
        return cls(
            root_object=rules.root_object,
            root_refused=frozenset(rules.root_keywords_refused),
            closed=closed,
            all_required=strict and rules.all_required,
            refused=frozenset(refused),
            formats=frozenset(formats) if strict and formats is not None else None,
            recursion=rules.recursive_schemas or not strict,
            references=rules.references,
            type_beside_any=rules.type_beside_any_of,
            ref_siblings=not (strict and rules.all_required),
        )


@dataclass(frozen=True, slots=True)
class FittedSchema:
    """The schema as the provider takes it, what was changed (for the record), and what the model should be told in
    words because the schema does not say it any more."""

    schema: Schema
    changes: tuple[str, ...] = ()
    told: str = ""


def fit_schema(schema: Schema, rules: SchemaRules, what: str = "the schema") -> FittedSchema:
    """The same schema within these rules; the object itself if nothing has to be done. It is never changed.

    `what` begins each change. Limits that have to go ("minimum": 1) stay in the description of their place, where a
    model reads them.

    >>> fit_schema({"properties": {"a": {"type": "string"}}}, SchemaRules(root_object=True)).schema
    {'type': 'object', 'properties': {'a': {'type': 'string'}}}
    """
    if not _bounded(schema):
        return FittedSchema(schema)
    fitting = _Fitting(schema, rules, what)
    found = fitting.walk(fitting.root(schema))
    if not rules.references and found is not schema and not is_recursive(schema):
        found = {key: value for key, value in found.items() if key not in ("$defs", "definitions")}
    return FittedSchema(found, tuple(fitting.changes), fitting.told)


def is_object(schema: Schema) -> bool:
    """Whether the root can be written as one object: it is one, or a choice between some."""
    kind = schema.get("type")
    if kind is not None:
        return kind == "object" or (isinstance(kind, list) and "object" in kind)
    if "enum" in schema or "const" in schema:
        return False
    held = _pointed(schema, schema["$ref"]) if isinstance(schema.get("$ref"), str) else None
    if held is not None and held is not schema:
        return is_object({**held, "$defs": schema.get("$defs", {})}) if "$ref" not in held else False
    for key in ("anyOf", "oneOf"):
        branches = [branch for branch in _list(schema, key) if branch.get("type") != "null"]
        if branches and not all(is_object(_deref(schema, branch)) for branch in branches):
            return False
    return True


def is_recursive(schema: Schema) -> bool:
    """Whether a `$ref` leads back to a schema that holds it."""
    known: dict[str, bool] = {}
    if not _bounded(schema):
        return True

    def loops(inner: Schema, path: tuple[str, ...]) -> bool:
        for held in _every(inner):
            name = held.get("$ref")
            if not isinstance(name, str):
                continue
            if name in path or name == "#":
                return True
            if name not in known:
                target = _pointed(schema, name)
                known[name] = False
                known[name] = target is not None and loops(target, (*path, name))
            if known[name]:
                return True
        return False

    return loops(schema, ())


def why_not_strict(schema: Schema, rules: SchemaRules) -> str | None:
    """Why this schema cannot be kept to the letter under the rules of strict tools, in words; None if it can.

    A strict tool has only what it names, and where every property is required an optional one would have to come as
    null: the tool never asked for that.
    """
    if not _bounded(schema):
        return "its schema is too large"
    if not rules.recursion and is_recursive(schema):
        return "its schema holds itself"
    for held in _every(schema):
        if rules.closed and held.get("additionalProperties") not in (None, False):
            return "it takes properties of any name"
        if rules.all_required and set(_named(held)) - set(_texts(held.get("required"))):
            return "some of its properties are optional"
        for key in _STRUCTURE & rules.refused:
            if key in held:
                return f"`{key}` stands in its schema"
    return None


def count_choices(schema: Schema) -> tuple[int, int]:
    """How many optional properties the schema has, and how many places that take one type or another."""
    if not _bounded(schema):
        return _MAX_SCHEMAS, _MAX_SCHEMAS
    optional = unions = 0
    for held in _every(schema):
        optional += len(set(_named(held)) - set(_texts(held.get("required"))))
        unions += isinstance(held.get("type"), list) or "anyOf" in held or "oneOf" in held
    return optional, unions


_STRUCTURE: Final = frozenset(
    {"allOf", "not", "patternProperties", "propertyNames", "if", "then", "else", "dependentSchemas", "contains"}
)
"""Keywords that shape a value. Without one the schema would say something else; a lost limit only says less."""


class _Fitting:
    """One schema on its way: its root (for `$ref`), the rules, and what was done so far."""

    def __init__(self, root: Schema, rules: SchemaRules, what: str) -> None:
        self._root = root
        self._rules = rules
        self._what = what
        self._inlined: tuple[str, ...] = ()
        self._folded = False
        self._left = _MAX_SCHEMAS
        self._dropped: dict[str, None] = {}
        self._others: dict[str, None] = {}
        self.told = ""

    @property
    def changes(self) -> Iterator[str]:
        if self._dropped:
            names = ", ".join(f"`{name}`" for name in self._dropped)
            yield f"{names} taken out of {self._what}: this provider refuses such keywords"
        yield from self._others

    def _note(self, words: str) -> None:
        self._others[f"{self._what} {words}"] = None

    def root(self, schema: Schema) -> Schema:
        """The root as one object: the properties of its branches put together, the choice between them in words."""
        refused = self._rules.root_refused
        if not (self._rules.root_object or refused):
            return schema
        name = schema.get("$ref")
        if isinstance(name, str) and (held := _pointed(self._root, name)) is not None and held is not schema:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**held, **rest}
        branched = [key for key in _COMBINATORS if key in schema]
        if branched and refused.intersection(branched):
            ways = _ways(self._root, schema)
            schema = self._merged(schema)
            self._folded = True
            names = ", ".join(f"`{key}`" for key in branched)
            self._note(f"made one object: {names} at its root is refused")
            self.told = f"Give one of these: {'; or '.join(ways)}." if ways else ""
        lost = [key for key in schema if key in refused and key not in _COMBINATORS]
        if lost:
            schema = {key: value for key, value in schema.items() if key not in lost}
            self._dropped.update(dict.fromkeys(lost))
        if not self._rules.root_object:
            return schema
        if schema.get("type") == "object" and isinstance(schema.get("properties"), Mapping):
            return schema
        if schema.get("type") not in (None, "object"):
            self._note("made an object: its root was none")
        head = {"type": "object", "properties": {}}
        held = schema if isinstance(schema.get("properties", {}), Mapping) else {**schema, "properties": {}}
        return {**head, **{key: value for key, value in held.items() if key != "type"}}

    def _merged(
        self, schema: Schema, keys: tuple[str, ...] = _COMBINATORS, within: tuple[str, ...] = ("#",)
    ) -> dict[str, Any]:
        """One object that takes what any branch takes: a property of several has the schema of each, one that every
        branch demands is required."""
        found = {key: value for key, value in schema.items() if key not in keys}
        own = found.get("properties")
        properties: dict[str, Any] = dict(own) if isinstance(own, Mapping) else {}
        chosen: dict[str, list[Any]] = {}
        required = list(_texts(found.get("required")))
        closed = [found["additionalProperties"]] if "additionalProperties" in found else []
        for key in keys:
            demanded: list[frozenset[str]] = []
            for branch in _list(schema, key):
                held = _deref(self._root, branch)
                name = branch.get("$ref", "")
                if held.get("type") not in (None, "object") or name in within or not self._may_go_on():
                    continue
                if any(word in held for word in _COMBINATORS):
                    held = self._merged(held, within=(*within, name) if name else within)
                demanded.append(frozenset(_texts(held.get("required"))))
                if "additionalProperties" in held:
                    closed.append(held["additionalProperties"])
                for name, inner in _named(held).items():
                    if key != "allOf":
                        chosen.setdefault(name, []).append(inner)
                    elif name not in properties:
                        properties[name] = inner
                    elif isinstance(inner, Mapping) and isinstance(properties[name], Mapping):
                        properties[name] = {**properties[name], **inner}
            if demanded:
                every = frozenset.union(*demanded) if key == "allOf" else frozenset.intersection(*demanded)
                required += sorted(every - set(required))
        for name, seen in chosen.items():
            # What the root says of a property holds for every branch.
            properties.setdefault(name, _either([one for at, one in enumerate(seen) if one not in seen[:at]]))
        found["type"] = "object"
        found["properties"] = properties
        if required:
            found["required"] = required
        if closed and all(value is False for value in closed) and "allOf" not in schema:
            found["additionalProperties"] = False
        return found

    def _all_of(self, schema: Schema) -> dict[str, Any]:
        """`allOf` put together: of objects as one object, of anything else as one schema with all that they say."""
        loops = is_recursive(self._root)
        given = _list(schema, "allOf")
        branches = [branch if loops else _deref(self._root, branch) for branch in given]
        if not loops and branches and all(held.get("type", "object") == "object" and _named(held) for held in branches):
            return self._merged(schema, ("allOf",))
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        return {key: value for held in (*branches, rest) for key, value in held.items()}

    def _may_go_on(self) -> bool:
        """References can make a large schema of a small one; beyond a size the rest stays as it is."""
        self._left -= 1
        return self._left > 0

    def walk(self, schema: Any, top: bool = True) -> Any:
        """The schema with everything below it within the rules."""
        if not isinstance(schema, Mapping) or not self._may_go_on():
            return schema
        found: Schema = schema
        name = found.get("$ref")
        if isinstance(name, str):
            moved = self._folded and not _stays(name)
            crowded = len(found) > 1 and not top and not self._rules.ref_siblings
            if moved or crowded or not self._rules.references:
                return self._inline(found, name)
        if isinstance(found.get("items"), list) or ("prefixItems" in found and "prefixItems" in self._rules.refused):
            found = self._tuple(found)
        if not top and not self._rules.type_beside_any and "type" in found and "anyOf" in found:
            found = _typed_inside(found)
        found = self._refuse(_modern(found))
        changed: dict[str, Any] = {}
        for key, value in found.items():
            new = self._below(key, value)
            if new is not value:
                changed[key] = new
        if changed:
            found = {**found, **changed}
        return self._close(found) if self._rules.closed else found

    def _below(self, key: str, value: Any) -> Any:
        if key in _ONE and isinstance(value, Mapping):
            return self.walk(value, top=False)
        if key in _MANY and isinstance(value, list):
            return _kept(value, [self.walk(held, top=False) for held in value])
        if key in _NAMED and isinstance(value, Mapping):
            new = {name: self.walk(held, top=False) for name, held in value.items()}
            return value if all(new[name] is held for name, held in value.items()) else new
        return value

    def _inline(self, schema: Schema, name: str) -> Any:
        """What the reference names, with what stands beside it; a reference to what holds it stays."""
        target = _pointed(self._root, name)
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        if target is None or name in self._inlined or name == "#":
            if rest and not self._rules.ref_siblings:
                self._dropped.update(dict.fromkeys(rest))
                return {"$ref": name}
            return schema
        before, self._inlined = self._inlined, (*self._inlined, name)
        try:
            return self.walk({**target, **rest}, top=False)
        finally:
            self._inlined = before

    def _tuple(self, schema: Schema) -> Schema:
        """Places of an array as JSON Schema 2020-12 says them, or any of them in each place."""
        places = schema["items"] if isinstance(schema.get("items"), list) else schema["prefixItems"]
        rest = {key: schema[key] for key in schema if key not in ("items", "prefixItems", "additionalItems")}
        if "prefixItems" not in self._rules.refused:
            return {**rest, "prefixItems": places}
        self._note("has arrays of anything that one of their places may hold: places of their own are refused")
        return {**rest, "items": places[0] if len(places) == 1 else {"anyOf": places}} if places else rest

    def _refuse(self, schema: Schema) -> Schema:
        refused = self._rules.refused
        formats = self._rules.formats
        lost = [key for key in schema if key in refused]
        if formats is not None and isinstance(schema.get("format"), str) and schema["format"] not in formats:
            lost.append("format")
        if not lost:
            return schema
        found = {key: value for key, value in schema.items() if key not in lost}
        if "oneOf" in lost and "anyOf" not in found:
            found["anyOf"] = schema["oneOf"]
            lost.remove("oneOf")
            self._note("says `anyOf` for `oneOf`, which is refused")
        if "allOf" in lost:
            found = self._all_of({**found, "allOf": schema["allOf"]})
            lost.remove("allOf")
            self._note("has the parts of `allOf`, which is refused, put together")
        told = [f"{key}: {_shown(schema[key])}" for key in lost if key not in _STRUCTURE]
        if told:
            found["description"] = " ".join(
                text for text in (str(found.get("description") or ""), f"({'; '.join(told)})") if text
            )
        self._dropped.update(dict.fromkeys(lost))
        return found

    def _close(self, schema: Schema) -> Schema:
        kind = schema.get("type")
        holds = kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema
        if not holds or schema.get("additionalProperties") is False:
            return schema
        if schema.get("additionalProperties") not in (None, True):
            self._note("takes no properties of any name: objects must be closed here")
        else:
            self._note("closed (`additionalProperties: false`): that is demanded here")
        return {**schema, "additionalProperties": False}


def _ways(root: Schema, schema: Schema) -> list[str]:
    """What each branch of a choice demands, in words; nothing if they demand the same."""
    for key in ("anyOf", "oneOf"):
        ways = [_way(_deref(root, branch)) for branch in _list(schema, key)]
        ways = [way for at, way in enumerate(ways) if way and way not in ways[:at]]
        if len(ways) > 1:
            return ways
    return []


def _way(branch: Schema) -> str:
    properties = _named(branch)
    required = [name for name in _texts(branch.get("required")) if name]
    names = [_called(name, properties.get(name)) for name in required or properties]
    spare = [f"`{name}`" for name in properties if required and name not in required]
    return " and ".join(names) + (f" (optional: {', '.join(spare)})" if spare else "")


def _called(name: str, schema: Any) -> str:
    return f"`{name}` {_shown(schema['const'])}" if isinstance(schema, Mapping) and "const" in schema else f"`{name}`"


def _either(seen: list[Any]) -> Any:
    """One schema for what any of these takes."""
    if len(seen) == 1:
        return seen[0]
    if all(isinstance(held, Mapping) and ("const" in held or isinstance(held.get("enum"), list)) for held in seen):
        values = [one for held in seen for one in ([held["const"]] if "const" in held else held["enum"])]
        kinds = {held.get("type") if isinstance(held.get("type"), str) else None for held in seen}
        kind = {"type": kinds.pop()} if len(kinds) == 1 and None not in kinds else {}
        return {**kind, "enum": [one for at, one in enumerate(values) if one not in values[:at]]}
    return {"anyOf": seen}


_TYPED: Final = frozenset({"type", "$ref"})


def _typed_inside(schema: Schema) -> Schema:
    rest = {key: value for key, value in schema.items() if key != "type"}
    typed = [
        {"type": schema["type"], **branch} if isinstance(branch, Mapping) and not _TYPED & set(branch) else branch
        for branch in schema["anyOf"]
    ]
    return {**rest, "anyOf": typed}


def _modern(schema: Schema) -> Schema:
    """Older drafts in the words of the newest: a flag for an exclusive limit, `required` in a property itself."""
    if not isinstance(schema.get("required", []), list):
        schema = {key: value for key, value in schema.items() if key != "required"}
    for flag, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        given = schema.get(flag)
        if isinstance(given, bool):
            rest = {key: value for key, value in schema.items() if key != flag}
            if given and limit in rest:
                rest[flag] = rest.pop(limit)
            schema = rest
    return schema


def _every(schema: Any, depth: int = 0) -> Iterator[Schema]:
    """The schema and all that stand in it."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return
    yield schema
    for key, value in schema.items():
        for held in _held(key, value):
            yield from _every(held, depth + 1)


def _held(key: str, value: Any) -> Iterable[Any]:
    if key in _ONE:
        return value if isinstance(value, list) else (value,)
    if key in _MANY and isinstance(value, list):
        return value
    if key in _NAMED and isinstance(value, Mapping):
        return value.values()
    return ()


def _bounded(schema: Any) -> bool:
    """Whether it is of a size that can be walked through. Python objects may hold themselves, JSON never does."""
    level: list[Any] = [schema]
    depth = count = 0
    while level:
        depth += 1
        count += len(level)
        if depth > _MAX_DEPTH or count > _MAX_SCHEMAS:
            return False
        level = [
            inner
            for held in level
            for key, value in held.items()
            if key in _HOLDING
            for inner in _held(key, value)
            if isinstance(inner, Mapping)
        ]
    return True


def _pointed(root: Schema, name: str) -> Schema | None:
    """What a reference within the document names."""
    if not name.startswith("#"):
        return None
    held: Any = root
    for step in name[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(held, Mapping):
            held = held.get(step)
        elif isinstance(held, list) and step.isdigit() and int(step) < len(held):
            held = held[int(step)]
        else:
            return None
    return held if isinstance(held, Mapping) else None


def _stays(name: str) -> bool:
    """Whether the place that a reference names is where it was: the root's own parts may have been put together."""
    return name == "#" or not name.startswith("#/") or name.startswith(("#/$defs/", "#/definitions/"))


def _deref(root: Schema, schema: Schema) -> Schema:
    name = schema.get("$ref")
    held = _pointed(root, name) if isinstance(name, str) else None
    return schema if held is None else {**held, **{key: value for key, value in schema.items() if key != "$ref"}}


def _list(schema: Schema, key: str) -> list[Schema]:
    value = schema.get(key)
    return [branch for branch in value if isinstance(branch, Mapping)] if isinstance(value, list) else []


def _named(schema: Schema) -> Mapping[str, Any]:
    held = schema.get("properties")
    return held if isinstance(held, Mapping) else {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from (name for name in value if isinstance(name, str))


def _kept(before: list[Any], after: list[Any]) -> list[Any]:
    return before if all(old is new for old, new in zip(before, after, strict=True)) else after


_dump: Final[Callable[[Any], str]] = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else _dump(value)
    return text if len(text) <= 120 else text[:120] + "..."
