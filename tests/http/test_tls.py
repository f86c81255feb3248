"""TLS of the service's own: a verified connection, events and files through it, certificates that are exchanged, and what is refused."""
import os
import socket
import ssl
import stat
import sys
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

warnings.filterwarnings("ignore", category=DeprecationWarning)  # TLS 1.1 is asked for on purpose
OPENSSL = shutil.which("openssl")
FOLDER = temporary_folder()
CERTIFICATE, KEY = os.path.join(FOLDER, "cert.pem"), os.path.join(FOLDER, "key.pem")
STATE = {}


def needs_openssl():
    if OPENSSL is None:
        raise Skip("openssl makes the certificates and is not installed")


def make_certificate(certificate=CERTIFICATE, key=KEY):
    subprocess.run([OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    os.chmod(key, 0o600)


class SecureServer(Server):
    """The certificate is verified at every request."""

    def connect(self, timeout=60):
        context = ssl.create_default_context(cafile=CERTIFICATE)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = self.connect(timeout)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, data


def presented(server):
    """The certificate that a new connection gets, unverified."""
    return ssl.get_server_certificate((server.host, server.port))


def log_of(server):
    return open(server.log_path).read()


def log_says(server, part):
    end = time.monotonic() + 20 * SLOW
    while part not in log_of(server):
        assert time.monotonic() < end, log_of(server)[-2000:]
        time.sleep(0.05)


def requests_are_answered_over_a_verified_connection():
    needs_openssl()
    make_certificate()
    root = temporary_folder()
    copy_model(root, "novella-1m")
    STATE["model"] = "file://" + os.path.join(root, "novella-1m")
    STATE["server"] = server = SecureServer("--file-root", root, "--tls-cert", CERTIFICATE, "--tls-key", KEY)
    assert server.url.startswith("https://"), server.url
    equal(server.request("GET", "/livez")[0], 200)
    connection = server.connect()
    for _ in range(3):  # one connection, several requests
        connection.request("GET", "/openapi.json")
        reply = connection.getresponse()
        equal(reply.status, 200)
        json.loads(reply.read())
    assert connection.sock.version() in ("TLSv1.2", "TLSv1.3"), connection.sock.version()
    connection.close()
    assert "tls.certificate" in log_of(server) and "expires=" in log_of(server)
    assert "mode=" not in log_of(server), "a key of mode 0600 is no reason to warn"


def a_job_is_followed_and_fetched_through_it():
    needs_openssl()
    server = STATE["server"]
    job = server.submit(quick_job(STATE["model"]))
    status, _, stream = server.request("GET", "/jobs/%s/events" % job, headers={"Accept": "text/event-stream"}, timeout=240 * SLOW)
    equal(status, 200)
    events = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: ")]
    equal(events[-1], {"state": "succeeded"})
    equal(events[:-1], server.json("GET", "/jobs/%s/events" % job, headers={"Accept": "application/json"})["data"])
    files = server.artifact(job)  # digests are checked
    assert max(len(data) for data in files.values()) > 100000, {name: len(data) for name, data in files.items()}


def cookies_are_secure_and_origins_are_https():
    needs_openssl()
    server = STATE["server"]
    key = subprocess.run([QUANTD, "key", "create", "--state", server.state, "--name", "ops", "--scopes", "admin"], check=True,
                         capture_output=True, text=True).stdout.strip()
    status, headers, _ = server.request("POST", "/session", json.dumps({"key": key}))
    equal(status, 201)
    assert headers["set-cookie"].endswith("; Secure"), headers
    ours = {"Cookie": headers["set-cookie"].split(";")[0], "Content-Type": "application/json"}
    equal(server.request("POST", "/jobs", "{}", dict(ours, Origin=server.url))[0], 422)
    equal(server.request("POST", "/jobs", "{}", dict(ours, Origin=server.url.replace("https:", "http:")))[0], 401, "not our own page")
    equal(server.request("POST", "/jobs", "{}", {"Authorization": "Bearer " + key, "Origin": server.url.replace("https:", "http:")})[0], 403)


def what_is_no_tls_gets_no_answer():
    needs_openssl()
    server = STATE["server"]
    try:
        Server.request(server, "GET", "/livez", timeout=20)
    except (OSError, http.client.HTTPException):
        pass
    else:
        raise AssertionError("plain http was answered")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        http.client.HTTPSConnection(server.host, server.port, timeout=20, context=old).request("GET", "/livez")
    except (OSError, ssl.SSLError):
        pass
    else:
        raise AssertionError("TLS 1.1 was spoken")
    try:  # what is answered in plain text elsewhere is cut here
        server.request("GET", "/jobs?" + "&".join("a=1" for _ in range(100)))
    except (OSError, http.client.HTTPException):
        pass
    else:
        raise AssertionError("100 parameters were answered")
    equal(server.request("GET", "/livez")[0], 200)


def a_handshake_that_never_comes_is_cut():
    needs_openssl()
    server = STATE["server"]
    begun = time.monotonic()
    with socket.create_connection((server.host, server.port), timeout=60 * SLOW) as silent, \
            socket.create_connection((server.host, server.port), timeout=60 * SLOW) as slow:
        slow.sendall(b"\x16\x03\x01")  # the beginning of a record
        for s in (silent, slow):
            while True:
                try:
                    if not s.recv(100):
                        break
                except ConnectionError:
                    break
    assert time.monotonic() - begun < 30 * patience(), "the deadline of the header is 10 s"
    equal(server.request("GET", "/livez")[0], 200)


def a_certificate_is_exchanged_without_a_restart():
    needs_openssl()
    server = STATE["server"]
    before = presented(server)
    kept = server.connect()
    kept.request("GET", "/livez")
    kept.getresponse().read()
    make_certificate()
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20 * SLOW
    while presented(server) == before:
        assert time.monotonic() < end, "the old certificate is still presented"
        time.sleep(0.05)
    equal(server.request("GET", "/livez")[0], 200, "verified against the new one")
    kept.request("GET", "/livez")  # who was connected stays so
    equal(kept.getresponse().status, 200)
    kept.close()


def a_broken_certificate_leaves_the_old_one_in_use():
    needs_openssl()
    server = STATE["server"]
    before = presented(server)
    with open(CERTIFICATE) as now:
        right = now.read()
    with open(CERTIFICATE, "w") as out:
        out.write("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    server.process.send_signal(signal.SIGHUP)
    log_says(server, "serve.certificate-not-reloaded")
    equal(presented(server), before)
    with open(CERTIFICATE, "w") as out:
        out.write(right)
    equal(server.request("GET", "/livez")[0], 200)


def what_cannot_be_served_with_is_refused_at_the_start():
    needs_openssl()
    other_certificate, other_key, garbage = (os.path.join(FOLDER, name) for name in ("other.pem", "other-key.pem", "garbage.pem"))
    make_certificate(other_certificate, other_key)
    with open(garbage, "w") as out:
        out.write("nothing\n")
    cases = [(("--tls-cert", CERTIFICATE), "tls-cert and tls-key: one is given without the other"),
             (("--tls-key", KEY), "tls-cert and tls-key: one is given without the other"),
             (("--tls-cert", CERTIFICATE, "--tls-key", other_key), "is not the key of tls-cert"),
             (("--tls-cert", CERTIFICATE, "--tls-key", "/nonexistent"), "tls-key: open '/nonexistent'"),
             (("--tls-cert", "/nonexistent", "--tls-key", KEY), "tls-cert: open '/nonexistent'"),
             (("--tls-cert", garbage, "--tls-key", KEY), "garbage.pem"),
             (("--tls-cert", CERTIFICATE, "--tls-key", garbage), "garbage.pem")]
    for flags, part in cases:
        state = os.path.join(temporary_folder(), "state")
        done = subprocess.run([QUANTD, "serve", "--listen", "127.0.0.1:0", "--state", state] + list(flags), capture_output=True, text=True, timeout=60)
        assert done.returncode in (1, 2), done
        equal(done.stdout, "", "it never listened")
        assert part in done.stderr, done.stderr


def a_key_that_others_may_read_is_warned_of():
    needs_openssl()
    os.chmod(KEY, 0o644)
    server = SecureServer("--tls-cert", CERTIFICATE, "--tls-key", KEY)
    assert "tls.key" in log_of(server) and "mode=0644" in log_of(server), log_of(server)
    equal(stat.S_IMODE(os.stat(KEY).st_mode), 0o644, "and left as it is")
    equal(server.stop(), 0)
    os.chmod(KEY, 0o600)


def the_service_stops_cleanly():
    needs_openssl()
    equal(STATE["server"].stop(), 0)


run_claims([requests_are_answered_over_a_verified_connection, a_job_is_followed_and_fetched_through_it, cookies_are_secure_and_origins_are_https,
            what_is_no_tls_gets_no_answer, a_handshake_that_never_comes_is_cut, a_certificate_is_exchanged_without_a_restart, a_broken_certificate_leaves_the_old_one_in_use,
            what_cannot_be_served_with_is_refused_at_the_start, a_key_that_others_may_read_is_warned_of, the_service_stops_cleanly])
