"""The contract drives the server: every operation of /openapi.json is called; each status must be declared and each body must fit its schema."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.environ.get("QUANTD_SOURCE", "."), "tests", "http"))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
SERVER = Server("--file-root", ROOT)
DOCUMENT = SERVER.json("GET", "/openapi.json")
JOB_SCHEMA = SERVER.json("GET", "/schema/job.json")
URL = "file://" + os.path.join(ROOT, "novella-1m")
NOBODY = "0" * 26
SEEN = {}

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def type_fits(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def resolve(node):
    while "$ref" in node:
        place, _, pointer = node["$ref"].partition("#")
        assert place in ("", "schema/job.json"), node
        found = JOB_SCHEMA if place else DOCUMENT
        for part in pointer[1:].split("/") if pointer else []:
            found = found[part]
        node = found
    return node


def first_misfit(value, schema, where):
    """The keywords that the two schemas use; an unknown keyword would be a claim that nobody checks."""
    schema = resolve(schema)
    known = {"type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "properties",
             "required", "additionalProperties", "items", "anyOf", "oneOf", "description", "default", "format", "title", "$schema", "writeOnly", "x-unit", "x-applies-to",
             "x-default-by", "minItems", "maxItems"}
    assert set(schema) <= known, set(schema) - known
    if "type" in schema and not any(type_fits(value, t) for t in ([schema["type"]] if isinstance(schema["type"], str) else schema["type"])):
        return "%s: %r is no %s" % (where, value, schema["type"])
    if "enum" in schema and value not in schema["enum"]:
        return "%s: %r is not in %s" % (where, value, schema["enum"])
    if "const" in schema and value != schema["const"]:
        return "%s: %r is not %r" % (where, value, schema["const"])
    if "anyOf" in schema and all(first_misfit(value, option, where) for option in schema["anyOf"]):
        return first_misfit(value, schema["anyOf"][0], where)
    if "oneOf" in schema and sum(not first_misfit(value, option, where) for option in schema["oneOf"]) != 1:
        return "%s: %r does not fit exactly one of the options" % (where, value)
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return "%s: %r does not match %s" % (where, value, schema["pattern"])
    if type_fits(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return "%s: %r is out of range" % (where, value)
    if isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                return "%s: no member %r" % (where, name)
        for name, member in value.items():
            if name in schema.get("properties", {}):
                child = schema["properties"][name]
            else:
                child = schema.get("additionalProperties", {})
                if child is False:
                    return "%s: member %r is not declared" % (where, name)
            found = first_misfit(member, child, where + "/" + name)
            if found:
                return found
    if isinstance(value, list):
        for number, item in enumerate(value):
            found = first_misfit(item, schema.get("items", {}), "%s/%d" % (where, number))
            if found:
                return found
    return None


def call(method, template, want, body=None, headers=None, query="", **parts):
    """Calls and checks against the operation; returns the parsed (or raw) body."""
    path = template
    for name, value in parts.items():
        path = path.replace("{%s}" % name, value)
    status, got, data = SERVER.request(method, path + query, body, headers)
    what = "%s %s%s" % (method, path, query)
    equal(status, want, what)
    operation = DOCUMENT["paths"][template]["get" if method == "HEAD" else method.lower()]
    assert str(status) in operation["responses"], "%s: status %d is not declared" % (what, status)
    response = resolve(operation["responses"][str(status)])
    for name in response.get("headers", {}):
        assert name.lower() in got, "%s: no header %s" % (what, name)
    assert re.fullmatch("[0-9a-f]{24}", got["x-request-id"]), what
    SEEN.setdefault((method, template), set()).add(status)
    content = response.get("content", {})
    if not content:
        equal(data, b"", what)
        return None
    kind = got["content-type"].split(";")[0]
    assert kind in content, "%s: %s is not declared" % (what, kind)
    if "json" not in kind or method == "HEAD":
        return data
    value = json.loads(data)
    misfit = first_misfit(value, content[kind].get("schema", {}), "")
    assert misfit is None, "%s: %s" % (what, misfit)
    if kind == "application/problem+json":
        equal(value["status"], status, what)
        equal(value["request_id"], got["x-request-id"], what)
    return value


def a_job_and_everything_it_leaves_fit_their_schemas():
    request = quick_job(URL, tags={"team": "a"})
    assert first_misfit(request, JOB_SCHEMA, "") is None
    job = call("POST", "/jobs", 202, request)["id"]
    call("GET", "/jobs/{id}/artifacts", 404, id=job)
    SERVER.wait(job)
    record = call("GET", "/jobs/{id}", 200, id=job)
    equal(record["state"], "succeeded", record["problem"])
    call("GET", "/jobs/{id}", 304, id=job, headers={"If-None-Match": "*"})
    call("GET", "/jobs", 200, query="?limit=1&state=succeeded&tag=team:a")
    equal(len(call("GET", "/jobs/{id}/layers", 200, id=job)["data"]), 42)
    events = call("GET", "/jobs/{id}/events", 200, id=job, headers={"Accept": "application/json"})
    page = call("GET", "/jobs/{id}/events", 200, id=job, query="?after=%d&limit=2" % events["data"][0]["id"])
    equal(page["data"], events["data"][1:3])
    stream = call("GET", "/jobs/{id}/events", 200, id=job, headers={"Accept": "text/event-stream"}).decode()
    data = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    equal(data[:-1], events["data"], "the stream carries the events of the list")
    equal(data[-1], {"state": "succeeded"})
    equal(len(call("GET", "/jobs/{id}/certificate", 200, id=job)["layers"]), 42)
    whole = call("GET", "/jobs/{id}/log", 200, id=job)
    equal(call("GET", "/jobs/{id}/log", 206, id=job, headers={"Range": "bytes=3-7"}), whole[3:8])
    call("GET", "/jobs/{id}/log", 416, id=job, headers={"Range": "bytes=%d-" % (len(whole) + 1000000)})
    for entry in call("GET", "/jobs/{id}/artifacts", 200, id=job)["files"]:
        equal(len(call("GET", "/jobs/{id}/artifacts/{path}", 200, id=job, path=entry["path"])), entry["size"])
        call("HEAD", "/jobs/{id}/artifacts/{path}", 200, id=job, path=entry["path"])
    call("GET", "/jobs/{id}/artifacts/{path}", 206, id=job, path="config.json", headers={"Range": "bytes=0-9"})
    call("GET", "/jobs/{id}/artifacts/{path}", 304, id=job, path="config.json", headers={"If-None-Match": "*"})
    call("GET", "/jobs/{id}/artifacts/{path}", 416, id=job, path="config.json", headers={"Range": "bytes=99999999-"})
    call("GET", "/jobs/{id}/artifacts/{path}", 404, id=job, path="nothing")
    for link in record["links"].values():
        assert SERVER.request("GET", link)[0] == 200, link
    call("POST", "/jobs/{id}/cancel", 409, id=job)
    call("POST", "/jobs/{id}/retry", 409, id=job)
    call("DELETE", "/jobs/{id}", 204, id=job)
    call("DELETE", "/jobs/{id}", 404, id=job)


def a_cancelled_job_can_be_retried_with_other_regularization_only():
    job = call("POST", "/jobs", 202, quick_job(URL, calibration={"samples": 256, "length": 512}))["id"]
    call("DELETE", "/jobs/{id}", 409, id=job)
    call("POST", "/jobs/{id}/cancel", 202, id=job)
    SERVER.wait(job)
    call("POST", "/jobs/{id}/retry", 400, "{", id=job)
    call("POST", "/jobs/{id}/retry", 422, {"bits": 3}, id=job)
    call("POST", "/jobs/{id}/retry", 202, {"regularization": {"mean_diagonal": 0.02}}, id=job)
    call("POST", "/jobs/{id}/cancel", 202, id=job)
    SERVER.wait(job)


def a_job_is_made_once_changed_and_compared():
    request = quick_job(URL, name="first")
    key = {"Idempotency-Key": "7f6c1a9e-6a35-4b7a-9a1c-3f2c7d0e5b11"}
    first = call("POST", "/jobs", 202, request, headers=key)
    equal(call("POST", "/jobs", 202, request, headers=key), first)
    call("POST", "/jobs", 422, quick_job(URL, name="other"), headers=key)
    call("PATCH", "/jobs/{id}", 200, {"name": "renamed", "tags": {"team": "b"}, "priority": 60}, id=first["id"])
    call("PATCH", "/jobs/{id}", 400, "[]", id=first["id"])
    call("PATCH", "/jobs/{id}", 412, {"name": "late"}, headers={"If-Match": '"0-0"'}, id=first["id"])
    call("PATCH", "/jobs/{id}", 415, "{}", headers={"Content-Type": "text/plain"}, id=first["id"])
    call("PATCH", "/jobs/{id}", 422, {"bits": 3}, id=first["id"])
    second = call("POST", "/jobs", 202, quick_job(URL, bits=3, webhook={"url": "http://127.0.0.1:9/nobody", "secret": "whsec_" + "A" * 32}))["id"]
    for job in (first["id"], second):
        SERVER.wait(job)
    call("GET", "/jobs", 200, query="?state=succeeded,failed&tag=team:b&tag=team&name=renamed&q=novella&created_after=2020-01-01&created_before=2100-01-01T00:00:00Z")
    call("GET", "/jobs", 304, headers={"If-None-Match": "*"})
    call("GET", "/compare", 200, query="?jobs=%s,%s" % (first["id"], second))
    call("GET", "/compare", 304, query="?jobs=%s,%s" % (first["id"], second), headers={"If-None-Match": "*"})
    call("GET", "/compare", 400, query="?jobs=" + second)
    call("GET", "/compare", 404, query="?jobs=%s,%s" % (second, NOBODY))
    for template in ("/jobs/{id}/layers", "/jobs/{id}/certificate", "/jobs/{id}/artifacts", "/jobs/{id}/log", "/jobs/{id}/artifacts.tar"):
        call("GET", template, 304, headers={"If-None-Match": "*"}, id=second)
    end = time.monotonic() + 30 * SLOW
    while not [d for d in call("GET", "/jobs/{id}/deliveries", 200, id=second)["data"] if d["attempts"]]:
        assert time.monotonic() < end, "nothing was sent"
        time.sleep(0.1)
    call("POST", "/admin/collect", 200, query="?dry_run=true")
    delivery = call("GET", "/jobs/{id}/deliveries", 200, id=second)["data"][0]["id"]
    call("POST", "/jobs/{id}/deliveries/{delivery}/retry", 202, id=second, delivery=delivery)
    call("GET", "/jobs/{id}/deliveries", 304, headers={"If-None-Match": "*"}, id=second)
    call("GET", "/jobs/{id}/artifacts.tar", 200, id=second)
    call("HEAD", "/jobs/{id}/artifacts.tar", 200, id=second)
    call("GET", "/jobs/{id}/artifacts.tar", 206, headers={"Range": "bytes=5-9"}, id=second)
    call("GET", "/jobs/{id}/artifacts.tar", 416, headers={"Range": "bytes=999999999-"}, id=second)


def what_a_job_request_may_not_be_is_said_in_a_problem_document():
    call("POST", "/jobs", 400, "[1]")
    call("POST", "/jobs", 400, query="?dry_run=maybe", body=quick_job(URL))
    call("POST", "/jobs", 413, headers={"Content-Length": "1100000"})
    call("POST", "/jobs", 422, quick_job(URL, bits=17))
    call("POST", "/jobs", 422, quick_job("ftp://example.org/"))
    call("POST", "/jobs", 403, quick_job(URL), headers={"Origin": "http://elsewhere.example"})
    call("POST", "/jobs", 415, quick_job(URL), headers={"Origin": SERVER.url, "Content-Type": "text/plain"})
    call("POST", "/jobs", 400, quick_job(URL), headers={"Idempotency-Key": "two words"})
    for query in ("?limit=0", "?limit=201", "?limit=x", "?state=done", "?tag=:v", "?cursor=1", "?page=2", "?created_after=x", "?q=a&q=b"):
        call("GET", "/jobs", 400, query=query)


def a_job_that_is_not_there_is_404_everywhere():
    for template, item in DOCUMENT["paths"].items():
        for method in item:
            if "{id}" in template and method != "parameters":
                body = "{}" if item[method].get("requestBody", {}).get("required") else None
                call(method.upper(), template, 404, body, id=NOBODY, path="config.json")
                call(method.upper(), template, 404, body, id="short", path="config.json")


def the_service_speaks_about_itself():
    for template in ("/catalog", "/openapi.json", "/schema/job.json", "/", "/app.js", "/compare.js", "/experts.js", "/form.js", "/job.js", "/list.js", "/login.js", "/page.js", "/style.css", "/icon.svg"):
        call("GET", template, 200)
        call("GET", template, 304, headers={"If-None-Match": "*"})
        call("GET", template, 400, query="?x=1")
    for template in ("/livez", "/readyz", "/metrics"):
        call("GET", template, 200)
    text = call("GET", "/metrics", 200).decode()
    line = re.compile(r'^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [-+0-9.eInfa]+)$')
    for found in text.splitlines():
        assert line.match(found), found
    for name in re.findall(r"^# TYPE (\S+)", text, re.M):
        equal(text.count("# TYPE %s " % name), 1, name)
        assert name.startswith("quantd_"), name


def keys_sessions_and_the_audit_fit_their_schemas():
    admin = call("POST", "/keys", 201, {"name": "ops", "scopes": ["admin"]})
    key = {"Authorization": "Bearer " + admin["key"]}  # from here on the service asks for one
    call("GET", "/keys", 401)
    reader = call("POST", "/keys", 201, {"name": "ci", "scopes": ["jobs:read"], "expires_in": 60, "rate_per_minute": 9, "queue_quota": 2,
                                         "disk_quota": 1 << 40}, headers=key)
    call("POST", "/keys", 409, {"name": "ci", "scopes": ["admin"]}, headers=key)
    call("POST", "/keys", 422, {"name": "", "scopes": []}, headers=key)
    call("POST", "/keys", 400, "[]", headers=key)
    call("POST", "/keys", 413, headers=dict(key, **{"Content-Length": "5000"}))
    call("POST", "/keys", 415, {}, headers=dict(key, Origin=SERVER.url))
    call("GET", "/keys", 403, headers={"Authorization": "Bearer " + reader["key"]})
    listed = call("GET", "/keys", 200, headers=key)["data"]
    equal([(row["name"], row["rate_per_minute"], "key" in row) for row in listed], [("ops", None, False), ("ci", 9, False)])
    call("POST", "/session", 401, {"key": "qd_wrong"})
    call("POST", "/session", 422, {})
    call("POST", "/session", 403, {"key": admin["key"]}, headers={"Origin": "http://elsewhere.example"})
    equal(call("POST", "/session", 201, {"key": admin["key"]})["scopes"], ["admin"])
    call("DELETE", "/session", 204)
    call("DELETE", "/keys/{id}", 204, id=reader["id"], headers=key)
    call("DELETE", "/keys/{id}", 404, id=NOBODY, headers=key)
    call("GET", "/audit", 400, query="?action=nothing", headers=key)
    rows = call("GET", "/audit", 200, query="?limit=1000", headers=key)["data"]
    equal([row["action"] for row in rows][-4:], ["key.create", "key.create", "login", "key.revoke"])
    equal([row["target"] for row in rows][-1], reader["id"])
    keyless = {row["action"] for row in rows if row["key"] is None}
    assert {"job.create", "job.cancel", "job.retry", "job.delete", "job.update"} <= keyless, keyless


def webhooks_and_uploads_fit_their_schemas():
    request = dict(quick_job(URL), webhook={"url": "http://127.0.0.1:9/hook", "secret": "whsec_" + "A" * 32}, publish="http://127.0.0.1:9/folder")
    assert first_misfit(request, JOB_SCHEMA, "") is None
    job = call("POST", "/jobs", 202, request)["id"]
    SERVER.wait(job)
    end = time.monotonic() + 30 * SLOW
    while time.monotonic() < end:
        listed = call("GET", "/jobs/{id}/deliveries", 200, id=job)["data"]
        if len(listed) == 2 and all(entry["attempts"] for entry in listed):
            break
        time.sleep(0.1)
    equal(sorted(entry["kind"] for entry in listed), ["publish", "webhook"])
    equal({entry["state"] for entry in listed}, {"pending"}, "nobody listens there")
    for entry in listed:
        again = call("POST", "/jobs/{id}/deliveries/{delivery}/retry", 202, id=job, delivery=entry["id"])
        equal((again["id"], again["state"]), (entry["id"], "pending"))
    call("POST", "/jobs/{id}/deliveries/{delivery}/retry", 404, id=job, delivery="msg_none")
    call("POST", "/jobs/{id}/deliveries/{delivery}/retry", 404, id=job, delivery="m" * 200)
    call("GET", "/jobs/{id}/deliveries", 404, id=NOBODY)
    assert "delivery.retry" in {row["action"] for row in SERVER.json("GET", "/audit?limit=200")["data"]}


def every_operation_was_called():
    for template, item in DOCUMENT["paths"].items():
        for method in item:
            if method != "parameters":
                assert any(200 <= s < 300 for s in SEEN.get((method.upper(), template), ())), (method, template)


def the_server_stops_cleanly():
    equal(SERVER.stop(), 0)


run_claims([a_job_and_everything_it_leaves_fit_their_schemas, a_job_is_made_once_changed_and_compared,
            a_cancelled_job_can_be_retried_with_other_regularization_only,
            what_a_job_request_may_not_be_is_said_in_a_problem_document, a_job_that_is_not_there_is_404_everywhere,
            the_service_speaks_about_itself, webhooks_and_uploads_fit_their_schemas,
            keys_sessions_and_the_audit_fit_their_schemas, every_operation_was_called, the_server_stops_cleanly])
