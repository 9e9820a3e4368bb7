#!/usr/bin/python3
"""Lints sidecar/openapi.yaml, holds it against the routes of api.c and against
answers that the tests saw.

    openapi.py SPEC lint
    openapi.py SPEC routes sidecar/api.c
    openapi.py SPEC answers FILE     one JSON object a line:
                                     method, path, status, type, body
    openapi.py SPEC traffic FILE     the same of a client that knows the
                                     description, with what it sent: every path
                                     and argument, and each body that was
                                     taken, is described

Each fault is a line; the exit status is 1 when there is one.
"""

import itertools
import json
import re
import sys
import urllib.parse

import yaml
from jsonschema import Draft202012Validator

METHODS = ("get", "post", "put", "patch", "delete")
BASE = "/api/v1"


def walk(node, path="#"):
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, path + "/" + str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, f"{path}/{i}")


def resolve(spec, node):
    """Follows $ref; None when it leads nowhere."""
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        target = spec
        for part in node["$ref"].removeprefix("#/").split("/"):
            if not isinstance(target, dict) or part not in target:
                return None
            target = target[part]
        node = target
    return node


def operations(spec):
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item, item[method]


def lint_references(spec):
    used = set()
    for path, node in walk(spec):
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            used.add(node["$ref"])
            if resolve(spec, node) is None:
                yield f"{path}: {node['$ref']} leads nowhere"
    for group, members in spec["components"].items():
        if group == "securitySchemes":
            continue
        for name in members:
            ref = f"#/components/{group}/{name}"
            # what only the Input schemas describe is used by them
            if ref not in used:
                yield f"{ref} is not used"


def lint_schemas(spec):
    for name, schema in spec["components"]["schemas"].items():
        try:
            Draft202012Validator.check_schema(schema)
        except Exception as error:
            yield f"schema {name}: {error}"
    for path, node in walk(spec["paths"]):
        if isinstance(node, dict) and isinstance(node.get("schema"), dict):
            try:
                Draft202012Validator.check_schema(node["schema"])
            except Exception as error:
                yield f"{path}: {error}"


def lint_operations(spec):
    ids = set()
    for path, method, item, op in operations(spec):
        where = f"{method} {path}"
        for member in ("operationId", "summary", "tags", "responses"):
            if member not in op:
                yield f"{where}: has no {member}"
        if op.get("operationId") in ids:
            yield f"{where}: operationId is taken"
        ids.add(op.get("operationId"))
        if "default" not in op.get("responses", {}):
            yield f"{where}: has no default response"

        declared = [resolve(spec, p) for p in
                    item.get("parameters", []) + op.get("parameters", [])]
        keys = [(p["in"], p["name"]) for p in declared]
        for key in set(keys):
            if keys.count(key) > 1:
                yield f"{where}: parameter {key[1]} stands twice"
        in_path = {p["name"] for p in declared if p["in"] == "path"}
        if in_path != set(re.findall(r"\{(\w+)\}", path)):
            yield f"{where}: path parameters differ from the path"

        for status, response in op["responses"].items():
            if "description" not in resolve(spec, response):
                yield f"{where} {status}: has no description"
        for need in op.get("security", spec["security"]):
            for scheme in need:
                if scheme not in spec["components"]["securitySchemes"]:
                    yield f"{where}: security {scheme} is unknown"


def lint(spec):
    if not str(spec.get("openapi", "")).startswith("3.1."):
        yield "openapi must be 3.1"
    yield from lint_references(spec)
    yield from lint_schemas(spec)
    yield from lint_operations(spec)


def routes(spec, source):
    text = open(source, encoding="utf-8").read()
    have = set()
    for method, path in re.findall(r'\{ "([A-Z]+)",\s+"(/[^"]*)"', text):
        have.add((method, path))
    for path in re.findall(r'^\s+CRUD\("(/[^"]*)"', text, re.M):
        for method, tail in (("GET", ""), ("POST", ""), ("GET", "/{}"),
                             ("PUT", "/{}"), ("DELETE", "/{}")):
            have.add((method, path + tail))
    described = {(m.upper(), re.sub(r"\{\w+\}", "{}", p))
                 for p, m, _, _ in operations(spec)}
    for method, path in sorted(have - described):
        yield f"{method} {path} is not described"
    for method, path in sorted(described - have):
        yield f"{method} {path} is described and not there"


def find_described(spec, method, path):
    """The operation and the path's item; None of both when there is none."""
    for pattern, have, item, op in operations(spec):
        regex = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(pattern))
        if have == method.lower() and re.fullmatch(regex, path):
            return op, item
    return None, None


def find_operation(spec, method, path):
    return find_described(spec, method, path)[0]


def find_response(spec, op, status):
    if op is None:
        return spec["components"]["responses"]["Problem"]
    found = op["responses"].get(str(status))
    if found is None and status >= 400:
        found = op["responses"].get("default")
    return resolve(spec, found)


def validate(spec, schema, value):
    # references are resolved against the root of the schema
    root = dict(schema, components=spec["components"])
    for error in Draft202012Validator(root).iter_errors(value):
        at = "/".join(str(p) for p in error.absolute_path)
        yield f"/{at}: {error.message[:300]}"


def check_answer(spec, seen):
    path = seen["path"].split("?")[0].removeprefix(BASE)
    method = "GET" if seen["method"] == "HEAD" else seen["method"]
    response = find_response(spec, find_operation(spec, method, path),
                             seen["status"])
    if response is None:
        yield f"status {seen['status']} is not described"
        return

    content = response.get("content", {})
    kind = (seen.get("type") or "").split(";")[0]
    if not content:
        if seen["body"]:
            yield "has a body, none is described"
        return
    if kind not in content:
        yield f"type {kind!r} is not described"
        return
    if seen["method"] == "HEAD" or not kind.endswith(("/json", "+json")):
        return
    try:
        value = json.loads(seen["body"])
    except ValueError as error:
        yield f"is no JSON: {error}"
        return
    yield from validate(spec, content[kind]["schema"], value)


def check_sent(spec, seen):
    """What a client asked: nothing that the description does not have."""
    path, _, query = seen["path"].partition("?")
    method = "GET" if seen["method"] == "HEAD" else seen["method"]
    op, item = find_described(spec, method, path.removeprefix(BASE))
    if op is None:
        yield "is not described"
        return

    declared = [resolve(spec, p) for p in
                item.get("parameters", []) + op.get("parameters", [])]
    names = {p["name"].partition("[")[0] for p in declared
             if p["in"] == "query"}
    for name, _ in urllib.parse.parse_qsl(query, keep_blank_values=True):
        if name.partition("[")[0] not in names:
            yield f"argument {name} is not described"

    if seen.get("sent") and seen["status"] < 400:
        body = resolve(spec, op.get("requestBody")) or {}
        content = body.get("content", {}).get("application/json")
        if content is None:
            if json.loads(seen["sent"]) != {}:
                yield "was sent a body, none is described"
            return
        for fault in validate(spec, content["schema"],
                              json.loads(seen["sent"])):
            yield f"sent {fault}"


def traffic(spec, source):
    return held(spec, source, lambda seen: itertools.chain(
        check_sent(spec, seen), check_answer(spec, seen)))


def answers(spec, source):
    return held(spec, source, lambda seen: check_answer(spec, seen))


def held(spec, source, faults):
    n = 0
    with open(source, encoding="utf-8") as lines:
        for line in lines:
            seen = json.loads(line)
            n += 1
            for fault in faults(seen):
                yield (f"{seen['method']} {seen['path']} "
                       f"{seen['status']}: {fault}")
    if n == 0:
        yield "no answers were seen"
    print(f"# {n} answers held against the description")


class Strict(yaml.SafeLoader):
    """Refuses a key that stands twice: one of the two would be lost."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        spec = yaml.load(source, Loader=Strict)
    check = {"lint": lint, "routes": routes, "answers": answers,
             "traffic": traffic}[sys.argv[2]]
    faults = list(check(spec, *sys.argv[3:]))
    for fault in faults[:50]:
        print(fault)
    return 1 if faults else 0


sys.exit(main())
