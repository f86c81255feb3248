"""Reading: conditional requests and ranges, filters and pages, jobs side by side, the artifact as one tar file."""
import io
import os
import sys
import tarfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "good")
copy_model(ROOT, "other")
URL = "file://" + os.path.join(ROOT, "good")
SERVER = Server("--file-root", ROOT)
FOUR = SERVER.submit(quick_job(URL, name="Four bits", tags={"team": "a", "stage": "x"}, format=["compressed-tensors", "safetensors:bf16"]))
THREE = SERVER.submit(quick_job("file://" + os.path.join(ROOT, "other"), name="three", bits=3, tags={"team": "a", "stage": "y,z"}))
FAILED = SERVER.submit(quick_job("file://" + os.path.join(ROOT, "none"), name="none", tags={"team": "b"}))
for job in (FOUR, THREE, FAILED):
    SERVER.wait(job)


def get(path, want=200, method="GET", **headers):
    status, got, data = SERVER.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    equal(status, want, "%s %s: %r" % (method, path, data[:300]))
    return got, data


def resources():
    document = json.loads(get("/openapi.json")[1])
    for path, item in document["paths"].items():
        if "get" in item and path not in ("/metrics", "/readyz", "/livez") and not path.startswith(("/keys", "/audit", "/login", "/session")):
            yield path.replace("{id}", FOUR).replace("{path}", "manifest.json") + ("?jobs=%s,%s" % (FOUR, THREE) if path == "/compare" else "")


def what_a_client_has_already_is_not_sent_again():
    seen = 0
    for path in resources():
        if path.endswith("/events"):
            continue
        headers, data = get(path)
        tag = headers["etag"]
        assert tag.startswith('"') and tag.endswith('"'), (path, tag)
        for held in (tag, '"x", W/' + tag, "*"):
            got, nothing = get(path, want=304, If_None_Match=held)
            equal((nothing, got["etag"]), (b"", tag), path)
        equal(get(path, If_None_Match='"x"')[1], data, path)
        seen += 1
    assert seen > 15, seen


def head_says_what_get_says_without_the_body():
    for path in list(resources()) + ["/livez", "/readyz", "/jobs/" + "0" * 26, "/nothing"]:
        status, got, data = SERVER.request("GET", path)
        one, headers, nothing = SERVER.request("HEAD", path)
        equal((one, nothing), (status, b""), path)
        for name in ("content-type", "etag", "content-length", "accept-ranges"):
            if name != "content-length" or status == 200:
                equal(headers.get(name), got.get(name), "%s of %s" % (name, path))


def a_page_of_jobs_has_another_tag_when_a_job_has_changed():
    tag = get("/jobs")[0]["etag"]
    get("/jobs", want=304, If_None_Match=tag)
    SERVER.json("PATCH", "/jobs/" + FAILED, {"priority": 51})
    get("/jobs", If_None_Match=tag)
    SERVER.json("PATCH", "/jobs/" + FAILED, {"priority": 50})


def the_log_is_read_on_from_where_a_client_was():
    path = "/jobs/%s/log" % FOUR
    headers, whole = get(path)
    tag = headers["etag"]
    equal(get(path, want=206, Range="bytes=10-19")[1], whole[10:20])
    equal(get(path, want=206, Range="bytes=10-", If_Range=tag)[1], whole[10:])
    equal(get(path, Range="bytes=10-", If_Range='"other"')[1], whole, "another log: all of it")
    get(path, want=416, Range="bytes=%d-" % len(whole))
    with open(os.path.join(SERVER.state, "jobs", FOUR, "log.txt"), "ab") as log:
        log.write(b"one line more\n")
    equal(get(path, want=206, Range="bytes=%d-" % len(whole))[1], b"one line more\n")
    assert get(path, If_None_Match=tag)[0]["etag"] != tag


def found(query):
    return [j["id"] for j in SERVER.json("GET", "/jobs?" + query)["data"]]


def filters_pick_by_state_tag_name_words_and_time():
    every = [FAILED, THREE, FOUR]
    equal(found(""), every)
    equal(found("state=succeeded"), [THREE, FOUR])
    equal(found("state=failed,cancelled"), [FAILED])
    equal(found("state=failed,succeeded"), every)
    equal(found("tag=team"), every)
    equal(found("tag=team:a"), [THREE, FOUR])
    equal(found("tag=team:a&tag=stage:x"), [FOUR])
    equal(found("tag=stage:y,z"), [THREE])
    equal(found("tag=team:a&tag=team:b"), [])
    equal(found("name=BITS"), [FOUR])
    equal(found("name=%25"), [], "nothing in a part is a wildcard")
    equal(found("q=/other"), [THREE], "model")
    equal(found("q=y%2Cz"), [THREE], "tag")
    equal(found("q=" + FOUR[:14].upper()), [j for j in every if j.startswith(FOUR[:14])], "beginning of the id")
    times = {j["id"]: j["created_at"] for j in SERVER.json("GET", "/jobs")["data"]}
    equal(found("created_after=" + times[THREE]), [FAILED, THREE], "from")
    equal(found("created_before=" + times[THREE]), [FOUR], "to")
    equal(found("created_after=1999-12-31&created_before=2100-01-01T00:00:00%2B02:00"), every)
    equal(found("state=succeeded&tag=team:a&name=three&q=other&created_after=2020-01-01"), [THREE])


def wrong_filters_are_named():
    for query, part in (("state=done", "'done' is not in queued"), ("state=failed,", "''"), ("tag=:v", "has no key"), ("tag=", "has no key"),
                        ("created_after=now", "created_after: 'now'"), ("created_before=2026-02-30", "is not a time"),
                        ("created_before=2026-02-03T24:00:00Z", "is not a time"), ("limit=0", "limit"), ("cursor=x", "cursor"),
                        ("name=a&name=b", "given twice"), ("color=red", "allowed here: state, tag, name, q")):
        data = json.loads(get("/jobs?" + query, want=400)[1])
        assert part in data["detail"], (query, data)


def pages_stay_put_while_jobs_come():
    first = SERVER.json("GET", "/jobs?limit=2")
    equal(([j["id"] for j in first["data"]], first["has_more"], first["next_cursor"]), ([FAILED, THREE], True, THREE))
    late = SERVER.submit(quick_job(URL, name="late"))
    second = SERVER.json("GET", "/jobs?limit=2&cursor=" + first["next_cursor"])
    equal(([j["id"] for j in second["data"]], second["has_more"], second["next_cursor"]), ([FOUR], False, None))
    SERVER.wait(late)
    equal(SERVER.request("DELETE", "/jobs/" + late)[0], 204)


def jobs_side_by_side_show_what_differs_and_what_came_of_it():
    got = SERVER.json("GET", "/compare?jobs=%s,%s,%s" % (FOUR, THREE, FAILED))
    equal([j["name"] for j in got["jobs"]], ["Four bits", "three", "none"])
    rows = {r["pointer"]: r["values"] for r in got["differences"]}
    equal(rows["/bits"], [4, 3, 4])
    equal(rows["/tags/stage"], ["x", "y,z", None])
    equal(rows["/format"], [["compressed-tensors", "safetensors:bf16"], "compressed-tensors", "compressed-tensors"])
    assert "/group_size" not in rows and "/algorithm" not in rows, rows
    results = {r["name"]: r["values"] for r in got["results"]}
    for index, job in enumerate((FOUR, THREE)):
        result = SERVER.json("GET", "/jobs/" + job)["result"]
        equal([results[n][index] for n in ("perplexity", "kl", "bits_per_weight", "size", "relative_error", "certified_layers")],
              [result["perplexity"]["quantized"], result["kl"]["quantized"]["mean"], result["bits_per_weight"], result["size"],
               result["relative_error"], result["certified_layers"]])
    equal(results["perplexity"][2], None)
    assert results["perplexity"][0] < results["perplexity"][1], "four bits are better than three"
    equal(SERVER.json("GET", "/compare?jobs=%s,%s" % (THREE, FOUR))["jobs"][0]["id"], THREE)
    for query, status in (("", 400), ("?jobs=" + FOUR, 400), ("?jobs=%s,%s" % (FOUR, FOUR), 400), ("?jobs=%s,x" % FOUR, 400),
                          ("?jobs=" + ",".join(["%026d" % i for i in range(9)]), 404), ("?jobs=%s,%s" % (FOUR, "0" * 26), 404)):
        get("/compare" + query, want=status)


def tar(job=None):
    return "/jobs/%s/artifacts.tar" % (job or FOUR)


def the_archive_holds_every_file_of_the_artifact():
    headers, data = get(tar())
    equal(headers["content-type"], "application/x-tar")
    equal(int(headers["content-length"]), len(data))
    equal(len(data) % 512, 0)
    files = SERVER.artifact(FOUR)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        equal([m.name for m in members], sorted(m.name for m in members), "in the order of their names")
        held = {m.name: archive.extractfile(m).read() for m in members}
        finished = SERVER.json("GET", "/jobs/" + FOUR)["finished_at"]
        for m in members:
            equal((m.uid, m.gid, m.uname, m.mode, m.isreg()), (0, 0, "", 0o644, True))
            assert finished.startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(m.mtime))), (finished, m.mtime)
    for name, content in files.items():
        equal(held[name], content, name)
    assert set(held) - set(files) <= {"manifest.json", "provenance.json", "provenance.dsse.json"}, set(held) - set(files)
    folder = temporary_folder()
    done = subprocess.run(["tar", "-xf", "-", "-C", folder], input=data, capture_output=True)
    equal((done.returncode, done.stderr), (0, b""), "tar itself")
    equal(open(os.path.join(folder, "manifest.json"), "rb").read(), held["manifest.json"])


def the_archive_is_the_same_each_time_and_can_be_read_on():
    headers, data = get(tar())
    tag = headers["etag"]
    equal(get(tar())[1], data)
    for first, last in ((0, 0), (100, 611), (511, 70000), (len(data) - 1500, len(data) - 1), (len(data) // 2, len(data) // 2 + 200000)):
        got, part = get(tar(), want=206, Range="bytes=%d-%d" % (first, last), If_Range=tag)
        equal(part, data[first:last + 1], "%d-%d" % (first, last))
        equal(got["content-range"], "bytes %d-%d/%d" % (first, min(last, len(data) - 1), len(data)))
    equal(get(tar(), Range="bytes=5-", If_Range='"old"')[1], data)
    get(tar(), want=416, Range="bytes=%d-" % len(data))
    get(tar(FAILED), want=404)
    assert get(tar(THREE))[0]["etag"] != tag


def an_archive_whose_file_was_exchanged_breaks_off():
    folder = os.path.join(SERVER.state, "artifacts", THREE)
    name = sorted(os.listdir(folder))[-1]
    os.rename(os.path.join(folder, name), os.path.join(folder, name + ".away"))
    os.symlink("/etc/passwd", os.path.join(folder, name))
    try:
        get(tar(THREE))
    except (http.client.IncompleteRead, ConnectionError):
        pass
    else:
        raise AssertionError("a file from elsewhere was sent")
    finally:
        os.remove(os.path.join(folder, name))
        os.rename(os.path.join(folder, name + ".away"), os.path.join(folder, name))
    get(tar(THREE))


run_claims([what_a_client_has_already_is_not_sent_again, head_says_what_get_says_without_the_body,
            a_page_of_jobs_has_another_tag_when_a_job_has_changed, the_log_is_read_on_from_where_a_client_was,
            filters_pick_by_state_tag_name_words_and_time, wrong_filters_are_named, pages_stay_put_while_jobs_come,
            jobs_side_by_side_show_what_differs_and_what_came_of_it, the_archive_holds_every_file_of_the_artifact,
            the_archive_is_the_same_each_time_and_can_be_read_on, an_archive_whose_file_was_exchanged_breaks_off])
