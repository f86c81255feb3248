"""Other people's programs take what quantd sends: botocore signs as it does, the standard's own library believes its webhooks, moto stores its artifacts.

Runs in a virtual environment of the build folder (clients.py); what cannot be installed is skipped with the reason.
"""
import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llama import *  # noqa: E402,F403
import clients  # noqa: E402

if os.environ.get("QUANTD_TEST_CLIENTS"):
    import datetime

    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    import standardwebhooks

BUILD = os.path.dirname(os.path.abspath(QUANTD))
HTTP = os.path.join(SOURCE, "tests", "http")
DATE = "20260131T235959Z"


# ---- signatures ----

def some_request(chance):
    """(method, URL, headers, digest of the body) as an S3 client may need them."""
    key = "/".join("".join(chance.choice("abcXYZ019-._~ +=&$@!*'(),:;%ü") for _ in range(chance.randrange(1, 12))) for _ in range(chance.randrange(1, 4)))
    query = {name: "".join(chance.choice("abc/+=& %ü09") for _ in range(chance.randrange(0, 9)))
             for name in chance.sample(["prefix", "uploadId", "partNumber", "list-type", "continuation-token", "delimiter", "uploads", "Z", "a"], chance.randrange(0, 5))}
    host = chance.choice(["127.0.0.1:9000", "bucket.s3.eu-west-3.amazonaws.com", "minio"])
    scheme = "http" if host == "127.0.0.1:9000" else "https"
    url = "%s://%s/%s" % (scheme, host, urllib.parse.quote(key, safe="/-._~"))
    if query:
        url += "?" + "&".join("%s=%s" % (n, urllib.parse.quote(v, safe="-._~")) for n, v in query.items())
    payload = hashlib.sha256(chance.randbytes(10)).hexdigest()
    headers = {"x-amz-content-sha256": payload}
    for name, value in (("x-amz-security-token", "to/ken+=="), ("x-amz-checksum-sha256", "abc="), ("content-type", "application/octet-stream"),
                        ("x-amz-checksum-mode", "ENABLED")):
        if chance.random() < 0.4:
            headers[name] = value
    return chance.choice(["GET", "PUT", "POST", "HEAD", "DELETE"]), url, headers, payload


def by_botocore(method, url, headers, secret):
    """The same request's Authorization header, as boto3 and the AWS command line make it."""
    token = headers.get("x-amz-security-token")
    credentials = botocore.credentials.Credentials("AKIDEXAMPLE", secret, token)
    signer = botocore.auth.S3SigV4Auth(credentials, "s3", "eu-west-3")
    request = botocore.awsrequest.AWSRequest(method=method, url=url, headers={n: v for n, v in headers.items() if n != "x-amz-security-token"})
    request.context.update(timestamp=DATE, client_config=None)
    request.headers["X-Amz-Date"] = DATE
    if token:
        request.headers["X-Amz-Security-Token"] = token
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    names = signer.signed_headers(signer.headers_to_sign(request))
    return "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s" % (signer.scope(request), names, signer.signature(text, request))


def botocore_signs_as_the_service_does():
    chance = random.Random(1)
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    requests = [some_request(chance) for _ in range(300)]
    lines = ["\t".join([method, url, DATE, "eu-west-3", payload, "AKIDEXAMPLE", secret] + [w for pair in dict(headers, **{"x-amz-date": DATE}).items() for w in pair])
             for method, url, headers, payload in requests]
    got = said([os.path.join(BUILD, "tests", "interop", "sign_request")], input="".join(line + "\n" for line in lines).encode()).decode().splitlines()
    equal(len(got), len(requests))
    for line, (method, url, headers, _) in zip(got, requests):
        equal(line, by_botocore(method, url, headers, secret), "%s %s %s" % (method, url, headers))


# ---- webhooks ----

def the_standards_own_library_believes_a_webhook():
    root = temporary_folder()
    receiver = Process([sys.executable, os.path.join(HTTP, "receiver.py")], os.path.join(root, "receiver.log"))
    server = Server("--file-root", root)
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    job = server.submit({"model": "file://%s/nothing" % root, "algorithm": "rtn", "webhook": {"url": receiver.url + "/hook", "secret": secret}})
    end = time.monotonic() + 30 * SLOW
    log = []
    while not log and time.monotonic() < end:
        connection = http.client.HTTPConnection(receiver.host, receiver.port, timeout=30)
        connection.request("GET", "/_log")
        log = json.loads(connection.getresponse().read())
        time.sleep(0.1)
    found = standardwebhooks.Webhook(secret).verify(log[0]["body"], log[0]["headers"])
    equal((found["type"], found["data"]["id"]), ("job.failed", job))
    try:
        standardwebhooks.Webhook("whsec_" + base64.b64encode(bytes(32)).decode()).verify(log[0]["body"], log[0]["headers"])
        raise AssertionError("another secret is believed too")
    except standardwebhooks.WebhookVerificationError:
        pass
    server.kill()
    receiver.kill()


# ---- a storage ----

def moto_stores_an_artifact_and_gives_a_model():
    import botocore.config
    import botocore.session
    root, keeper = temporary_folder(), kept_port()
    port = keeper.getsockname()[1]
    copy_model(root, "novella-1m")
    moto = subprocess.Popen([os.path.join(clients.VENV, "bin", "moto_server"), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL,
                            stderr=open(os.path.join(root, "moto.log"), "wb"))
    atexit.register(moto.kill)
    environment = dict(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")
    os.environ.update(environment)
    client = botocore.session.get_session().create_client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:%d" % port,
                                                          config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 10}))
    end = time.monotonic() + 60 * SLOW
    while True:
        try:
            client.create_bucket(Bucket="artifacts")
            break
        except Exception:
            assert time.monotonic() < end, open(os.path.join(root, "moto.log")).read()[-1000:]
            time.sleep(0.2)
    folder = os.path.join(root, "novella-1m")
    for name in os.listdir(folder):
        client.put_object(Bucket="artifacts", Key="models/novella/" + name, Body=open(os.path.join(folder, name), "rb").read())
    server = Server("--file-root", root, "--s3-endpoint", "http://127.0.0.1:%d" % port, "--s3-allow", "artifacts")
    found = server.succeed({"model": "s3://artifacts/models/novella", "algorithm": "rtn", "effort": "reference", "calibration": {"samples": 2, "length": 128},
                            "evaluation": {"length": 128, "windows": 2, "baseline": None}, "publish": {"url": "s3://artifacts/runs/one"}})
    end = time.monotonic() + 60 * SLOW
    state = None
    while state != "delivered" and time.monotonic() < end:
        entry, = server.json("GET", "/jobs/%s/deliveries" % found["id"])["data"]
        state = entry["state"]
        time.sleep(0.1)
    equal(state, "delivered", entry)
    for file in server.json("GET", "/jobs/%s/artifacts" % found["id"])["files"]:
        body = client.get_object(Bucket="artifacts", Key="runs/one/" + file["path"])["Body"].read()
        equal(hashlib.sha256(body).hexdigest(), file["sha256"], file["path"])
    client.head_object(Bucket="artifacts", Key="runs/one/manifest.json")
    server.kill()
    moto.kill()


try:
    clients.enter()
except Skip as reason:
    print("1..0 # SKIP %s" % reason)
    sys.exit(0)
run_claims([botocore_signs_as_the_service_does, the_standards_own_library_believes_a_webhook, moto_stores_an_artifact_and_gives_a_model])
