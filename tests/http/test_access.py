"""Who may: keys, scopes, sessions, rates, quotas, proxies and the audit, against a real service."""
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

SCOPES = ("jobs:read", "jobs:write", "artifacts:read", "admin")
NOBODY = "0" * 26
ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
URL = "file://" + os.path.join(ROOT, "novella-1m")
SOME_SECONDS = quick_job(URL, calibration={"samples": 32, "length": 256})  # long enough to be met unfinished
TEXTS = []  # every key that was ever made here


def quantd(*arguments, want=0, environment=None):
    done = subprocess.run([QUANTD] + list(arguments), capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == want, "quantd %s: %d, %s%s" % (" ".join(arguments), done.returncode, done.stdout, done.stderr)
    return done


def make_key(state, name, scopes, *more):
    text = quantd("key", "create", "--state", state, "--name", name, "--scopes", scopes, *more).stdout.strip()
    assert re.fullmatch("qd_[0-9a-hjkmnp-tv-z]{32}", text), text
    TEXTS.append(text)
    return text


def bearer(key, **more):
    headers = {"Authorization": "Bearer " + key}
    headers.update({name.replace("_", "-"): value for name, value in more.items()})
    return headers


SERVER = Server("--file-root", ROOT, "--trusted-proxy", "127.0.0.0/8", "--host", "quantd.example.org")
OPEN = {"before": SERVER.request("GET", "/jobs")[0]}
KEYS = {scope: make_key(SERVER.state, "only-" + scope.replace(":", "-"), scope) for scope in SCOPES}
ADMIN = bearer(KEYS["admin"])
DOCUMENT = SERVER.json("GET", "/openapi.json")
NUMBER = iter(range(1, 1 << 24))


def elsewhere(headers):
    """Each wrong key from another address: the limit of wrong keys is a claim of its own."""
    number = next(NUMBER)
    return dict(headers, **{"X-Forwarded-For": "198.18.%d.%d" % (number >> 8, number & 255)})


def call(method, template, headers, body=None):
    path = template.replace("{id}", NOBODY).replace("{path}", "config.json")
    return SERVER.request(method, path, body, elsewhere(headers))


def operations():
    for template, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), template, operation


def wanted_scope(operation):
    if "security" not in operation:
        return None
    key, session, nothing = operation["security"]
    equal(key["key"], session["session"])
    equal(nothing, {}, "while no key was made nobody has to show one")
    return key["key"][0]


def problem(reply, status, slug):
    got, headers, data = reply
    assert got == status, "%d instead of %d: %s" % (got, status, data[:500])
    value = json.loads(data)
    equal(value["type"].split("/")[-1], slug)
    equal(headers["content-type"], "application/problem+json")
    return headers, value


def the_service_is_open_until_the_first_key_is_made():
    equal(OPEN["before"], 200)
    problem(SERVER.request("GET", "/jobs"), 401, "unauthorized")


def every_operation_lets_in_only_who_has_its_scope():
    revoked, expired = make_key(SERVER.state, "revoked", "admin"), make_key(SERVER.state, "expired", "admin", "--expires", "1s")
    quantd("key", "revoke", "--state", SERVER.state, "revoked")
    time.sleep(1.3)
    seen = {scope: 0 for scope in SCOPES}
    for method, template, operation in operations():
        what, scope = "%s %s" % (method, template), wanted_scope(operation)
        nobody = {"no key": {}, "wrong key": bearer("qd_" + "0" * 32), "revoked": bearer(revoked), "expired": bearer(expired),
                  "scheme": {"Authorization": "Basic cWQ6cWQ="}, "empty": bearer("")}
        for who, headers in nobody.items():
            status, got, data = call(method, template, headers)
            if scope is None:
                assert status not in (401, 403), "%s, %s: %d" % (what, who, status)
                continue
            equal(status, 401, "%s, %s" % (what, who))
            assert got["www-authenticate"].startswith("Bearer realm="), got
            equal("invalid_token" in got["www-authenticate"], who != "no key", who)
            for text in TEXTS:
                assert text.encode() not in data, what
        for mine in SCOPES:
            status, got, data = call(method, template, bearer(KEYS[mine]))
            if scope is None or mine in (scope, "admin"):
                assert status not in (401, 403, 429), "%s with %s: %d %s" % (what, mine, status, data)
            else:
                headers, value = problem((status, got, data), 403, "forbidden")
                assert "scope %s;" % scope in value["detail"] and mine in value["detail"], value
                assert 'error="insufficient_scope"' in headers["www-authenticate"]
        if scope is not None:
            seen[scope] += 1
    assert all(seen.values()), seen


def a_refusal_does_not_wait_for_the_body():
    with socket.create_connection((SERVER.host, SERVER.port), timeout=10) as s:
        s.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        got = s.recv(4096)
        assert got.startswith(b"HTTP/1.1 401 "), got
        assert b"connection: close" in got.lower(), got


def a_key_is_made_listed_and_revoked_beside_the_running_service():
    text = make_key(SERVER.state, "brief", "jobs:read", "--rate", "77", "--queue-quota", "5", "--disk-quota", "2G", "--expires", "90d")
    equal(SERVER.request("GET", "/jobs", headers=bearer(text))[0], 200, "known at once")
    row = [line for line in quantd("key", "list", "--state", SERVER.state).stdout.splitlines() if line.startswith("brief ")][0]
    assert "valid" in row and "jobs:read" in row and text not in row, row
    row = [key for key in SERVER.json("GET", "/keys", headers=ADMIN)["data"] if key["name"] == "brief"][0]
    equal((row["rate_per_minute"], row["queue_quota"], row["disk_quota"], row["scopes"]), (77, 5, 2 << 30, ["jobs:read"]))
    assert row["expires_at"] is not None and "key" not in row, row
    quantd("key", "revoke", "--state", SERVER.state, "brief")
    revoked = time.monotonic()
    while SERVER.request("GET", "/jobs", headers=elsewhere(bearer(text)))[0] == 200:
        assert time.monotonic() - revoked < 1 * patience(), "still let in after a second"
    assert "revoked" in quantd("key", "list", "--state", SERVER.state).stdout


def the_command_line_says_what_is_wrong():
    state = ("--state", SERVER.state)
    cases = [(("create", *state, "--scopes", "admin"), 2, "--name is wanted"),
             (("create", *state, "--name", "x"), 2, "--scopes is wanted"),
             (("create", *state, "--name", "x", "--scopes", "jobs:all"), 2, "'jobs:all' is none"),
             (("create", *state, "--name", "two words", "--scopes", "admin"), 2, "letters, digits"),
             (("create", *state, "--name", "x", "--scopes", "admin", "--expires", "soon"), 2, "--expires: 'soon'"),
             (("create", *state, "--name", "x", "--scopes", "admin", "--expires", "0s"), 2, "expired already"),
             (("create", *state, "--name", "only-admin", "--scopes", "admin"), 1, "there is a key 'only-admin'"),
             (("revoke", *state, "nobody"), 1, "there is no key 'nobody'"),
             (("revoke", *state), 2, "operands are wanted"),
             (("drop", *state), 2, "found 'drop'"), ((), 2, "a word is wanted")]
    for arguments, status, part in cases:
        done = quantd("key", *arguments, want=status)
        assert part in done.stderr, done.stderr
        equal(done.stdout, "")
    assert "key revoke" in quantd("key", "--help").stdout
    assert "--scopes" in quantd("key", "create", "--help").stdout


def keys_are_made_and_revoked_over_http():
    made = SERVER.json("POST", "/keys", {"name": "web", "scopes": ["jobs:read", "artifacts:read"], "expires_in": 3600}, want=201, headers=ADMIN)
    TEXTS.append(made["key"])
    equal(SERVER.request("GET", "/jobs", headers=bearer(made["key"]))[0], 200)
    problem(SERVER.request("POST", "/keys", json.dumps({"name": "web", "scopes": ["admin"]}), ADMIN), 409, "conflict")
    for body, pointer in (({"name": "a b", "scopes": ["admin"]}, "/name"), ({"scopes": ["admin"]}, "/name"), ({"name": "x", "scopes": []}, "/scopes"),
                          ({"name": "x", "scopes": ["admin", "all"]}, "/scopes/1"), ({"name": "x", "scopes": ["admin"], "a/b": 1}, "/a~1b"),
                          ({"name": "x", "scopes": ["admin"], "expires_in": 0}, "/expires_in"), ({"name": "x", "scopes": ["admin"], "queue_quota": "5"}, "/queue_quota")):
        _, value = problem(SERVER.request("POST", "/keys", json.dumps(body), ADMIN), 422, "invalid-key")
        equal([error["pointer"] for error in value["errors"]], [pointer])
    equal(SERVER.request("DELETE", "/keys/" + made["id"], headers=ADMIN)[0], 204)
    problem(SERVER.request("GET", "/jobs", headers=elsewhere(bearer(made["key"]))), 401, "unauthorized")
    equal(SERVER.request("DELETE", "/keys/" + made["id"], headers=ADMIN)[0], 204, "once more changes nothing")
    problem(SERVER.request("DELETE", "/keys/" + NOBODY, headers=ADMIN), 404, "not-found")


def a_key_beyond_its_rate_is_told_when_to_come_back():
    key = bearer(make_key(SERVER.state, "slow", "jobs:read", "--rate", "3"))
    for _ in range(3):
        equal(SERVER.request("GET", "/jobs", headers=key)[0], 200)
    headers, value = problem(SERVER.request("POST", "/session", json.dumps({"key": TEXTS[-1]})), 429, "busy")
    assert 1 <= int(headers["retry-after"]) <= 20, headers
    headers, value = problem(SERVER.request("GET", "/jobs", headers=key), 429, "busy")
    assert 1 <= int(headers["retry-after"]) <= 20, headers
    assert "3 requests a minute" in value["detail"], value
    equal(SERVER.request("GET", "/jobs", headers=ADMIN)[0], 200, "another key is not touched")
    assert 'quantd_http_denied_total{why="throttled"}' in SERVER.request("GET", "/metrics", headers=ADMIN)[2].decode()


def wrong_keys_are_slowed_by_address_and_right_ones_are_not():
    there = {"X-Forwarded-For": "203.0.113.9"}
    statuses = [SERVER.request("GET", "/jobs", headers=dict(bearer("qd_" + "z" * 32), **there))[0] for _ in range(25)]
    equal(statuses[:20], [401] * 20)
    assert statuses.count(429) >= 3, statuses
    headers, value = problem(SERVER.request("POST", "/session", json.dumps({"key": "qd_wrong"}), there), 429, "busy")
    assert 1 <= int(headers["retry-after"]) <= 5, headers
    equal(SERVER.request("GET", "/jobs", headers=dict(ADMIN, **there))[0], 200, "the right key from there")
    equal(SERVER.request("GET", "/jobs", headers=elsewhere(bearer("qd_wrong")))[0], 401, "a wrong one from elsewhere")


def a_key_has_a_quota_of_jobs_and_of_bytes():
    key = bearer(make_key(SERVER.state, "small", "jobs:read,jobs:write", "--queue-quota", "1", "--disk-quota", "1K"))
    first = SERVER.json("POST", "/jobs", SOME_SECONDS, want=202, headers=key)["id"]
    headers, value = problem(SERVER.request("POST", "/jobs", json.dumps(quick_job(URL)), key), 429, "busy")
    assert "retry-after" in headers and "key 'small' has 1 unfinished jobs, 1 are allowed" in value["detail"], value
    end = time.monotonic() + 240 * SLOW
    while SERVER.json("GET", "/jobs/" + first, headers=key)["state"] not in FINAL:
        assert time.monotonic() < end
        time.sleep(0.1)
    equal(SERVER.json("GET", "/jobs/" + first, headers=key)["state"], "succeeded")
    headers, value = problem(SERVER.request("POST", "/jobs", json.dumps(quick_job(URL)), key), 507, "no-space")
    assert "1024 are allowed" in value["detail"], value
    equal(SERVER.request("DELETE", "/jobs/" + first, headers=key)[0], 204)
    second = SERVER.json("POST", "/jobs", SOME_SECONDS, want=202, headers=key)["id"]
    equal(SERVER.request("POST", "/jobs/%s/cancel" % second, headers=key)[0], 202)
    rows = SERVER.json("GET", "/audit?target=" + first, headers=ADMIN)["data"]
    equal([row["action"] for row in rows], ["job.create", "job.delete"])
    small = [k["id"] for k in SERVER.json("GET", "/keys", headers=ADMIN)["data"] if k["name"] == "small"][0]
    equal({row["key"] for row in rows}, {small})


def the_address_is_the_clients_only_where_a_proxy_is_trusted():
    def address_of(server, headers, forwarded):
        request = server.json("POST", "/keys", {"name": "k%d" % next(NUMBER), "scopes": ["jobs:read"]}, want=201,
                              headers=dict(headers, **({"X-Forwarded-For": forwarded} if forwarded else {})))
        return server.json("GET", "/audit?action=key.create&target=" + request["id"], headers=headers)["data"][0]["address"]

    equal(address_of(SERVER, ADMIN, None), "127.0.0.1")
    equal(address_of(SERVER, ADMIN, "6.6.6.6, 198.51.100.7"), "198.51.100.7")
    equal(address_of(SERVER, ADMIN, "198.51.100.7, 127.0.0.9"), "198.51.100.7")
    equal(address_of(SERVER, ADMIN, "198.51.100.7, <script>"), "127.0.0.1")
    alone = Server()
    key = bearer(make_key(alone.state, "ops", "admin"))
    equal(address_of(alone, key, "6.6.6.6"), "127.0.0.1")
    equal(alone.stop(), 0)


def login(key, **more):
    headers = {"Content-Type": "application/json", "Origin": SERVER.url}
    headers.update({name.replace("_", "-"): value for name, value in more.items()})
    return SERVER.request("POST", "/session", json.dumps({"key": key}), elsewhere(headers))


def a_session_is_a_cookie_for_our_own_pages():
    key = make_key(SERVER.state, "person", "jobs:read,jobs:write")
    status, headers, data = login(key)
    equal(status, 201)
    equal(json.loads(data)["scopes"], ["jobs:read", "jobs:write"])
    parts = headers["set-cookie"].split("; ")
    equal(set(parts[1:]), {"Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"}, "no Secure without TLS")
    cookie, ours = {"Cookie": parts[0]}, {"Origin": SERVER.url, "Content-Type": "application/json"}
    assert key not in headers["set-cookie"]
    behind = login(key, Origin="https://quantd.example.org", Host="quantd.example.org")  # a proxy that ends TLS
    assert behind[0] == 201 and behind[1]["set-cookie"].endswith("; Secure"), behind

    def status_of(method, path, more, body=None):
        return SERVER.request(method, path, body, elsewhere(dict(cookie, **more)))[0]

    equal(status_of("GET", "/jobs", {}), 200)
    equal(status_of("GET", "/jobs", {"Sec-Fetch-Site": "same-origin"}), 200)
    equal(status_of("GET", "/jobs", {"Sec-Fetch-Site": "none"}), 200, "typed into the address bar")
    for site in ("cross-site", "same-site", "nonsense"):
        equal(status_of("GET", "/jobs", {"Sec-Fetch-Site": site}), 401, site)
    equal(status_of("GET", "/jobs", {"Origin": "http://elsewhere.example"}), 401)
    equal(status_of("GET", "/keys", {}), 403, "the key's scopes are the session's")
    equal(status_of("POST", "/jobs", {}, "{}"), 401, "a change says where it comes from")
    equal(status_of("POST", "/jobs", {"Origin": "http://elsewhere.example"}, "{}"), 401)
    equal(status_of("POST", "/jobs", dict(ours, **{"Sec-Fetch-Site": "cross-site"}), "{}"), 401)
    equal(status_of("POST", "/jobs", dict(ours, **{"Sec-Fetch-Site": "none"}), "{}"), 401)
    equal(status_of("POST", "/jobs", ours, "{}"), 422)
    job = SERVER.request("POST", "/jobs", json.dumps(SOME_SECONDS), dict(cookie, **ours))
    equal(job[0], 202)
    job = json.loads(job[2])["id"]
    equal(SERVER.request("POST", "/jobs/%s/cancel" % job, headers=dict(cookie, **ours))[0], 202)
    status, headers, data = SERVER.request("GET", "/jobs/%s/events" % job, headers=dict(cookie, Accept="text/event-stream"))
    equal((status, headers["content-type"].split(";")[0]), (200, "text/event-stream"), "as EventSource asks")
    status, headers, _ = SERVER.request("DELETE", "/session", headers=dict(cookie, **ours))
    equal(status, 204)
    assert headers["set-cookie"].startswith("quantd_session=; ") and "Max-Age=0" in headers["set-cookie"], headers
    equal(status_of("GET", "/jobs", {}), 401)
    equal(SERVER.request("DELETE", "/session")[0], 204, "fine without one too")
    actions = [row["action"] for row in SERVER.json("GET", "/audit?limit=1000", headers=ADMIN)["data"]]
    assert "login" in actions and "logout" in actions, actions


def a_session_ends_with_its_key():
    key = make_key(SERVER.state, "leaves", "jobs:read")
    cookie = {"Cookie": login(key)[1]["set-cookie"].split(";")[0]}
    equal(SERVER.request("GET", "/jobs", headers=cookie)[0], 200)
    quantd("key", "revoke", "--state", SERVER.state, "leaves")
    revoked = time.monotonic()
    while SERVER.request("GET", "/jobs", headers=cookie)[0] == 200:
        assert time.monotonic() - revoked < 1 * patience()
    problem(login(key), 401, "unauthorized")


def hear(stream, word):
    heard = b""
    while word not in heard:
        more = stream.recv(65536)
        assert more, "the stream ended before %r: %r" % (word, heard)
        heard += more


def a_stream_ends_with_its_key():
    server = Server("--disk-floor", "8000T")  # nothing starts: the job stays unfinished, and its stream open
    key, other = make_key(server.state, "leaves", "jobs:read"), make_key(server.state, "stays", "admin")
    job = server.json("POST", "/jobs", dict(quick_job("http://127.0.0.1:9/"), algorithm="rtn"), want=202, headers=bearer(other))["id"]
    streams = []
    for text in (key, other):
        stream = socket.create_connection((server.host, server.port), timeout=10 * SLOW)
        stream.sendall(("GET /jobs/%s/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n"
                        % (job, text)).encode())
        streams.append(stream)
        hear(stream, b"queued")
    quantd("key", "revoke", "--state", server.state, "leaves")
    while streams[0].recv(65536):
        pass
    server.json("PATCH", "/jobs/" + job, {"name": "later"}, headers=bearer(other))
    hear(streams[1], b"later")
    for stream in streams:
        stream.close()
    equal(server.stop(), 0)


def what_is_no_login_is_refused():
    problem(login("qd_" + "0" * 32), 401, "unauthorized")
    problem(login(KEYS["admin"], Origin="http://elsewhere.example"), 403, "forbidden")
    problem(login(KEYS["admin"], Content_Type="text/plain"), 415, "media-type")
    for body, status in (("{", 400), ("[]", 400), ("{}", 422), ('{"key": 5}', 422), (json.dumps({"key": KEYS["admin"], "more": 1}), 422)):
        equal(SERVER.request("POST", "/session", body, elsewhere({}))[0], status, body)
    equal(SERVER.request("GET", "/jobs", headers=elsewhere({"Cookie": "quantd_session=" + "0" * 40}))[0], 401)


def the_audit_is_read_by_a_cursor():
    every, after = [], 0
    while True:
        page = SERVER.json("GET", "/audit?limit=3&after=%d" % after, headers=ADMIN)
        assert len(page["data"]) <= 3
        every += page["data"]
        if not page["has_more"]:
            break
        after = page["data"][-1]["id"]
    ids = [row["id"] for row in every]
    equal(ids, sorted(set(ids)))
    equal(every, SERVER.json("GET", "/audit?limit=1000", headers=ADMIN)["data"])
    revoked = SERVER.json("GET", "/audit?action=key.revoke", headers=ADMIN)["data"]
    assert revoked and all(row["action"] == "key.revoke" for row in revoked)
    equal([row for row in every if row["action"] == "key.revoke"], revoked)
    for query in ("?limit=0", "?limit=1001", "?after=x", "?action=nothing", "?page=2"):
        problem(SERVER.request("GET", "/audit" + query, headers=ADMIN), 400, "bad-request")


def no_key_is_in_the_log_the_database_or_the_audit():
    audit = json.dumps(SERVER.json("GET", "/audit?limit=1000", headers=ADMIN))
    files = [os.path.join(SERVER.state, name) for name in os.listdir(SERVER.state)]
    stored = [open(path, "rb").read() for path in files if os.path.isfile(path) and not path.endswith(".ballast")]
    assert len(stored) >= 2, files
    for text in TEXTS:
        assert text[3:] not in audit
        for data in stored:
            assert text[3:].encode() not in data
    assert any(hashlib.sha256(TEXTS[0].encode()).hexdigest().encode() in data for data in stored), "the digests are there"


def the_last_key_that_is_revoked_opens_nothing():
    server = Server()
    equal(server.request("GET", "/jobs")[0], 200)
    make_key(server.state, "only", "admin")
    quantd("key", "revoke", "--state", server.state, "only")
    equal(server.request("GET", "/jobs")[0], 401)
    equal(server.stop(), 0)
    server = Server(state=server.state)
    equal(server.request("GET", "/jobs")[0], 401, "after a restart too")
    equal(server.stop(), 0)


def the_option_auth_decides():
    closed = Server("--auth", "keys")
    equal(closed.request("GET", "/jobs")[0], 401)
    equal(closed.request("GET", "/livez")[0], 200)
    key = make_key(closed.state, "ops", "admin")
    equal(closed.request("GET", "/jobs", headers=bearer(key))[0], 200)
    equal(closed.stop(), 0)
    wide = Server("--auth", "none", state=closed.state)
    equal(wide.request("GET", "/jobs")[0], 200)
    equal(wide.stop(), 0)


def beyond_loopback_keys_are_a_condition():
    state = os.path.join(temporary_folder(), "state")
    done = quantd("serve", "--listen", "0.0.0.0:0", "--state", state, want=2)
    assert "quantd key create" in done.stderr and "--insecure" in done.stderr, done.stderr
    key = make_key(state, "ops", "admin")
    server = Server("--listen", "0.0.0.0:0", "--host", "quantd.example.org", state=state)
    server.host = "127.0.0.1"
    equal(server.request("GET", "/jobs", headers=bearer(key))[0], 200)
    equal(server.request("GET", "/jobs", headers=bearer(key, Host="quantd.example.org"))[0], 200)
    equal(server.request("GET", "/jobs", headers=bearer(key, Host="192.0.2.1:80"))[0], 200, "an address was not resolved from a name")
    problem(server.request("GET", "/jobs", headers=bearer(key, Host="elsewhere.example")), 403, "forbidden")
    equal(server.stop(), 0)


def a_reload_changes_the_rate():
    folder = temporary_folder()
    path = os.path.join(folder, "quantd.conf")
    open(path, "w").write("rate-limit = 2\n")
    server = Server("--config", path)
    key = bearer(make_key(server.state, "ops", "admin"))
    equal([server.request("GET", "/jobs", headers=key)[0] for _ in range(3)], [200, 200, 429])
    open(path, "w").write("rate-limit = 0\n")
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20 * SLOW
    while server.request("GET", "/jobs", headers=key)[0] != 200:
        assert time.monotonic() < end, "the rate was not reloaded"
        time.sleep(0.1)
    equal([server.request("GET", "/jobs", headers=key)[0] for _ in range(20)], [200] * 20)
    equal(server.stop(), 0)


def the_service_stops_cleanly():
    equal(SERVER.stop(), 0)


run_claims([the_service_is_open_until_the_first_key_is_made, every_operation_lets_in_only_who_has_its_scope, a_refusal_does_not_wait_for_the_body,
            a_key_is_made_listed_and_revoked_beside_the_running_service, the_command_line_says_what_is_wrong, keys_are_made_and_revoked_over_http,
            a_key_beyond_its_rate_is_told_when_to_come_back, wrong_keys_are_slowed_by_address_and_right_ones_are_not, a_key_has_a_quota_of_jobs_and_of_bytes,
            the_address_is_the_clients_only_where_a_proxy_is_trusted, a_session_is_a_cookie_for_our_own_pages, a_session_ends_with_its_key,
            a_stream_ends_with_its_key,
            what_is_no_login_is_refused, the_audit_is_read_by_a_cursor, no_key_is_in_the_log_the_database_or_the_audit,
            the_last_key_that_is_revoked_opens_nothing, the_option_auth_decides, beyond_loopback_keys_are_a_condition, a_reload_changes_the_rate,
            the_service_stops_cleanly])
