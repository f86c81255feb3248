"""receiver.py: a process that takes webhooks and files: it answers as its URL says, and tells what came.

POST /NAME?plan=503:1,204~3 answers the first request of NAME by 503 with `Retry-After: 1`, all later ones by 204 after 3 seconds. PUT /files/NAME keeps a
file (a plan applies to it too). GET /_log is what came, in order; GET /_files what is kept. Standard library only.
"""
import argparse
import hashlib
import http.server
import json
import threading
import time
import urllib.parse

LOCK = threading.Lock()
LOG, FILES, TURNS = [], {}, {}


def answer_of(name, query):
    """(status, Retry-After or None, seconds to wait) of the next request of NAME."""
    plan = urllib.parse.parse_qs(query).get("plan", ["204"])[0].split(",")
    with LOCK:
        turn = TURNS.get(name, 0)
        TURNS[name] = turn + 1
    word, _, pause = plan[min(turn, len(plan) - 1)].partition("~")
    status, _, after = word.partition(":")
    return int(status), after or None, float(pause or 0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with LOCK:
            found = {"/_log": LOG, "/_files": FILES}.get(self.path)
            text = json.dumps(found).encode()
        self.reply(200 if found is not None else 404, text)

    def take(self):
        target = urllib.parse.urlsplit(self.path)
        status, after, pause = answer_of(target.path, target.query)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with LOCK:
            LOG.append({"method": self.command, "path": target.path, "query": target.query, "body": body.decode("latin-1") if len(body) < 65536 else "",
                        "headers": {k.lower(): v for k, v in self.headers.items()}, "status": status, "time": time.time()})
            if self.command == "PUT" and status < 300:
                FILES[target.path] = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        time.sleep(pause)
        headers = [("Retry-After", after)] if after else []
        if 300 <= status < 400:
            headers.append(("Location", "/elsewhere"))
        self.reply(status, b"", headers)

    do_POST = do_PUT = take


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients are killed on purpose


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    server = Server(("127.0.0.1", parser.parse_args().port), Handler)
    print("listening on http://127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()


main()
