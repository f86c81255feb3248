"""The main job as a client sees it: submit, follow, download, read again, download nothing twice."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
shard_model(copy_model(ROOT, "sharded"))
MODELS = ModelServer(ROOT)
SERVER = Server("--file-root", ROOT, "--hub-url", MODELS.url + "/hub")
STATE = {}


def a_job_over_http_succeeds_with_perplexities_and_certificates():
    job = SERVER.succeed(quick_job(MODELS.model("novella-1m"), name="first", tags={"team": "a"}))
    STATE["job"] = job
    result = job["result"]
    for key in ("source", "quantized", "rtn"):
        assert 5 < result["perplexity"][key] < 500, result["perplexity"]
    assert result["perplexity"]["source"] < result["perplexity"]["quantized"] * 1.001
    assert 4 <= result["bits_per_weight"] < 16.5, result
    equal(result["degraded_layers"], 0)
    equal(result["certified_layers"], 42, "6 blocks of 7 layers")
    for key in ("size", "relative_error", "peak_memory", "seconds", "pace"):
        assert key in result, key


def the_forecast_stands_beside_its_outcome():
    job = STATE["job"]
    result, said = job["result"], job["forecast"]
    equal(result["forecast"], {"seconds": said["seconds"]["total"], "low": said["seconds"]["low"], "high": said["seconds"]["high"],
                               "peak_memory": said["peak_memory"]})
    equal(result["outcome"]["peak_memory"], result["peak_memory"])
    phases = sum(seconds for phase, seconds in result["seconds"].items() if phase != "downloading")
    assert abs(result["outcome"]["seconds"] - phases) < 1e-6, (result["outcome"], result["seconds"])
    text = SERVER.request("GET", "/metrics")[2].decode()
    found = float(re.search(r"^quantd_last_run_over_forecast (\S+)$", text, re.M).group(1))
    assert abs(found - result["outcome"]["seconds"] / result["forecast"]["seconds"]) < 1e-3 * found, (found, result)


def the_job_record_has_every_member_of_the_contract():
    job = STATE["job"]
    for key in ("id", "name", "tags", "state", "created_at", "started_at", "finished_at", "request", "resolved", "progress",
                "result", "problem", "links"):
        assert key in job, key
    equal(job["name"], "first")
    equal(job["tags"], {"team": "a"})
    equal(job["problem"], None)
    assert job["created_at"].endswith("Z") and len(job["created_at"]) == 24, job["created_at"]
    resolved = job["resolved"]
    equal(resolved["order"], "norm-descending")
    assert "sha256" in json.dumps(resolved), "model digests are resolved"


def every_layer_has_a_certificate_that_holds():
    layers = SERVER.json("GET", "/jobs/%s/layers" % STATE["job"]["id"])["data"]
    equal(len(layers), 42)
    for layer in layers:
        c = layer["certificate"]
        assert c["identity_resid"] < 1e-9, (layer["name"], c["identity_resid"])
        assert c["energy_sq"] <= c["overload_bound_sq"] * (1 + 1e-9), layer["name"]
        if c["clip_count"] == 0:
            assert c["ratio"] <= 1, (layer["name"], c["ratio"])
        assert c["status"] in ("CERTIFIED", "CERTIFIED_OVERLOAD"), c["status"]
    document = SERVER.json("GET", "/jobs/%s/certificate" % STATE["job"]["id"])
    equal(len(document["layers"]), 42)


def a_job_that_says_little_is_made_by_the_balanced_preset():
    job = SERVER.submit({"model": MODELS.model("novella-1m"), "calibration": {"samples": 8, "length": 64}, "evaluation": {"length": 64, "windows": 1}})
    resolved = SERVER.wait(job)["resolved"]
    equal((resolved["algorithm"], resolved["effort"], resolved["regularization"], resolved["scale"]["rule"]),
          ("qronos", "balanced", "auto", "hessian-mse"))
    equal(resolved["mismatch"], {"scope": "model", "shrink": "auto", "start": "projected", "residual": True})
    equal(resolved["calibration"]["first_position"], "left-out")
    for layer in SERVER.json("GET", "/jobs/%s/layers" % job)["data"]:
        c = layer["certificate"]
        equal("residual_sq" in c, layer["name"].endswith(("o_proj", "down_proj")), layer["name"])
        equal(c["m"], 8 * 63)


def the_artifact_is_a_compressed_tensors_folder_with_side_files_unchanged():
    files = SERVER.artifact(STATE["job"]["id"])
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        equal(files[name], open(os.path.join(MODEL, name), "rb").read(), name)
    config = json.loads(files["config.json"])["quantization_config"]
    equal((config["quant_method"], config["format"], config["quantization_status"]),
          ("compressed-tensors", "pack-quantized", "compressed"))
    weights = config["config_groups"]["group_0"]["weights"]
    equal((weights["num_bits"], weights["symmetric"], weights["group_size"]), (4, True, 128))
    tensors = read_safetensors(files["model.safetensors"])
    dtype, shape, _ = tensors["model.layers.0.self_attn.q_proj.weight_packed"]
    equal((dtype, shape), ("I32", [128, 16]))
    assert "model.layers.0.self_attn.q_proj.weight" not in tensors
    source = read_safetensors(open(os.path.join(MODEL, "model.safetensors"), "rb").read())
    equal(tensors["model.embed_tokens.weight"], source["model.embed_tokens.weight"], "embedding bytes")


def the_second_job_on_a_model_downloads_nothing():
    before = MODELS.stats()
    job = SERVER.succeed(quick_job(MODELS.model("novella-1m")))
    after = MODELS.stats()
    equal(after["body_bytes"], before["body_bytes"], "bytes of bodies served")
    equal(SERVER.artifact(job["id"])["model.safetensors"], SERVER.artifact(STATE["job"]["id"])["model.safetensors"],
          "same job, same bytes")


def a_file_url_below_the_root_gives_the_same_bytes():
    job = SERVER.succeed(quick_job("file://" + os.path.join(ROOT, "novella-1m")))
    equal(SERVER.artifact(job["id"])["model.safetensors"], SERVER.artifact(STATE["job"]["id"])["model.safetensors"])


def layer_weights(tensors):
    return {name: tensor for name, tensor in tensors.items() if "_proj." in name}


def a_hub_name_and_a_hub_page_are_pinned_to_a_commit_and_give_the_same_bytes():
    want = SERVER.artifact(STATE["job"]["id"])["model.safetensors"]
    for url in ("hf://org/novella-1m", MODELS.url + "/hub/org/novella-1m"):
        job = SERVER.succeed(quick_job(url))
        equal(SERVER.artifact(job["id"])["model.safetensors"], want, url)
        assert re.fullmatch("[0-9a-f]{40}", job["resolved"]["model"]["commit"]), job["resolved"]["model"]


def a_sharded_model_gives_the_same_layers_in_shards():
    files = SERVER.artifact(SERVER.succeed(quick_job(MODELS.model("sharded")))["id"])
    weight_map = json.loads(files["model.safetensors.index.json"])["weight_map"]
    equal(len(set(weight_map.values())), 3, "shards")
    found = {}
    for shard in set(weight_map.values()):
        found.update(read_safetensors(files[shard]))
    equal(sorted(found), sorted(weight_map))
    equal(layer_weights(found), layer_weights(read_safetensors(SERVER.artifact(STATE["job"]["id"])["model.safetensors"])))


def a_download_that_breaks_off_is_resumed_not_restarted():
    fresh = Server("--hub-url", MODELS.url + "/hub")
    before = MODELS.stats()["body_bytes"]
    job = fresh.succeed(quick_job(MODELS.url + "/~drop:1000000*2/files/novella-1m/"))
    size = sum(os.path.getsize(os.path.join(MODEL, name)) for name in os.listdir(MODEL))
    assert MODELS.stats()["body_bytes"] - before < size + 400000, "bytes served: hardly more than the files"
    equal(fresh.artifact(job["id"])["model.safetensors"], SERVER.artifact(STATE["job"]["id"])["model.safetensors"])
    equal(fresh.stop(), 0)


def ranges_and_conditions_hold_on_artifacts():
    path = "/jobs/%s/artifacts/model.safetensors" % STATE["job"]["id"]
    status, headers, whole = SERVER.request("GET", path)
    etag = headers["etag"]
    status, headers, part = SERVER.request("GET", path, headers={"Range": "bytes=100-199"})
    equal((status, part, headers["content-range"]), (206, whole[100:200], "bytes 100-199/%d" % len(whole)))
    status, _, part = SERVER.request("GET", path, headers={"Range": "bytes=-5"})
    equal((status, part), (206, whole[-5:]))
    equal(SERVER.request("GET", path, headers={"Range": "bytes=%d-" % len(whole)})[0], 416)
    equal(SERVER.request("GET", path, headers={"If-None-Match": etag})[0], 304)
    status, _, data = SERVER.request("GET", path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    equal((status, data), (200, whole))
    status, headers, data = SERVER.request("HEAD", path)
    equal((status, data, headers["content-length"]), (200, b"", str(len(whole))))
    for hostile in ("../../quantd.db", "%2e%2e/%2e%2e/quantd.db", "/etc/passwd", "nothing"):
        assert SERVER.request("GET", "/jobs/%s/artifacts/%s" % (STATE["job"]["id"], hostile))[0] in (400, 404), hostile


def events_replay_in_order_and_from_an_id():
    path = "/jobs/%s/events" % STATE["job"]["id"]
    events = SERVER.json("GET", path)["data"]
    ids = [e["id"] for e in events]
    equal(ids, sorted(set(ids)), "ids grow")
    types = [e["type"] for e in events]
    equal(types.count("layer"), 42)
    middle = ids[len(ids) // 2]
    equal([e["id"] for e in SERVER.json("GET", path + "?after=%d" % middle)["data"]], [i for i in ids if i > middle])
    status, headers, stream = SERVER.request("GET", path, headers={"Accept": "text/event-stream", "Last-Event-ID": str(middle)})
    equal((status, headers["content-type"].split(";")[0]), (200, "text/event-stream"))
    seen = [int(line[4:]) for line in stream.decode().splitlines() if line.startswith("id: ")]
    equal(seen, [i for i in ids if i > middle], "the stream resumes and ends with the job")


def the_list_pages_through_all_jobs_newest_first():
    seen, cursor = [], ""
    while True:
        page = SERVER.json("GET", "/jobs?limit=2" + cursor)
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        cursor = "&cursor=" + page["next_cursor"]
    equal(seen, sorted(seen, reverse=True))
    assert len(seen) >= 3 and STATE["job"]["id"] in seen
    equal([j["id"] for j in SERVER.json("GET", "/jobs?tag=team:a")["data"]], [STATE["job"]["id"]])


def a_job_in_a_float_grid_becomes_dequantized_safetensors():
    job = SERVER.succeed(quick_job(MODELS.model("novella-1m"), bits=3, group_size=0, format="safetensors",
                                   alphabet={"kind": "int", "zero": "float"}, scale={"rule": "minmax", "type": "f32"}))
    files = SERVER.artifact(job["id"])
    tensors = read_safetensors(files["model.safetensors"])
    equal(tensors["model.layers.0.self_attn.q_proj.weight"][:2], ("F32", [128, 128]))
    row = struct.unpack("<128f", tensors["model.layers.0.self_attn.q_proj.weight"][2][:512])
    assert len(set(row)) <= 8, "a row of 3 bits has at most 8 values"


def unchanged_jobs_answer_304():
    path = "/jobs/" + STATE["job"]["id"]
    etag = SERVER.request("GET", path)[1]["etag"]
    equal(SERVER.request("GET", path, headers={"If-None-Match": etag})[0], 304)


def a_running_job_can_be_cancelled_and_retried():
    request = quick_job(MODELS.model("novella-1m"), calibration={"samples": 256, "length": 512})
    job = SERVER.submit(request)
    SERVER.wait(job, states=("quantizing",))
    SERVER.json("POST", "/jobs/%s/cancel" % job, want=202)
    equal(SERVER.wait(job)["state"], "cancelled")
    equal(SERVER.request("GET", "/jobs/%s/artifacts" % job)[0], 404)
    SERVER.json("POST", "/jobs/%s/retry" % job, want=202)
    equal(SERVER.wait(job)["state"], "succeeded")
    equal(SERVER.request("POST", "/jobs/%s/cancel" % job)[0], 409)


def a_finished_job_can_be_deleted_and_a_running_one_not():
    job = SERVER.submit(quick_job(MODELS.model("novella-1m"), calibration={"samples": 32, "length": 256}))
    equal(SERVER.request("DELETE", "/jobs/" + job)[0], 409)
    SERVER.wait(job)
    assert SERVER.request("DELETE", "/jobs/" + job)[0] in (200, 204)
    equal(SERVER.request("GET", "/jobs/" + job)[0], 404)
    assert not os.path.exists(os.path.join(SERVER.state, "artifacts", job))


def the_log_is_readable_while_and_after():
    status, _, text = SERVER.request("GET", "/jobs/%s/log" % STATE["job"]["id"])
    equal(status, 200)
    assert len(text) > 0


def metrics_readiness_catalog_and_contract_answer():
    text = SERVER.request("GET", "/metrics")[2].decode()
    assert "# TYPE" in text and "quantd_" in text
    equal(SERVER.request("GET", "/readyz")[0], 200)
    catalog = SERVER.json("GET", "/catalog")
    assert "optq" in json.dumps(catalog) and "compressed-tensors" in json.dumps(catalog)
    document = SERVER.json("GET", "/openapi.json")
    assert document["openapi"].startswith("3.1") and "/jobs/{id}/events" in document["paths"]
    assert "properties" in SERVER.json("GET", "/schema/job.json")


def the_server_stops_cleanly_on_sigterm():
    equal(SERVER.stop(), 0)


run_claims([a_job_over_http_succeeds_with_perplexities_and_certificates, the_forecast_stands_beside_its_outcome, the_job_record_has_every_member_of_the_contract,
            every_layer_has_a_certificate_that_holds, a_job_that_says_little_is_made_by_the_balanced_preset,
            the_artifact_is_a_compressed_tensors_folder_with_side_files_unchanged,
            the_second_job_on_a_model_downloads_nothing, a_file_url_below_the_root_gives_the_same_bytes,
            a_hub_name_and_a_hub_page_are_pinned_to_a_commit_and_give_the_same_bytes,
            a_sharded_model_gives_the_same_layers_in_shards, a_download_that_breaks_off_is_resumed_not_restarted,
            ranges_and_conditions_hold_on_artifacts, events_replay_in_order_and_from_an_id,
            the_list_pages_through_all_jobs_newest_first, a_job_in_a_float_grid_becomes_dequantized_safetensors,
            unchanged_jobs_answer_304, a_running_job_can_be_cancelled_and_retried,
            a_finished_job_can_be_deleted_and_a_running_one_not, the_log_is_readable_while_and_after,
            metrics_readiness_catalog_and_contract_answer, the_server_stops_cleanly_on_sigterm])
