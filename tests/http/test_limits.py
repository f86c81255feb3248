"""What one client may hold open: event streams, downloads, connections; and what the next one is told."""
import os
import socket
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "good")
MODEL = "file://" + os.path.join(ROOT, "good")
HELD = []


def opened(server, path, *headers):
    """A request whose reply is read up to its header. -> status, what came, the socket, which stays open"""
    connection = socket.create_connection((server.host, server.port), timeout=30 * SLOW)
    HELD.append(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall("\r\n".join(["GET %s HTTP/1.1" % path, "Host: localhost"] + list(headers)).encode() + b"\r\n\r\n")
    reply = b""
    while b"\r\n\r\n" not in reply:
        more = connection.recv(1024)
        if not more:
            return 0, reply, connection
        reply += more
    return int(reply.split()[1]), reply, connection


def one_address_has_so_many_streams_and_this_machine_as_many_as_there_are():
    server = Server("--file-root", ROOT, "--trusted-proxy", "127.0.0.1/32", "--event-streams-per-address", "3", "--workers", "1")
    for _ in range(2):  # the second waits: its stream stays open
        job = server.submit(quick_job(MODEL, algorithm="qronos", effort="best", calibration={"samples": 512, "length": 512}))
    path, accept = "/jobs/%s/events" % job, "Accept: text/event-stream"
    for address in ("203.0.113.5", "203.0.113.6", "2001:db8::1"):
        for _ in range(3):
            equal(opened(server, path, accept, "X-Forwarded-For: " + address)[0], 200, address)
        status, reply, _ = opened(server, path, accept, "X-Forwarded-For: " + address)
        equal(status, 429)
        while b'"request_id"' not in reply:  # the end of the problem document
            reply += HELD[-1].recv(4096)
        assert address.encode() in reply and b"Retry-After" in reply, reply
    for _ in range(5):
        equal(opened(server, path, accept)[0], 200)
    server.kill()


def files_beyond_the_number_of_downloads_are_refused_until_one_is_done():
    server = Server("--file-root", ROOT, "--downloads", "1")
    job = server.succeed(quick_job(MODEL))["id"]
    equal(server.stop(), 0)
    big = 64 << 20  # larger than what the kernel holds for a client that does not read
    path = os.path.join(server.state, "artifacts", job, "model.safetensors")
    os.chmod(os.path.dirname(path), 0o755)
    os.chmod(path, 0o644)
    os.truncate(path, big)
    with sqlite3.connect(os.path.join(server.state, "quantd.db")) as database:
        database.execute("UPDATE artifact SET size=? WHERE job=? AND path='model.safetensors'", (big, job))
    database.close()
    server = Server("--file-root", ROOT, "--downloads", "1", state=server.state)
    path = "/jobs/%s/artifacts/model.safetensors" % job
    status, _, first = opened(server, path)
    equal(status, 200)
    status, headers, data = server.request("GET", path)
    equal(status, 503, data[:200])
    assert "1 files are being sent" in json.loads(data)["detail"] and int(headers["retry-after"]) > 0, data
    equal(server.request("HEAD", path)[0], 200, "a header is no download")
    first.close()
    end = time.monotonic() + 30 * SLOW
    while server.request("GET", path, headers={"Range": "bytes=0-9"})[0] != 206:
        assert time.monotonic() < end, "the place of the one that left is never free"
        time.sleep(0.05)
    equal(server.stop(), 0)


def connections_beyond_the_number_of_an_address_are_closed_unheard():
    server = Server("--connections-per-address", "4")
    kept = [opened(server, "/livez") for _ in range(4)]
    equal([one[0] for one in kept], [200] * 4)
    try:
        status = opened(server, "/livez")[0]
    except (ConnectionResetError, BrokenPipeError):
        status = 0
    equal(status, 0)
    kept[0][2].close()
    end = time.monotonic() + 30 * SLOW
    while True:
        try:
            if opened(server, "/livez")[0] == 200:
                break
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert time.monotonic() < end, "the place of the one that left is never free"
        time.sleep(0.05)
    equal(server.stop(), 0)


run_claims([one_address_has_so_many_streams_and_this_machine_as_many_as_there_are, files_beyond_the_number_of_downloads_are_refused_until_one_is_done,
            connections_beyond_the_number_of_an_address_are_closed_unheard])
