"""s3_server.py: a small S3 that believes nobody: each request's Signature Version 4 is computed anew from what came over the wire, the body's digest and
checksum are compared, listings come in pages. It has faults to order. Written from Amazon's documentation, apart from quantd's code. Standard library only.

POST /_fault {"match": regex on "METHOD /path?query", "kind": "503|cut|corrupt|lose|slow", "times": n}; GET /_state; PUT /_put/BUCKET/KEY without a signature.
"""
import argparse
import base64
import datetime
import hashlib
import hmac
import http.server
import json
import re
import socket
import threading
import time
import urllib.parse
import xml.etree.ElementTree as xml
from xml.sax.saxutils import escape

LOCK = threading.Lock()
OBJECTS, UPLOADS, FAULTS, LOG, READ = {}, {}, [], [], [0]
OPTIONS = None
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def encode(text):
    return urllib.parse.quote(text, safe="-._~")


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


def expected_signature(method, raw_path, raw_query, headers, signed, scope, date, payload):
    pairs = sorted((encode(urllib.parse.unquote(n)), encode(urllib.parse.unquote(v)))
                   for n, _, v in (part.partition("=") for part in raw_query.split("&") if part))
    path = urllib.parse.quote(urllib.parse.unquote(raw_path), safe="/-._~")
    lines = [method, path, "&".join("%s=%s" % pair for pair in pairs)]
    lines += ["%s:%s" % (name, re.sub(" +", " ", headers[name].strip())) for name in signed]
    canonical = "\n".join(lines + ["", ";".join(signed), payload])
    text = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + OPTIONS.secret).encode()
    for part in scope:
        key = mac(key, part)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def etag_of(body):
    return '"%s"' % hashlib.md5(body).hexdigest()


def checksum(body):
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    # ---- what came ----

    def check_signature(self, body):
        headers = {k.lower(): v for k, v in self.headers.items()}
        found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
                             headers.get("authorization", ""))
        if not found:
            raise Refused(403, "AccessDenied")
        key, day, region, names, signature = found.groups()
        signed = names.split(";")
        payload, date = headers.get("x-amz-content-sha256", ""), headers.get("x-amz-date", "")
        if key != OPTIONS.key:
            raise Refused(403, "InvalidAccessKeyId")
        if signed != sorted(signed) or "host" not in signed or any(name.startswith("x-amz-") and name not in signed for name in headers):
            raise Refused(403, "SignatureDoesNotMatch")
        if OPTIONS.token and headers.get("x-amz-security-token") != OPTIONS.token:
            raise Refused(403, "InvalidToken")
        sent = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs((datetime.datetime.now(datetime.timezone.utc) - sent).total_seconds()) > 900 or not date.startswith(day):
            raise Refused(403, "RequestTimeTooSkewed")
        raw_path, _, raw_query = self.path.partition("?")
        scope = [day, region, "s3", "aws4_request"]
        if region != OPTIONS.region or expected_signature(self.command, raw_path, raw_query, headers, signed, scope, date, payload) != signature:
            raise Refused(403, "SignatureDoesNotMatch")
        if hashlib.sha256(body).hexdigest() != payload:
            raise Refused(400, "XAmzContentSHA256Mismatch")
        said = headers.get("x-amz-checksum-sha256")
        if said is not None and said != checksum(body):
            raise Refused(400, "BadDigest")

    # ---- answers ----

    def reply(self, status, body=b"", headers=(), length=None):
        self.status = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_xml(self, root, inner, status=200):
        self.reply(status, ('<?xml version="1.0" encoding="UTF-8"?>\n<%s xmlns="%s">%s</%s>' % (root, NAMESPACE, inner, root)).encode(),
                   [("Content-Type", "application/xml")])

    def cut(self):
        self.status = 0
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.shutdown(socket.SHUT_RDWR)

    # ---- operations ----

    def list(self, bucket, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = base64.b64decode(query["continuation-token"]).decode() if "continuation-token" in query else ""
        keys = sorted(key for (b, key) in OBJECTS if b == bucket and key.startswith(prefix) and (not delimiter or delimiter not in key[len(prefix):]))
        keys = [key for key in keys if key > after]
        page, more = keys[:OPTIONS.page], len(keys) > OPTIONS.page
        inner = "<Name>%s</Name><Prefix>%s</Prefix><KeyCount>%d</KeyCount><IsTruncated>%s</IsTruncated>" % (
            bucket, escape(encode(prefix)), len(page), "true" if more else "false")
        for key in page:
            body, etag, _ = OBJECTS[(bucket, key)]
            inner += "<Contents><Key>%s</Key><ETag>%s</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>" % (
                escape(encode(key)), escape(etag, {'"': "&quot;"}), len(body))
        if more:
            inner += "<NextContinuationToken>%s</NextContinuationToken>" % base64.b64encode(page[-1].encode()).decode()
        self.reply_xml("ListBucketResult", inner)

    def get(self, bucket, key, fault):
        if (bucket, key) not in OBJECTS:
            raise Refused(404, "NoSuchKey")
        body, etag, digest = OBJECTS[(bucket, key)]
        if self.headers.get("If-Match", etag) != etag:
            raise Refused(412, "PreconditionFailed")
        headers, status, part = [("ETag", etag), ("Accept-Ranges", "bytes")], 200, body
        if self.headers.get("x-amz-checksum-mode") == "ENABLED":
            headers.append(("x-amz-checksum-sha256", digest))
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found and int(found.group(1)) < len(body):
            start = int(found.group(1))
            end = min(int(found.group(2) or len(body)), len(body) - 1)
            status, part = 206, body[start:end + 1]
            headers.append(("Content-Range", "bytes %d-%d/%d" % (start, end, len(body))))
        if fault == "cut":
            self.reply(status, part[:len(part) // 2], headers, len(part))
            self.wfile.flush()
            return self.cut()
        READ[0] += len(part) if self.command == "GET" else 0
        self.reply(status, part, headers, len(part))

    def put(self, bucket, key, query, body, fault):
        if fault == "corrupt":
            body = b"?" + body[1:]
        if "uploadId" in query:
            if query["uploadId"] not in UPLOADS:
                raise Refused(404, "NoSuchUpload")
            UPLOADS[query["uploadId"]]["parts"][int(query["partNumber"])] = body
        elif fault != "lose":
            OBJECTS[(bucket, key)] = (body, etag_of(body), checksum(body))
        self.reply(200, b"", [("ETag", etag_of(body)), ("x-amz-checksum-sha256", checksum(body))])

    def post(self, bucket, key, query, body):
        if "uploads" in query:
            name = "upload/%d+%s" % (len(LOG), encode(key))
            UPLOADS[name] = {"key": (bucket, key), "parts": {}}
            return self.reply_xml("InitiateMultipartUploadResult", "<Bucket>%s</Bucket><UploadId>%s</UploadId>" % (bucket, escape(name)))
        upload = UPLOADS.get(query.get("uploadId"))
        if upload is None:
            raise Refused(404, "NoSuchUpload")
        wanted = [(int(part.findtext("{%s}PartNumber" % NAMESPACE)), part.findtext("{%s}ETag" % NAMESPACE), part.findtext("{%s}ChecksumSHA256" % NAMESPACE))
                  for part in xml.fromstring(body)]
        have = [(number, etag_of(part), checksum(part)) for number, part in sorted(upload["parts"].items())]
        if wanted != have:
            raise Refused(400, "InvalidPart")
        parts = [part for _, part in sorted(upload["parts"].items())]
        if any(len(part) < 5 << 20 for part in parts[:-1]):
            raise Refused(400, "EntityTooSmall")
        of_parts = b"".join(hashlib.sha256(part).digest() for part in parts)
        md5s = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        OBJECTS[upload["key"]] = (b"".join(parts), '"%s-%d"' % (md5s, len(parts)), "%s-%d" % (checksum(of_parts), len(parts)))
        del UPLOADS[query["uploadId"]]
        self.reply_xml("CompleteMultipartUploadResult", "<Bucket>%s</Bucket>" % bucket)

    def delete(self, query):
        if UPLOADS.pop(query.get("uploadId"), None) is None:
            raise Refused(404, "NoSuchUpload")
        self.reply(204)

    def operate(self, body):
        with LOCK:
            fault = next((f for f in FAULTS if f["times"] > 0 and re.search(f["match"], self.command + " " + self.path)), None)
            kind = None if fault is None else fault["kind"]
            if fault is not None:
                fault["times"] -= 1
        if kind == "slow":
            time.sleep(fault.get("seconds", 5))
        if kind == "503":
            raise Refused(503, "SlowDown")
        if kind == "cut" and self.command != "GET":
            return self.cut()
        self.check_signature(body)
        target = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(target.path[1:]).partition("/")
        query = {n: v for n, v in urllib.parse.parse_qsl(target.query, keep_blank_values=True)}
        if bucket not in OPTIONS.bucket:
            raise Refused(404, "NoSuchBucket")
        with LOCK:
            if self.command == "GET" and "list-type" in query:
                return self.list(bucket, query)
            if self.command in ("GET", "HEAD"):
                return self.get(bucket, key, kind)
            if self.command == "PUT":
                return self.put(bucket, key, query, body, kind)
            if self.command == "POST":
                return self.post(bucket, key, query, body)
            return self.delete(query)

    # ---- control ----

    def control(self, body):
        with LOCK:
            if self.path == "/_fault":
                FAULTS.append(json.loads(body))
            elif self.path.startswith("/_put/"):
                bucket, _, key = urllib.parse.unquote(self.path[6:]).partition("/")
                OBJECTS[(bucket, key)] = (body, etag_of(body), checksum(body))
            elif self.path == "/_state":
                return self.reply(200, json.dumps({
                    "objects": {"%s/%s" % name: {"size": len(o[0]), "sha256": hashlib.sha256(o[0]).hexdigest()} for name, o in OBJECTS.items()},
                    "order": ["%s/%s" % name for name in OBJECTS], "uploads": list(UPLOADS), "log": LOG, "read": READ[0]}).encode())
        self.reply(200)

    def handle_one(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            return self.cut()
        if self.path.startswith("/_"):
            return self.control(body)
        self.status = 0
        try:
            self.operate(body)
        except Refused as why:
            headers = [("Retry-After", "1")] if why.status == 503 and OPTIONS.retry_after else []
            self.reply(why.status, ("<Error><Code>%s</Code></Error>" % why.code).encode(), headers)
        with LOCK:
            LOG.append("%s %s %d" % (self.command, self.path, self.status))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients are killed on purpose


def main():
    global OPTIONS
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="AKIDEXAMPLE")
    parser.add_argument("--secret", default="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    parser.add_argument("--token", default="")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--bucket", action="append", default=[])
    parser.add_argument("--page", type=int, default=3)
    parser.add_argument("--retry-after", action="store_true")
    OPTIONS = parser.parse_args()
    server = Server(("127.0.0.1", OPTIONS.port), Handler)
    print("listening on http://127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()


main()
