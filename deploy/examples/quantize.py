#!/usr/bin/env python3
"""Has a model quantized by quantd and brings the artifact home. Standard library only.

  quantize.py http://127.0.0.1:8080 job.json quantized/

Sends the request with an Idempotency-Key, so that it can be started again after any accident without making a second job; follows the events, over
breaks of the connection and restarts of the service; downloads every file of the manifest, each taken up where it broke off and checked by its
digest. QUANTD_KEY in the environment is the API key. Exit status: 0 everything is there; 1 the job did not succeed; 2 anything else.
"""
import argparse
import hashlib
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

PATIENCE = 120  # seconds without any answer before we give up


class Refused(Exception):
    """The service answered, and asking again would not help."""


def call(arguments, path, body=None, headers=None):
    headers = dict(headers or {})
    if os.environ.get("QUANTD_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["QUANTD_KEY"]
    if body is not None:
        headers["Content-Type"] = "application/json"
    return urllib.request.urlopen(urllib.request.Request(arguments.server.rstrip("/") + path, body, headers), timeout=60)


def insist(action, sign=lambda: None):
    """Does it again until it works: after breaks, and when the service says that it cannot now (Retry-After). Time counts from the last sign of life."""
    seen, end = None, time.monotonic() + PATIENCE
    while True:
        pause = 1.0
        try:
            return action()
        except urllib.error.HTTPError as answer:
            text = answer.read().decode(errors="replace")
            if answer.code not in (409, 429, 502, 503, 507) or "Retry-After" not in answer.headers:
                raise Refused("%d: %s" % (answer.code, text))
            pause, failed = float(answer.headers["Retry-After"]), text
        except (OSError, EOFError, ValueError, http.client.HTTPException) as broken:
            failed = broken
        if sign() != seen:
            seen, end = sign(), time.monotonic() + PATIENCE
        if time.monotonic() + pause > end:
            raise Refused("no answer for %d s: %s" % (PATIENCE, failed))
        time.sleep(pause)


def submit(arguments):
    body = open(arguments.request, "rb").read()
    key = hashlib.sha256(arguments.run.encode() + b"\n" + body).hexdigest()

    def action():
        with call(arguments, "/jobs", body, {"Idempotency-Key": key}) as answer:
            return json.load(answer)["id"]
    return insist(action)


def events(answer):
    """(id, type, data) of a stream."""
    number, kind, data = None, "message", []
    for line in answer:
        line = line.decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if line == "":
            if data:
                yield number, kind, json.loads("\n".join(data))
            number, kind, data = None, "message", []
        elif name == "id":
            number = int(value)
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)


def follow(arguments, job):
    """The state in which the job has ended."""
    last = [0]

    def action():
        with call(arguments, "/jobs/%s/events" % job, headers={"Accept": "text/event-stream", "Last-Event-ID": str(last[0])}) as answer:
            for number, kind, event in events(answer):
                last[0] = number or last[0]
                if kind == "end":
                    return event["state"]
                if kind in ("state", "warning", "problem"):
                    print(kind, json.dumps(event["data"]), flush=True)
        raise EOFError("the stream broke off")
    return insist(action, lambda: last[0])


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def download(arguments, job, entry):
    path = os.path.join(arguments.folder, *entry["path"].split("/"))
    part = path + ".part"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if os.path.exists(path) and digest_of(path) == entry["sha256"]:
        return

    def action():
        have = os.path.getsize(part) if os.path.exists(part) else 0
        if have < entry["size"]:
            headers = {"Range": "bytes=%d-" % have, "If-Range": '"%s"' % entry["sha256"]} if have else {}
            with call(arguments, "/jobs/%s/artifacts/%s" % (job, entry["path"]), headers=headers) as answer, \
                    open(part, "ab" if answer.status == 206 else "wb") as file:
                for block in iter(lambda: answer.read(1 << 20), b""):
                    file.write(block)
        elif entry["size"] == 0:
            open(part, "wb").close()
        if os.path.getsize(part) < entry["size"]:
            raise EOFError("%s broke off" % entry["path"])
        if digest_of(part) != entry["sha256"]:
            os.remove(part)
            raise ValueError("%s has another digest than the manifest says" % entry["path"])
        os.replace(part, path)
    insist(action)


def read(arguments, path):
    def action():
        with call(arguments, path) as answer:
            return json.load(answer)
    return insist(action)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("server")
    parser.add_argument("request", help="file with the job as JSON")
    parser.add_argument("folder", help="where the artifact goes")
    parser.add_argument("--run", default="", help="a word that tells this run from others with the same request")
    arguments = parser.parse_args()
    try:
        job = submit(arguments)
        print("job", job, flush=True)
        state = follow(arguments, job)
        record = read(arguments, "/jobs/" + job)
        if state != "succeeded":
            print("%s: %s" % (state, json.dumps(record["problem"])), file=sys.stderr)
            return 1
        for entry in read(arguments, "/jobs/%s/artifacts" % job)["files"]:
            download(arguments, job, entry)
        print(json.dumps(record["result"]))
        return 0
    except (Refused, OSError) as failed:
        print(failed, file=sys.stderr)
        return 2


sys.exit(main())
