"""The proxy example in front of a real service: the real nginx with deploy/nginx/quantd.conf, its ports and certificate replaced."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403

NAME = "quantd.example.org"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


class Proxy:
    """nginx on the example: what the operator replaces is replaced, all else stays."""

    def __init__(self, service):
        self.keepers = [kept_port(), kept_port()]
        self.folder, (self.plain, self.port) = temporary_folder(), [keeper.getsockname()[1] for keeper in self.keepers]
        self.service = service
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=" + NAME, "-addext", "subjectAltName=DNS:" + NAME, "-keyout", self.path("key.pem"),
                        "-out", self.path("cert.pem")], check=True, stderr=subprocess.DEVNULL)
        text = open(os.path.join(SOURCE, "deploy", "nginx", "quantd.conf")).read()
        for pattern, replacement, times in ((r"listen \[::\]:\d+[^;]*;", "", 2), (r"listen 80;", "listen 127.0.0.1:%d;" % self.plain, 1),
                                            (r"listen 443 ", "listen 127.0.0.1:%d " % self.port, 1),
                                            (r"server 127\.0\.0\.1:8080;", "server 127.0.0.1:%d;" % service.port, 1),
                                            (r"/etc/letsencrypt\S*fullchain\.pem", self.path("cert.pem"), 1),
                                            (r"/etc/letsencrypt\S*privkey\.pem", self.path("key.pem"), 1)):
            text, count = re.subn(pattern, replacement, text)
            equal(count, times, pattern)
        with open(self.path("site.conf"), "w") as out:
            out.write(text)
        with open(self.path("nginx.conf"), "w") as out:
            out.write("daemon off; worker_processes 1; pid %s; error_log %s warn;\nevents { worker_connections 512; }\nhttp {\naccess_log off;\n"
                      % (self.path("pid"), self.path("error.log")))
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
                out.write("%s_temp_path %s;\n" % (kind, self.path(kind)))
            out.write("include %s;\n}\n" % self.path("site.conf"))
        if os.geteuid() == 0:  # its workers become nobody, and must reach their folder
            os.chmod(self.folder, 0o755)
        self.process = subprocess.Popen([NGINX, "-p", self.folder, "-c", self.path("nginx.conf")], stderr=subprocess.PIPE)
        atexit.register(self.stop)
        end = time.monotonic() + 10 * SLOW
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, self.process.stderr.read1(4000)
                time.sleep(0.02)

    def path(self, name):
        return os.path.join(self.folder, name)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def curl(self, path, *arguments):
        """-> status line and headers (lower case), body; by curl, which speaks HTTP/2."""
        done = subprocess.run(["curl", "-sS", "-i", "--cacert", self.path("cert.pem"), "--resolve", "%s:%d:127.0.0.1" % (NAME, self.port),
                               "https://%s:%d%s" % (NAME, self.port, path)] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head, _, body = body.partition(b"\r\n\r\n")
        return head.decode().lower(), body


def prepare():
    if NGINX is None:
        raise Skip("nginx is not installed")
    global MODELS, SERVER, PROXY, JOB
    root = temporary_folder()
    copy_model(root, "good")
    MODELS = ModelServer(root)
    SERVER = Server("--host", NAME, "--trusted-proxy", "127.0.0.1/32")
    PROXY = Proxy(SERVER)


def a_job_goes_through_the_proxy_by_http2_under_the_public_name():
    prepare()
    global JOB
    head, body = PROXY.curl("/jobs", "-d", json.dumps(quick_job(MODELS.model("good"))))
    assert head.startswith("http/2 202"), head
    assert "strict-transport-security" in head
    JOB = json.loads(body)["id"]
    assert re.search(r"location: /jobs/" + JOB, head), head
    equal(SERVER.wait(JOB)["state"], "succeeded")


def served():
    if NGINX is None:
        raise Skip("nginx is not installed")


def plain_http_is_sent_to_https():
    served()
    reply = subprocess.run(["curl", "-s", "-i", "http://127.0.0.1:%d/jobs?limit=1" % PROXY.plain, "-H", "Host: " + NAME], stdout=subprocess.PIPE).stdout.decode()
    assert reply.startswith("HTTP/1.1 308") and "Location: https://%s/jobs?limit=1" % NAME in reply, reply


def events_arrive_while_the_stream_is_open():
    served()
    job = SERVER.submit(quick_job(MODELS.model("good"), calibration={"samples": 64, "length": 512}, evaluation={"length": 512, "windows": 200}))
    context = ssl.create_default_context(cafile=PROXY.path("cert.pem"))
    raw = context.wrap_socket(socket.create_connection(("127.0.0.1", PROXY.port), timeout=60), server_hostname=NAME)
    raw.sendall(("GET /jobs/%s/events HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n" % (job, NAME)).encode())
    got, state = b"", None
    while b"id: " not in got:
        data = raw.recv(65536)
        assert data, got
        got += data
    state = SERVER.json("GET", "/jobs/" + job)["state"]
    assert state not in FINAL, "the first event came when all was over"
    SERVER.request("POST", "/jobs/%s/cancel" % job)
    while b"event: end" not in got:
        data = raw.recv(65536)
        assert data, got[-500:]
        got += data
    raw.close()


def a_range_of_an_artifact_is_the_same_bytes():
    served()
    entry = max(SERVER.json("GET", "/jobs/%s/artifacts" % JOB)["files"], key=lambda e: e["size"])
    path = "/jobs/%s/artifacts/%s" % (JOB, entry["path"])
    whole = SERVER.request("GET", path)[2]
    head, body = PROXY.curl(path, "-H", "Range: bytes=1000-250999")
    assert head.startswith("http/2 206") and "content-range: bytes 1000-250999/%d" % len(whole) in head, head
    equal(body, whole[1000:251000])
    head, body = PROXY.curl(path)
    equal(body, whole)
    tag = re.search(r"etag: (\S+)", head).group(1)
    head, body = PROXY.curl(path, "-H", "If-None-Match: " + tag)
    assert head.startswith("http/2 304"), head
    head, _ = PROXY.curl(path, "-H", "Range: bytes=%d-" % len(whole))
    assert head.startswith("http/2 416"), head


def a_page_behind_the_proxy_may_submit_and_another_site_may_not():
    served()
    for origin, want in (("https://%s:%d" % (NAME, PROXY.port), "http/2 422"), ("https://evil.example", "http/2 403")):
        head, body = PROXY.curl("/jobs", "-d", "{}", "-H", "Content-Type: application/json", "-H", "Origin: " + origin)
        assert head.startswith(want), (origin, head, body)


def the_client_is_who_nginx_saw_and_not_who_it_says_it_is():
    served()
    head, body = PROXY.curl("/jobs", "--interface", "127.0.0.9", "-H", "X-Forwarded-For: 203.0.113.7", "-d", json.dumps(quick_job(MODELS.model("good"))))
    assert head.startswith("http/2 202"), head
    job = json.loads(body)["id"]
    rows = SERVER.json("GET", "/audit?target=" + job)["data"]
    equal([row["address"] for row in rows][:1], ["127.0.0.9"], rows)


def measurements_stay_on_the_machine_and_bodies_have_a_limit():
    served()
    assert PROXY.curl("/metrics")[0].startswith("http/2 200")
    big = PROXY.path("big")
    with open(big, "wb") as out:
        out.truncate(1100000)
    assert PROXY.curl("/jobs", "--data-binary", "@" + big)[0].startswith("http/2 413")


def the_log_of_nginx_is_clean():
    served()
    lines = [line for line in open(PROXY.path("error.log")) if "too large body" not in line and "[warn]" not in line]
    equal(lines, [])
    PROXY.stop()
    equal(SERVER.stop(), 0)


run_claims([a_job_goes_through_the_proxy_by_http2_under_the_public_name, plain_http_is_sent_to_https, events_arrive_while_the_stream_is_open,
            a_range_of_an_artifact_is_the_same_bytes, a_page_behind_the_proxy_may_submit_and_another_site_may_not,
            the_client_is_who_nginx_saw_and_not_who_it_says_it_is, measurements_stay_on_the_machine_and_bodies_have_a_limit, the_log_of_nginx_is_clean])
