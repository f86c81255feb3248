#!/usr/bin/env python3
"""fake_hub.py: a web server and model hub over local folders, with faults on request. Standard library only.

Usage: fake_hub.py --port 0 --root DIR [--tls PEM]      prints one line `listening on http://127.0.0.1:PORT`, then serves until killed.

  /files/NAME/FILE                         plain files below DIR: ETag, Last-Modified, Range, If-Range, conditional requests
  /api/models/ORG/NAME/revision/REV        the hub's protocol for folder DIR/NAME (any ORG; `old` redirects to `org`,
  /api/models/ORG/NAME/tree/COMMIT           as a renamed repository does); /hub/... is the same below a base path
  /ORG/NAME/resolve/COMMIT/FILE            large files: 302 to a second listener (127.0.0.2, another port), the "CDN"
  /_stats, /_reset                         counters as JSON; start from zero

Faults are path segments in front: /~KIND:ARG*TIMES@GLOB/~.../files/NAME/. A fault acts on files whose name matches GLOB
(default *.safetensors), on the first TIMES requests for each (default: always). The hub hands them on to its CDN links.
  drop:N          N bytes of the body asked for, then the connection is closed
  slow:N          N bytes a second           drip:N     N bytes a second in one piece, for ever behind a full Content-Length
  silent:S        no answer for S seconds
  length:D        Content-Length is wrong by D (the body is not)
  corrupt:N       byte N of the file is changed
  status:N:S      status N, with Retry-After S when given
  redirect:URL    302 there (percent-encoded twice)          loop       302 to itself
  older           the file as it was: other bytes, another ETag
  anyrange        206 although If-Range does not hold        norange    Range is ignored      badrange   206 from elsewhere
  noetag, weak, nodate                                       chunked    no Content-Length     endless:N  N MiB of zeros, chunked
  headers:N       N bytes of header                          token:T    the file (or repository) wants bearer token T
  expired         the CDN link is not valid any more (403)
  api-status:N    api-json (not JSON)    api-commit, api-etag, api-size:N, api-oid (wrong headers and lists)
  api-path:P      one more file of that path (percent-encoded twice)     api-next:URL   another host's next page
"""
import argparse
import email.utils
import fnmatch
import hashlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = 5  # entries of a tree page: small, so that every model has several
CHUNK = 1 << 16


class State:
    """What all threads share."""

    def __init__(self, root):
        self.root = os.path.realpath(root)
        self.lock = threading.Lock()
        self.digests = {}
        self.origin_server = self.cdn = self.tls = None
        self.generation = 0
        self.reset()

    def reset(self):
        with self.lock:
            self.generation += 1  # answers still under way from before are not counted any more
            self.hits, self.body_bytes, self.requests, self.tokens, self.log = {}, 0, 0, {}, []

    def hit(self, key):
        with self.lock:
            self.hits[key] = self.hits.get(key, 0) + 1
            return self.hits[key]

    def digest(self, path):
        """(sha256, git blob sha1) of a file, computed once."""
        info = os.stat(path)
        key = (path, info.st_mtime_ns, info.st_size)
        with self.lock:
            if key in self.digests:
                return self.digests[key]
        sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % info.st_size)
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                sha256.update(chunk)
                sha1.update(chunk)
        with self.lock:
            self.digests[key] = (sha256.hexdigest(), sha1.hexdigest())
            return self.digests[key]

    def stats(self):
        with self.lock:
            return {"body_bytes": self.body_bytes, "requests": self.requests, "tokens": self.tokens, "log": self.log,
                    "cdn": self.cdn, "tls": self.tls}


class Fault:
    def __init__(self, text):
        match = re.fullmatch(r"~([a-z-]+)(?::([^*@]*))?(?:\*(\d+))?(?:@(.+))?", text)
        if not match:
            raise ValueError("fault '%s'" % text)
        self.text, self.kind, self.argument = text, match.group(1), urllib.parse.unquote(match.group(2) or "")
        self.times = int(match.group(3)) if match.group(3) else None
        self.glob = match.group(4) or "*.safetensors"

    def number(self):
        return int(self.argument.split(":")[0])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fake-hub", ""
    wbufsize = 1 << 16
    state = None

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        path, _, self.query = self.path.partition("?")
        host = "%s:%d" % self.server.server_address[:2]
        with self.state.lock:
            self.state.requests += 1
            self.generation = self.state.generation
            self.state.log.append("%s %s %s" % (host, self.path, self.headers.get("Range", "-")))
            del self.state.log[:-500]
            token = self.headers.get("Authorization")
            if token is not None:
                self.state.tokens.setdefault(host, [])
                if token not in self.state.tokens[host]:
                    self.state.tokens[host].append(token)
        try:
            parts = [part for part in path.split("/") if part]
            self.prefix, self.faults = [], []
            while parts and parts[0].startswith("~"):
                self.prefix.append(parts[0])
                self.faults.append(Fault(urllib.parse.unquote(parts.pop(0))))
            self.route([urllib.parse.unquote(part) for part in parts])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def route(self, parts):
        if parts == ["_stats"]:
            return self.send_json(self.state.stats())
        if parts == ["_reset"]:
            self.state.reset()
            return self.send_json({})
        if len(parts) >= 2 and parts[0] == "files":
            return self.serve(os.path.join(*parts[1:]))
        if len(parts) == 3 and parts[0] == "cdn" and self.server is not self.state.origin_server:
            return self.serve(os.path.join(*parts[1:]))
        if parts and parts[0] == "hub":
            parts = parts[1:]
        if len(parts) == 6 and parts[:2] == ["api", "models"] and parts[4] in ("revision", "tree"):
            return self.api(parts[2], parts[3], parts[4], parts[5])
        if len(parts) == 5 and parts[2] == "resolve":
            return self.resolve(parts[0], parts[1], parts[3], parts[4])
        return self.send_text(404, "not found")

    # Faults.

    def fault(self, kind, name, counted=True):
        """The fault of this kind that acts on this request, or None."""
        for fault in self.faults:
            if fault.kind != kind or not fnmatch.fnmatch(name, fault.glob):
                continue
            if fault.times is None:
                return fault
            key = (self.path.partition("?")[0], fault.text)
            if (self.state.hit(key) if counted else self.state.hits.get(key, 0) + 1) <= fault.times:
                return fault
        return None

    def allowed(self, name):
        """False after an answer that refuses; tokens guard the hub, its API and plain files."""
        fault = self.fault("token", name)
        if fault is None:
            return True
        given = self.headers.get("Authorization")
        if given == "Bearer " + fault.argument:
            return True
        self.send_text(403 if given == "Bearer not-allowed" else 401, "gated")
        return False

    # Plain answers.

    def send_reply(self, status, headers, body=b"", extra=0):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if extra:
            for i in range(extra // 1000 + 1):
                self.send_header("X-Filler-%d" % i, "x" * 980)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def send_text(self, status, text, headers=()):
        body = ("<html>%s</html>" % text).encode()
        self.send_reply(status, [("Content-Type", "text/html"), ("Content-Length", str(len(body)))] + list(headers), body)

    def send_json(self, value, headers=()):
        body = json.dumps(value).encode()
        self.send_reply(200, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))] + list(headers), body)

    # The hub.

    def folder(self, org, name):
        for candidate in (os.path.join(self.state.root, org, name), os.path.join(self.state.root, name)):
            if org != "missing" and os.path.isdir(candidate) and os.path.basename(candidate) == name:
                return candidate
        return None

    def files(self, folder):
        """(path, full path, large) of every file below, sorted."""
        found = []
        for base, _, names in os.walk(folder):
            for name in names:
                full = os.path.join(base, name)
                found.append((os.path.relpath(full, folder), full,
                              name.endswith(".safetensors") or os.path.getsize(full) >= 1 << 20))
        return sorted(found)

    def commit(self, folder):
        text = "".join("%s %s\n" % (path, self.state.digest(full)[0]) for path, full, _ in self.files(folder))
        return hashlib.sha1(text.encode()).hexdigest()

    def base(self):
        segments = "".join("/" + segment for segment in self.prefix)
        return segments + ("/hub" if "/hub/" in self.path else "")

    def api(self, org, name, what, revision):
        status = self.fault("api-status", "*.safetensors")
        if status is not None:
            return self.send_text(status.number(), "no")
        if org == "old":
            return self.send_reply(307, [("Location", "%s/api/models/org/%s/%s/%s" % (self.base(), name, what, revision)),
                                     ("Content-Length", "0")])
        folder = self.folder(org, name)
        if folder is None:
            return self.send_text(401 if self.headers.get("Authorization") is None else 404, "no such repository")
        if not self.allowed("x.safetensors"):
            return None
        commit = self.commit(folder)
        if revision not in ("main", "v1.0", "refs/pr/1", commit):
            return self.send_text(404, "no such revision")
        if self.fault("api-json", "x.safetensors"):
            return self.send_reply(200, [("Content-Length", "9")], b"<not json")
        if what == "revision":
            return self.send_json({"id": "%s/%s" % (org, name), "sha": commit, "siblings": []})
        return self.tree(org, name, folder, commit)

    def entries(self, folder):
        result = []
        for path, full, large in self.files(folder):
            size, (sha256, sha1) = os.path.getsize(full), self.state.digest(full)
            if self.fault("api-size", path):
                size = self.fault("api-size", path).number()
            if self.fault("api-oid", path):
                sha1, sha256 = "0" * 40, "0" * 64
            entry = {"type": "file", "oid": sha1, "size": size, "path": path}
            if large:
                entry["oid"] = hashlib.sha1(sha256.encode()).hexdigest()
                entry["lfs"] = {"oid": sha256, "size": size, "pointerSize": 134}
            result.append(entry)
        for fault in self.faults:
            if fault.kind == "api-path":
                result.append({"type": "file", "oid": "0" * 40, "size": 1, "path": urllib.parse.unquote(fault.argument)})
        return result

    def tree(self, org, name, folder, commit):
        query = urllib.parse.parse_qs(self.query)
        start, entries, headers = int(query.get("cursor", ["0"])[0]), self.entries(folder), []
        if start + PAGE < len(entries):
            target = "http://%s%s/api/models/%s/%s/tree/%s?recursive=true&cursor=%d" % (
                self.headers.get("Host"), self.base(), org, name, commit, start + PAGE)
            fault = self.fault("api-next", "x.safetensors")
            if fault is not None:
                target = urllib.parse.unquote(fault.argument)
            headers.append(("Link", '<%s>; rel="next"' % target))
        return self.send_json(entries[start:start + PAGE], headers)

    def resolve(self, org, name, commit, file):
        folder = self.folder(org, name)
        if folder is None or commit != self.commit(folder) or not os.path.isfile(os.path.join(folder, file)):
            return self.send_text(404, "no such file")
        if not self.allowed(file):
            return None
        full = os.path.join(folder, file)
        sha256, sha1 = self.state.digest(full)
        large = file.endswith(".safetensors") or os.path.getsize(full) >= 1 << 20
        headers = [("X-Repo-Commit", "f" * 40 if self.fault("api-commit", file) else commit),
                   ("X-Linked-Size", str(os.path.getsize(full))),
                   ("X-Linked-Etag", '"%s"' % ("0" * 64 if self.fault("api-etag", file) else sha256 if large else sha1))]
        if not large:
            return self.serve(os.path.relpath(full, self.state.root), headers, '"%s"' % sha1)
        relative = os.path.relpath(full, self.state.root).split(os.sep)
        target = "%s%s/cdn/%s/%s?Signature=s3cret" % (self.state.cdn, "".join("/" + s for s in self.prefix),
                                                      urllib.parse.quote(relative[-2]), urllib.parse.quote(relative[-1]))
        return self.send_reply(302, [("Location", target), ("Content-Length", "0")] + headers)

    # Files.

    def serve(self, relative, headers=(), etag=None):
        full = os.path.realpath(os.path.join(self.state.root, relative))
        name = os.path.basename(full)
        if not full.startswith(self.state.root + os.sep) or not os.path.isfile(full):
            return self.send_text(404, "not found")
        on_origin = self.server is self.state.origin_server
        if on_origin and not self.allowed(name):
            return None
        if self.refuse(name, on_origin):
            return None
        info = os.stat(full)
        etag = etag or '"%x-%x"' % (info.st_mtime_ns, info.st_size)
        data = Content(full, info.st_size)
        if self.fault("older", name):
            etag, data.mask = '"older"', 0x55
        if self.fault("weak", name):
            etag = "W/" + etag
        corrupt = self.fault("corrupt", name)
        if corrupt is not None:
            data.changed = corrupt.number()
        date = email.utils.formatdate(info.st_mtime, usegmt=True)
        shown = [] if self.fault("noetag", name) else [("ETag", etag)]
        shown += [] if self.fault("nodate", name) else [("Last-Modified", date)]
        return self.answer(name, data, etag if shown[:1] == [("ETag", etag)] else None, date, shown + list(headers))

    def refuse(self, name, on_origin):
        """Faults that answer without the file."""
        status, redirect = self.fault("status", name), self.fault("redirect", name)
        silent = self.fault("silent", name)
        if silent is not None:
            time.sleep(silent.number())
        if status is not None:
            after = status.argument.split(":")[1:]
            self.send_text(status.number(), "fault", [("Retry-After", after[0])] if after else [])
        elif redirect is not None:
            self.send_reply(302, [("Location", urllib.parse.unquote(redirect.argument)), ("Content-Length", "0")])
        elif self.fault("loop", name):
            self.send_reply(302, [("Location", self.path), ("Content-Length", "0")])
        elif not on_origin and self.fault("expired", name):
            self.send_text(403, "signature expired")
        else:
            return False
        return True

    def answer(self, name, data, etag, date, headers):
        if_none, if_since = self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since")
        if (if_none is not None and if_none == etag) or (if_none is None and if_since == date):
            return self.send_reply(304, headers)
        start, stop, status = 0, data.size, 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if_range = self.headers.get("If-Range")
        holds = if_range is None or if_range == etag or if_range == date or self.fault("anyrange", name)
        if wanted and holds and not self.fault("norange", name):
            start, status = int(wanted.group(1)), 206
            stop = min(data.size, int(wanted.group(2) or data.size) + 1)
            if start >= data.size:
                return self.send_text(416, "range", [("Content-Range", "bytes */%d" % data.size)])
            said = start + 7 if self.fault("badrange", name) else start
            headers.append(("Content-Range", "bytes %d-%d/%d" % (said, stop - 1, data.size)))
        headers += [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes")]
        extra = self.fault("headers", name)
        return self.body(name, data, start, stop, status, headers, extra.number() if extra else 0)

    def body(self, name, data, start, stop, status, headers, extra):
        endless = self.fault("endless", name)
        chunked = endless is not None or self.fault("chunked", name) is not None
        length = stop - start
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        else:
            wrong = self.fault("length", name)
            headers.append(("Content-Length", str(length + (wrong.number() if wrong else 0))))
            self.close_connection = wrong is not None
        self.send_reply(status, headers, extra=extra)
        if self.command == "HEAD":
            return
        if endless is not None:
            return self.send_endless(endless.number())
        drop = self.fault("drop", name)
        end = stop if drop is None else min(stop, start + drop.number())
        self.send_range(name, data, start, end, chunked)
        if drop is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def send_endless(self, mebibytes):
        block = bytes(1 << 20)
        for _ in range(mebibytes):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def send_range(self, name, data, start, end, chunked):
        slow, drip = self.fault("slow", name), self.fault("drip", name)
        pause, piece = 0, CHUNK
        if slow is not None:
            piece, pause = max(1, slow.number() // 20), 0.05
        if drip is not None:
            piece, pause = drip.number(), 1
        while start < end:
            chunk = data.read(start, min(piece, end - start))
            self.count_body(len(chunk))  # before a client can have them and look at the count
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
            except OSError:
                self.count_body(-len(chunk))
                raise
            if pause:
                self.wfile.flush()
                time.sleep(pause)
            start += len(chunk)

    def count_body(self, length):
        with self.state.lock:
            if self.generation == self.state.generation:
                self.state.body_bytes += length


class Content:
    """A file's bytes, as faults change them."""

    def __init__(self, path, size):
        self.path, self.size, self.mask, self.changed = path, size, 0, None

    def read(self, start, length):
        with open(self.path, "rb") as file:
            file.seek(start)
            chunk = file.read(length)
        if self.mask:
            chunk = bytes(byte ^ self.mask for byte in chunk)
        if self.changed is not None and start <= self.changed < start + len(chunk):
            at = self.changed - start
            chunk = chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1:]
        return chunk


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description="a web server and model hub over local folders, with faults on request")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--root", required=True)
    parser.add_argument("--tls", metavar="PEM", help="certificate and key of a third listener, for https")
    arguments = parser.parse_args()
    state = Handler.state = State(arguments.root)
    origin = Server(("127.0.0.1", arguments.port), Handler)
    cdn = Server(("127.0.0.2", 0), Handler)
    state.origin_server = origin
    state.cdn = "http://127.0.0.2:%d" % cdn.server_address[1]
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.tls)
        secure = Server(("127.0.0.1", 0), Handler)
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        state.tls = "https://127.0.0.1:%d" % secure.server_address[1]
        threading.Thread(target=secure.serve_forever, daemon=True).start()
    threading.Thread(target=cdn.serve_forever, daemon=True).start()
    print("listening on http://127.0.0.1:%d" % origin.server_address[1], flush=True)
    try:
        origin.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
