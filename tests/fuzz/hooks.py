"""What Schemathesis must know of Angarium to get past the front door, and what it checks.

Documents come from Schemathesis at random. `map_body` then steers most of them: an ID becomes one that the server has
told, an input object with @oneOf keeps one field, an optional field is mostly left out, and a field with a format gets a
value of that format. The rest stays as wild as it was.

Checked of every answer: no INTERNAL_SERVER_ERROR, no status from 500 on, and data that is what the schema promises.

FUZZ_STATE   file that the IDs to start with are read from, as {"prefix": [id, …]}
FUZZ_REPORT  file that the counts are written to at the end
"""

import atexit
import json
import os
import re
import threading
import zlib
from collections import defaultdict, deque
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import graphql
import schemathesis
from graphql import GraphQLInputObjectType, GraphQLList, GraphQLNonNull
from graphql.language import ast
from hypothesis import strategies as st
from schemathesis.graphql import nodes

KNOWN_MAX = 200  # of each kind of ID, so that deleted ones fade away
ID = re.compile(r"\b(ws|key|ety|sub|ep|evt|dlv|att|rpl)_[0-9a-hjkmnp-tv-z]{26}\b")
EVENT_TYPES = ["invoice.paid", "sms.outbound"]

known = defaultdict(lambda: deque(maxlen=KNOWN_MAX))
tokens = deque(maxlen=KNOWN_MAX)
lock = threading.Lock()
for prefix, ids in json.load(open(os.environ["FUZZ_STATE"])).items():
    known[prefix].extend(ids)


HOME = known["ws"][0]


class Receiver(BaseHTTPRequestHandler):
    """Takes deliveries, and the tokens and challenges in them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        answer = b""
        try:
            data = json.loads(body)
            data = data.get("data", data)
            if isinstance(data, dict):
                if isinstance(data.get("token"), str):
                    tokens.append(data["token"])
                answer = str(data.get("challenge", "")).encode()
        except (ValueError, AttributeError):
            pass
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
RECEIVER = f"http://127.0.0.1:{server.server_port}/in"


def instant(random):
    return (datetime.now(timezone.utc) + timedelta(hours=random.randint(-72, 72))).strftime("%Y-%m-%dT%H:%M:%SZ")


# Values by the name of an argument or input field.
TEXTS = {
    "filter": lambda random: random.choice(["true", "event.type == 'invoice.paid'", "event.payload.total > 1", "1 +"]),
    "token": lambda random: random.choice(list(tokens)) if tokens else "unknown",
    "secret": lambda random: random.choice(["whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a-long-enough-secret-of-my-own"]),
    "name": lambda random: f"name {random.randint(0, 9)}",
    "url": lambda random: RECEIVER,
    "urlPattern": lambda random: "^http",
    "eventTypePattern": lambda random: ".*",
    "search": lambda random: "name",
    "idempotencyKey": lambda random: f"key {random.randint(0, 10_000)}",
    "externalId": lambda random: f"tenant {random.randint(0, 10_000)}",
    "timeout": lambda random: "PT5S",
    "overlap": lambda random: "PT1H",
    "retention": lambda random: "P30D",
    "holdMax": lambda random: "P3D",
    "suspendAfter": lambda random: "P5D",
    "maxSubscriptionLifetime": lambda random: "P30D",
    "expiresIn": lambda random: random.choice(["PT1H", "P1D"]),
    "interval": lambda random: "PT1H",
    "initialDelay": lambda random: "PT5S",
    "maxDelay": lambda random: "PT1H",
    "delays": lambda random: "PT5S",
    "expiresAt": lambda random: "2099-01-01T00:00:00Z",
    "from": lambda random: (datetime.now(timezone.utc) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "to": lambda random: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "gte": lambda random: (datetime.now(timezone.utc) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "lt": lambda random: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "deliverAt": lambda random: instant(random),
    "after": None,
    "before": None,
}
NUMBERS = {
    "first": (1, 5), "last": (1, 5), "offset": (0, 10), "maxAttempts": (1, 10), "maxInFlight": (1, 1),
    "rateLimitPerSecond": (1, 100), "ratePerSecond": (1, 100), "urlMaxLength": (100, 2083), "expectedVersion": (1, 2),
}
TYPES = {
    "EventTypeName": lambda random: random.choice(EVENT_TYPES),
    "EventTypePattern": lambda random: random.choice([*EVENT_TYPES, "*", "sms.*"]),
    "DateTime": instant,
    "Duration": lambda random: random.choice(["PT1S", "PT1M", "P1D"]),
    "URL": lambda random: RECEIVER,
}
PREFIXES = {
    "webhookSubscription": "sub", "subscription": "sub", "webhookEndpoint": "ep", "endpoint": "ep", "event": "evt",
    "delivery": "dlv", "replay": "rpl", "workspace": "ws", "apiKey": "key",
}


def prefix_of(root, name):
    """The kind of ID that an argument wants."""
    if name in ("node", "nodes") or root in ("node", "nodes"):
        return None
    for word in (name, root):
        for start, prefix in sorted(PREFIXES.items(), key=lambda pair: -len(pair[0])):
            if word.startswith(start):
                return prefix
    return None


class Steering:
    """Turns most of a random document into something that the server can act on."""

    def __init__(self, schema, root, random):
        self.schema, self.root, self.random = schema, root, random

    def field(self, node, parent):
        definition = parent.fields[node.name.value]
        arguments = []
        for argument in node.arguments:
            kind = definition.args[argument.name.value]
            required = isinstance(kind.type, GraphQLNonNull) and kind.default_value is graphql.Undefined
            if not required and self.random.random() < 0.6:
                continue
            name = argument.name.value
            arguments.append(ast.ArgumentNode(name=argument.name, value=self.value(argument.value, kind.type, name)))
        return copied(node, arguments=tuple(arguments))

    def value(self, node, kind, name, owner=""):
        if isinstance(kind, GraphQLNonNull):
            return self.value(node, kind.of_type, name, owner)
        if isinstance(kind, GraphQLList):
            entries = list(node.values[:3]) if isinstance(node, ast.ListValueNode) else [node]
            if name == "ids" or not entries:
                entries = entries[:1] or [ast.NullValueNode()]
            return ast.ListValueNode(values=tuple(self.value(entry, kind.of_type, name, owner) for entry in entries))
        if isinstance(kind, GraphQLInputObjectType) and isinstance(node, ast.ObjectValueNode):
            return self.object(node, kind, name)
        if self.random.random() < 0.1:
            return node
        named = kind.name
        if named == "ID":
            prefix = self.owner_prefix(owner) if name in ("id", "ids") and owner else prefix_of(self.root, name)
            prefix = prefix or self.random.choice([one for one in known if known[one]])
            # Everything happens in the first workspace, which must not be deleted.
            ids = [one for one in known[prefix] if self.root != "workspaceDelete" or one != HOME]
            return ast.StringValueNode(value=self.random.choice(ids)) if ids else node
        if name in NUMBERS and named == "Int":
            return ast.IntValueNode(value=str(self.random.randint(*NUMBERS[name])))
        if named in ("String", "DateTime", "Duration", "URL") and TEXTS.get(name):
            return ast.StringValueNode(value=TEXTS[name](self.random))
        if named in TYPES:
            text = f"type.{self.random.randint(0, 999)}" if self.root == "eventTypeCreate" else TYPES[named](self.random)
            return ast.StringValueNode(value=text)
        if name == "url":
            return ast.StringValueNode(value=RECEIVER)
        return node

    def owner_prefix(self, owner):
        owner = owner[0].lower() + owner[1:]
        for start, prefix in sorted(PREFIXES.items(), key=lambda pair: -len(pair[0])):
            if owner.startswith(start):
                return prefix
        return None

    def object(self, node, kind, name):
        fields = list(node.fields)
        if kind.is_one_of:
            fields = [self.random.choice(fields)] if fields else self.minted(kind)
            if isinstance(fields[0].value, ast.NullValueNode):
                fields = self.minted(kind)
        kept = []
        for field in fields:
            definition = kind.fields[field.name.value]
            required = isinstance(definition.type, GraphQLNonNull) and definition.default_value is graphql.Undefined
            wanted = required or kind.is_one_of or self.random.random() < 0.3
            if wanted:
                value = self.value(field.value, definition.type, field.name.value, kind.name)
                kept.append(ast.ObjectFieldNode(name=field.name, value=value))
        return ast.ObjectValueNode(fields=tuple(kept))

    def minted(self, kind):
        """One field of a @oneOf object, made by hand."""
        simple = [name for name in ("url", "id", "delays", "eventIds", "externalId") if name in kind.fields]
        name = self.random.choice(simple or list(kind.fields))
        return [ast.ObjectFieldNode(name=ast.NameNode(value=name), value=ast.StringValueNode(value=""))]


def copied(node, **changes):
    return type(node)(**{key: changes.get(key, getattr(node, key)) for key in node.keys if key != "loc"})


@schemathesis.hook
def map_body(context, body):
    schema = context.operation.schema.client_schema
    random = Random(zlib.crc32(graphql.print_ast(body).encode()))
    if random.random() < 0.1:
        return body
    definitions = []
    for definition in body.definitions:
        if isinstance(definition, ast.OperationDefinitionNode):
            root = schema.get_root_type(definition.operation)
            selections = tuple(
                Steering(schema, selection.name.value, random).field(selection, root)
                for selection in definition.selection_set.selections
            )
            definition = copied(definition, selection_set=ast.SelectionSetNode(selections=selections))
        definitions.append(definition)
    return ast.DocumentNode(definitions=tuple(definitions))


def text(values):
    return values.map(nodes.String)


JSON_VALUES = st.sampled_from(["{}", "[]", "1", '{ total: 12.5, "x": [1, 2] }', "null", '"text"']).map(
    lambda literal: graphql.parse_value(literal.replace('"x"', "x"))
)
schemathesis.graphql.scalar("DateTime", text(st.sampled_from(["2026-01-01T00:00:00Z", "yesterday", ""])))
schemathesis.graphql.scalar("Duration", text(st.sampled_from(["PT1S", "P1Y", "soon", ""]) | st.text(max_size=10)))
schemathesis.graphql.scalar("EventTypeName", text(st.sampled_from(EVENT_TYPES) | st.text(max_size=140)))
schemathesis.graphql.scalar("EventTypePattern", text(st.sampled_from(["*", "sms.*"]) | st.text(max_size=140)))
schemathesis.graphql.scalar("JSON", JSON_VALUES)
schemathesis.graphql.scalar("URL", text(st.sampled_from([RECEIVER, "http://10.0.0.1/", "ftp://x"]) | st.text(max_size=30)))
schemathesis.graphql.scalar("UUID", text(st.uuids().map(str)))

counts = defaultdict(lambda: defaultdict(int))


def outcome(field, payload):
    """What became of a request: `ok`, `userErrors`, or the code of its first error."""
    errors = payload.get("errors") or []
    if errors:
        return (errors[0].get("extensions") or {}).get("code", "no code")
    answer = (payload.get("data") or {}).get(field)
    refused = isinstance(answer, dict) and answer.get("userErrors")
    return "userErrors" if refused else "ok"


@schemathesis.check
def angarium_answers(ctx, response, case):
    """No fault of the server, and data as the schema promises."""
    field = case.operation.definition.field_name
    assert response.status_code < 500, f"status {response.status_code}"
    payload = response.json()
    for found in ID.finditer(json.dumps(payload.get("data"))):
        if found.group(0) not in known[found.group(1)]:
            known[found.group(1)].append(found.group(0))
    with lock:
        counts[f"{case.operation.definition.root_type.name.title()}.{field}"][outcome(field, payload)] += 1
    codes = [(error.get("extensions") or {}).get("code") for error in payload.get("errors") or []]
    assert "INTERNAL_SERVER_ERROR" not in codes, json.dumps(payload["errors"])
    assert all(codes), f"an error without a code: {json.dumps(payload['errors'])}"
    if payload.get("data") is not None:
        conforms(case.operation.schema.client_schema, graphql.parse(case.body), payload)


def conforms(schema, document, payload):
    """Compares data with the schema: types, lists, what may not be null, enum values. Errors excuse a null of theirs."""
    excused = {tuple(error.get("path") or ()) for error in payload.get("errors") or []}
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, ast.FragmentDefinitionNode)}
    operation = next(one for one in document.definitions if isinstance(one, ast.OperationDefinitionNode))

    def walk(value, kind, selections, path):
        if isinstance(kind, GraphQLNonNull):
            assert value is not None, f"null at {path}"
            return walk(value, kind.of_type, selections, path)
        if value is None:
            return None
        if isinstance(kind, GraphQLList):
            assert isinstance(value, list), f"no list at {path}"
            for place, entry in enumerate(value):
                walk(entry, kind.of_type, selections, (*path, place))
            return None
        if graphql.is_leaf_type(kind):
            if isinstance(kind, graphql.GraphQLEnumType):
                assert value in kind.values, f"unknown {kind.name} at {path}: {value}"
            elif kind.name in ("Int", "Float"):
                assert isinstance(value, (int, float)) and not isinstance(value, bool), f"no number at {path}"
            elif kind.name == "Boolean":
                assert isinstance(value, bool), f"no boolean at {path}"
            elif kind.name != "JSON":
                assert isinstance(value, str), f"no text at {path}"
            return None
        assert isinstance(value, dict), f"no object at {path}"
        if graphql.is_abstract_type(kind):
            if "__typename" not in value:
                return None
            kind = schema.get_type(value["__typename"])
        for selection in expanded(selections):
            name = selection.name.value
            if name == "__typename" or name not in kind.fields:
                continue
            key = selection.alias.value if selection.alias else name
            assert key in value or excused, f"{key} is missing at {path}"
            inner = selection.selection_set.selections if selection.selection_set else ()
            walk(value.get(key), kind.fields[name].type, inner, (*path, key))
        return None

    def expanded(selections):
        for selection in selections:
            if isinstance(selection, ast.FieldNode):
                yield selection
            elif isinstance(selection, ast.InlineFragmentNode):
                yield from expanded(selection.selection_set.selections)
            else:
                yield from expanded(fragments[selection.name.value].selection_set.selections)

    walk(payload["data"], schema.get_root_type(operation.operation), operation.selection_set.selections, ())


@atexit.register
def report():
    with open(os.environ["FUZZ_REPORT"], "w") as file:
        json.dump(counts, file, indent=1, sort_keys=True)
