"""Malformed requests on raw sockets: a table with the answer each must get, two-length messages in many spellings, and seeded mutations.

Nothing may crash, hang, answer 5xx out of turn or serve what is smuggled. MALFORMED_REQUESTS says how many mutations (1,000; 12,000 with
QUANTD_LONG_TESTS), MALFORMED_SEED which.
"""
import os
import random
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

COUNT = int(os.environ.get("MALFORMED_REQUESTS", "12000" if os.environ.get("QUANTD_LONG_TESTS") else "1000"))
SEED = int(os.environ.get("MALFORMED_SEED", "1"))
PATIENCE = 8 * SLOW  # below the 10 s after which the service itself would cut
SERVER = Server("--log-level", "warn")
SENT = [0]
ID = "0" * 26


def read_until(connection, seconds):
    """-> what came before the end or a silence of so many seconds, and whether it was the end."""
    connection.settimeout(seconds)
    reply = b""
    try:
        while True:
            more = connection.recv(65536)
            if not more:
                return reply, True
            reply += more
    except ConnectionResetError:
        return reply, True
    except socket.timeout:
        return reply, False


def talk(data, pause=0.03):
    """Sends, and after a pause says that nothing follows. -> all that came; None: the service neither answered to the end nor closed.

    The library's release 0.9.75 misses an end that arrives together with the request (it is cut when idle), hence the pause: longer
    when it was missed, which a busy machine may cause."""
    SENT[0] += 1
    with socket.create_connection((SERVER.host, SERVER.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(data)
        except OSError:
            pass  # refused before all was sent
        reply, ended = read_until(connection, pause)
        if not ended:
            try:
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            more, ended = read_until(connection, PATIENCE)
            reply += more
    return reply if ended else talk(data, 1) if pause < 1 else None


def replies_of(reply, headless):
    """Statuses of a sequence of well-formed replies; an assertion fails where it is none. headless: HEAD may have been asked."""
    found = []
    while reply:
        line = re.match(rb"HTTP/1\.1 ([1-5]\d\d) [ -~]*\r\n", reply)
        assert line, "no status line: %r" % reply[:80]
        status = int(line.group(1))
        head, mark, rest = reply.partition(b"\r\n\r\n")
        assert mark, "a header without end: %r" % reply[:200]
        found.append(status)
        if status == 100:
            reply = rest
            continue
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        assert length, "no length: %r" % head
        length = 0 if status in (204, 304) else int(length.group(1))
        if rest.startswith(head + mark):  # a refusal of the library's own: release 0.9.75 sends its header twice, and closes
            rest = rest[len(head + mark):]
        if len(rest) < length or rest[:5] == b"HTTP/":
            assert headless, "a body of %d bytes of %d" % (len(rest), length)
            length = 0
        reply = rest[length:]
    return found


def request(line, *headers, body=b"", host="localhost"):
    lines = [line] + (["Host: " + host] if host else []) + list(headers)
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


POST = "POST /jobs HTTP/1.1"
BODY = b'{"model":"ftp://x/","bits":17}'
LENGTH = "Content-Length: %d" % len(BODY)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SMUGGLED = b"GET /catalog HTTP/1.1\r\nHost: localhost\r\n\r\n"

# name, bytes, the statuses that may come (all of them, in order; a tuple of alternatives; () = closed without a word)
TABLE = [
    ("a sound request", request("GET /livez HTTP/1.1"), [200]),
    ("a sound body", request(POST, LENGTH, body=BODY), [422]),
    ("a sound chunked body", request(POST, "Transfer-Encoding: chunked", body=CHUNKED), [422]),
    ("two sound requests", request("GET /livez HTTP/1.1") * 2, [200, 200]),
    ("no Host", request("GET /livez HTTP/1.1", host=None), [400]),
    ("HTTP/1.0 needs no Host", request("GET /livez HTTP/1.0", host=None), [200]),
    ("a blank before the colon", b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", [400]),
    ("two hosts", request("GET /livez HTTP/1.1", "Host: localhost"), [400]),
    ("a foreign Host", request("GET /livez HTTP/1.1", host="evil.example"), [403]),
    ("an empty Host", request("GET /livez HTTP/1.1", host=None).replace(b"\r\n\r\n", b"\r\nHost:\r\n\r\n"), [403]),
    ("Content-Length and Transfer-Encoding", request(POST, LENGTH, "Transfer-Encoding: chunked", body=CHUNKED + SMUGGLED), [400]),
    ("Transfer-Encoding and Content-Length", request(POST, "Transfer-Encoding: chunked", "Content-Length: 4", body=CHUNKED + SMUGGLED), [400]),
    ("a length in front of a smuggled request", request(POST, "Content-Length: 0", "Transfer-Encoding: chunked", body=SMUGGLED), [400]),
    ("two lengths that differ", request(POST, LENGTH, "Content-Length: 5", body=BODY + SMUGGLED), [400]),
    ("two lengths that agree", request(POST, LENGTH, LENGTH, body=BODY + SMUGGLED), [400]),
    ("a list of lengths", request(POST, "Content-Length: 30, 30", body=BODY), [400]),
    ("Transfer-Encoding: gzip", request(POST, "Transfer-Encoding: gzip", body=BODY), [501]),
    ("Transfer-Encoding: gzip, chunked", request(POST, "Transfer-Encoding: gzip, chunked", body=CHUNKED), [501]),
    ("Transfer-Encoding twice", request(POST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=CHUNKED), [400]),
    ("Transfer-Encoding in HTTP/1.0", request("POST /jobs HTTP/1.0", "Transfer-Encoding: chunked", body=CHUNKED), [400]),
    ("a NUL in the path", request("GET /livez%00 HTTP/1.1"), [400]),
    ("a NUL in the query", request("GET /jobs?state=%00 HTTP/1.1"), [400]),
    ("an encoded slash", request("GET /jobs%2F" + ID + " HTTP/1.1"), [400]),
    ("half an escape", request("GET /jobs%2 HTTP/1.1"), [400]),
    ("a path upwards", request("GET /../../etc/passwd HTTP/1.1"), [404]),
    ("a path upwards, encoded", request("GET /jobs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1"), [404]),
    ("an artifact upwards", request("GET /jobs/" + ID + "/artifacts/../../../etc/passwd HTTP/1.1"), [404]),
    ("lines that end in LF", request("GET /livez HTTP/1.1").replace(b"\r", b""), ([200], [400])),
    ("a negative chunk", request(POST, "Transfer-Encoding: chunked", body=b"-1\r\nx\r\n0\r\n\r\n"), [400]),
    ("a chunk that is no number", request(POST, "Transfer-Encoding: chunked", body=b"zz\r\nx\r\n0\r\n\r\n"), [400]),
    ("a chunk beyond all numbers", request(POST, "Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\nx\r\n0\r\n\r\n"), [413]),
    ("a chunk of 2^63", request(POST, "Transfer-Encoding: chunked", body=b"8000000000000000\r\nx\r\n"), ([413], [400], [])),
    ("a length beyond all numbers", request(POST, "Content-Length: " + "9" * 30, body=BODY), [413]),
    ("a length of 2^63", request(POST, "Content-Length: 9223372036854775808", body=BODY), ([413], [400])),
    ("a length beyond the limit", request(POST, "Content-Length: 1048577"), [413]),
    ("a negative length", request(POST, "Content-Length: -1", body=BODY), [400]),
    ("a length with a sign", request(POST, "Content-Length: +30", body=BODY), [400]),
    ("a length in hex", request(POST, "Content-Length: 0x1e", body=BODY), [400]),
    ("an empty length", request(POST, "Content-Length:", body=BODY), [400]),
    ("a body of a GET", request("GET /livez HTTP/1.1", "Content-Length: 5", body=b"hello"), [413]),
    ("a body that stops short", request(POST, "Content-Length: 500", body=BODY), []),
    ("HTTP/0.9", b"GET /livez\r\n\r\n", [400]),
    ("HTTP/2.0", request("GET /livez HTTP/2.0"), ([505], [400])),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ([505], [400])),
    ("HTTP/1.9", request("GET /livez HTTP/1.9"), ([505], [400], [200])),
    ("no version of HTTP", request("GET /livez HTPP/1.1"), [400]),
    ("garbage", b"\x00\x01\x02\x03garbage\r\n\r\n", ([400], [])),
    ("a client of TLS", bytes.fromhex("16030100c8010000c40303") + b"\x55" * 190, ([400], [])),
    ("nothing", b"", []),
    ("blank lines only", b"\r\n" * 50, []),
    ("a method we do not have", request("BREW /jobs HTTP/1.1"), [405]),
    ("TRACE", request("TRACE / HTTP/1.1"), [405]),
    ("OPTIONS *", request("OPTIONS * HTTP/1.1"), ([400], [404], [405])),
    ("CONNECT", request("CONNECT example.org:443 HTTP/1.1"), ([400], [404], [405])),
    ("a method in small letters", request("get /livez HTTP/1.1"), [405]),
    ("a method of 5,000 letters", request("X" * 5000 + " / HTTP/1.1"), ([400], [404], [405])),
    ("a folded header", request("GET /livez HTTP/1.1", "X-A: b\r\n c"), ([200], [400])),
    ("a line without a colon", request("GET /livez HTTP/1.1", "nonsense"), [400]),
    ("a header without a name", request("GET /livez HTTP/1.1", ": x"), ([400], [200])),
    ("a header of 20 KB", request("GET /livez HTTP/1.1", "X-A: " + "a" * 20000), [431]),
    ("2,000 headers", request("GET /livez HTTP/1.1", *["X-%d: y" % i for i in range(2000)]), [431]),
    ("a target of 20 KB", request("GET /" + "a" * 20000 + " HTTP/1.1"), [414]),
    ("a target of 500 parameters", request("GET /jobs?" + "&".join("a%d=1" % i for i in range(500)) + " HTTP/1.1"), [400]),
    ("a control character in the target", request("GET /livez\x01 HTTP/1.1"), [400]),
    ("a fragment", request("GET /livez#x HTTP/1.1"), [400]),
    ("the absolute form", request("GET http://localhost/livez HTTP/1.1"), [200]),
    ("a body that is no JSON", request(POST, "Content-Length: 4", body=b"\xff\xfe\x00\x01"), [400]),
    ("JSON 17 deep", request(POST, "Content-Length: %d" % 39, body=b'{"a":' + b"[" * 17 + b"]" * 17), [400]),
    ("a key twice", request(POST, "Content-Length: 13", body=b'{"a":1,"a":2}'), [400]),
    ("a string of 5,000", request(POST, "Content-Length: 5011", body=b'{"name":"' + b"a" * 5000 + b'"}'), [413]),
    ("a name of 5,000", request(POST, "Content-Length: 5006", body=b'{"' + b"a" * 5000 + b'":1}'), [413]),
    ("a list of 300", request(POST, "Content-Length: 613", body=b'{"format":[' + b"1," * 299 + b"1 ]}"), [413]),
    ("an expectation that we do not know", request(POST, "Expect: tea", LENGTH, body=BODY), ([422], [417])),
    ("a page of another site", request(POST, "Origin: http://evil.example", "Content-Type: application/json", LENGTH, body=BODY), [403]),
    ("a form of our own page", request(POST, "Origin: http://localhost", "Content-Type: text/plain", LENGTH, body=BODY), [415]),
    ("no body of our own page", request("POST /jobs/%s/retry HTTP/1.1" % ID, "Origin: http://localhost", "Content-Length: 0"), [404]),
    ("a range that is none", request("GET /catalog HTTP/1.1", "Range: bytes=9-1,x"), [200]),
    ("an event id that is no number", request("GET /jobs/%s/events HTTP/1.1" % ID, "Last-Event-ID: -1"), [400]),
]


def the_table_gets_the_answers_it_must():
    wrong = []
    for name, data, want in TABLE:
        got = talk(data)
        try:
            statuses = None if got is None else replies_of(got, data.startswith(b"HEAD"))
        except AssertionError as why:
            statuses = str(why)
        if statuses not in (want if isinstance(want, tuple) else (want,)):
            wrong.append("%s: %s instead of %s" % (name, statuses, want))
    assert not wrong, "\n" + "\n".join(wrong)


def spelled(rng, name):
    name = "".join(rng.choice((c.upper(), c.lower())) for c in name)
    return name + ":" + rng.choice(("", " ", "  ", "\t"))


def a_message_of_two_lengths_is_always_400_and_smuggles_nothing():
    """Content-Length beside Transfer-Encoding, or twice, in any order, case and company, for every route."""
    rng = random.Random(SEED)
    lines = ["POST /jobs", "POST /jobs/%s/cancel" % ID, "GET /jobs", "DELETE /jobs/" + ID, "GET /livez", "GET /nowhere", "BREW /jobs", "HEAD /livez"]
    cases = []
    for _ in range(max(COUNT // 5, 200)):
        lengths = [spelled(rng, "Content-Length") + rng.choice(("0", "5", "30", "1048577", "x"))]
        other = spelled(rng, "Content-Length") + rng.choice(("0", "5", "30")) if rng.random() < 0.5 else \
            spelled(rng, "Transfer-Encoding") + rng.choice(("chunked", "Chunked", "gzip", "identity", "chunked, gzip", "x"))
        headers = lengths + [other] + ["X-%d: %d" % (i, rng.randrange(99)) for i in range(rng.randrange(4))]
        rng.shuffle(headers)
        cases.append(request(rng.choice(lines) + " HTTP/1.1", *headers, body=rng.choice((b"", CHUNKED, BODY)) + SMUGGLED))
    with ThreadPoolExecutor(8) as pool:
        for data, got in zip(cases, pool.map(talk, cases)):
            equal(None if got is None else replies_of(got, data.startswith(b"HEAD")), [400], data)


NUMBERS = (b"0", b"-1", b"+1", b"00", b"1e9", b"0x10", b"2147483648", b"4294967296", b"9223372036854775807", b"18446744073709551616", b"9" * 40)
SCRAPS = (b"\x00", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"%", b"%00", b"%2e%2e/", b"\xff", b"\x80", b"?", b"&", b"=", b"#", b";", b",", b"\"",
          b"HTTP/1.1", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b"Range: bytes=0-\r\n", b"Expect: 100-continue\r\n",
          b"Connection: close\r\n", b"Connection: keep-alive, Upgrade\r\n", b"Accept: text/event-stream\r\n", b"A" * 300, b"\r\n " + b"b" * 50)


def mutate(rng, seeds):
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at, kind = rng.randrange(len(data) + 1), rng.randrange(10)
        if kind == 0:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at:at + rng.choice((1, 2, 5, 20))]
        elif kind in (2, 3):
            data[at:at] = rng.choice(SCRAPS)
        elif kind == 4 and data:  # another number
            found = list(re.finditer(rb"\d+", bytes(data)))
            if found:
                data[slice(*rng.choice(found).span())] = rng.choice(NUMBERS)
        elif kind in (5, 6):  # a line twice, or elsewhere
            parts = bytes(data).split(b"\r\n")
            line = parts[rng.randrange(len(parts))] if kind == 5 else parts.pop(rng.randrange(len(parts)))
            parts.insert(rng.randrange(len(parts) + 1), line)
            data = bytearray(b"\r\n".join(parts))
        elif kind == 7:
            del data[at:]
        elif kind == 8:
            data += rng.choice(seeds)
        else:
            other = rng.choice(seeds)
            data[at:] = other[rng.randrange(len(other) + 1):]
        data = data or bytearray(b"\r\n")
    return bytes(data)


def judge(case):
    data, got = case
    if got is None:
        return "no end"
    try:
        statuses = replies_of(got, b"HEAD" in data.upper() or b"text/event-stream" in data)
    except AssertionError as why:
        return str(why)
    wrong = [s for s in statuses if s >= 500 and s not in (501, 505)]
    return "status %s" % wrong if wrong else ""


def mutations_are_answered_or_cut_and_never_a_fault_of_ours():
    rng = random.Random(SEED)
    seeds = [data for _, data, _ in TABLE if 0 < len(data) < 2000]
    left, total = COUNT, {}
    with ThreadPoolExecutor(8) as pool:
        while left > 0:
            batch = [mutate(rng, seeds) for _ in range(min(left, 500))]
            left -= len(batch)
            for case in zip(batch, pool.map(talk, batch)):
                wrong = judge(case)
                assert not wrong, "%s: %r answered by %r" % (wrong, case[0], case[1] and case[1][:300])
                key = case[1][9:12].decode("latin-1") or "closed"
                total[key] = total.get(key, 0) + 1
    print("# %d requests; first answers: %s" % (SENT[0], " ".join("%s %d" % item for item in sorted(total.items()))))


def the_service_is_whole_afterwards():
    equal(SERVER.request("GET", "/livez")[0], 200)
    equal(SERVER.json("GET", "/jobs")["data"], [])
    end = time.monotonic() + 5 * SLOW
    while True:
        metrics = SERVER.request("GET", "/metrics")[2].decode()
        open_ones = int(re.search(r"(?m)^quantd_http_connections (\d+)", metrics).group(1))
        if open_ones <= 1 or time.monotonic() > end:
            break
        time.sleep(0.05)
    equal(open_ones, 1, "connections that are still open")

    equal(SERVER.stop(), 0)
    log = open(SERVER.log_path).read()
    assert "Sanitizer" not in log and "runtime error" not in log and "http.failed" not in log, log[-3000:]


run_claims([the_table_gets_the_answers_it_must, a_message_of_two_lengths_is_always_400_and_smuggles_nothing,
            mutations_are_answered_or_cut_and_never_a_fault_of_ours, the_service_is_whole_afterwards])
