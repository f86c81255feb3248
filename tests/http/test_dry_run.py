#!/usr/bin/env python3
"""test_dry_run.py: POST /jobs?dry_run=true against a real quantd and a real model server: what a job would do, from headers alone."""
import hashlib
import json
import os
import re
import shutil
import threading

import harness
from harness import Server, ModelServer, equal, quick_job, read_safetensors, run_claims, temporary_folder

MODEL_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
models = None
server = None


def setting():
    """One server and one model server for all claims; folders that are no sound model beside novella-1m."""
    global models, server
    if server is not None:
        return
    root = temporary_folder()
    shutil.copytree(harness.MODEL, os.path.join(root, "novella-1m"))
    shutil.copytree(harness.MODEL, os.path.join(root, "other"))
    path = os.path.join(root, "other", "config.json")
    config = json.load(open(path))
    config["architectures"] = ["FalconForCausalLM"]
    with open(path, "w") as file:
        json.dump(config, file)
    models = ModelServer(root)
    server = Server()


def plan(request, want=200):
    return server.json("POST", "/jobs?dry_run=true", request, want=want)


def job(**fields):
    return quick_job(models.model("novella-1m"), **fields)


def weights_bytes():
    return os.path.getsize(os.path.join(harness.MODEL, "model.safetensors"))


def stored_tensors():
    with open(os.path.join(harness.MODEL, "model.safetensors"), "rb") as file:
        return read_safetensors(file.read())


def a_plan_names_every_tensor_and_reads_less_than_two_percent_of_the_weights():
    setting()
    fresh = Server()  # whose cache has nothing
    before = models.stats()["body_bytes"]
    found = fresh.json("POST", "/jobs?dry_run=true", job())
    small = sum(os.path.getsize(os.path.join(harness.MODEL, name)) for name in MODEL_FILES[:-1])
    read = models.stats()["body_bytes"] - before - small
    assert 0 < read < 0.02 * weights_bytes(), "%d of %d bytes of weights were read" % (read, weights_bytes())
    tensors = stored_tensors()
    equal(sorted(entry["tensor"] for entry in found["layers"]), sorted(tensors), "tensors")
    quantized = [entry for entry in found["layers"] if entry["action"] == "quantized"]
    equal(len(quantized), found["totals"]["layers"], "layers")
    for entry in found["layers"]:
        equal(entry["action"] == "quantized", "proj" in entry["tensor"], entry["tensor"])
    equal((quantized[0]["bits"], quantized[0]["group_size"]), (4, 128), "the job's grid")
    equal(found["possible"], True, "possible")
    equal(found["totals"]["download_bytes"], weights_bytes(), "bytes to download")


def a_plan_makes_nothing():
    setting()
    plan(job())
    equal(server.json("GET", "/jobs")["data"], [], "jobs")
    equal([name for name in os.listdir(os.path.join(server.state, "models", "snapshots"))], [], "folders")
    equal(os.listdir(os.path.join(server.state, "jobs")), [], "folders of jobs")
    server.request("POST", "/jobs?dry_run=true", job(model=models.model("not-there")))
    equal(os.listdir(os.path.join(server.state, "models", "partial")), [], "files that a great many of them would leave")


with open(harness.QUANTD, "rb") as binary:  # most of the memory of a sanitizer's build is the sanitizer's own
    SANITIZED = re.search(rb"__[at]san_init", binary.read()) is not None


def the_artifact_is_as_large_as_was_planned_and_its_memory_no_larger_than_was_forecast():
    setting()
    for fields in ({}, {"format": "gguf:q8_0"}, {"format": "gptq"}, {"algorithm": "qronos", "effort": "balanced"},
                   {"format": ["safetensors:bf16", "compressed-tensors"]}):
        fields = dict(fields)
        if fields.get("format") == "gguf:q8_0":
            request = quick_job(models.model("novella-1m"), format="gguf:q8_0")
            del request["bits"], request["group_size"]
        else:
            request = job(**fields)
        found = plan(request)
        done = server.succeed(request)
        ratio = found["totals"]["artifact_bytes"] / done["result"]["size"]
        assert 0.98 < ratio < 1.02, "%s: planned %d, made %d" % (fields, found["totals"]["artifact_bytes"], done["result"]["size"])
        bits = found["totals"]["bits_per_weight"] / done["result"]["bits_per_weight"]
        assert 0.99 < bits < 1.01, "%s: %s and %s bits" % (fields, found["totals"]["bits_per_weight"], done["result"]["bits_per_weight"])
        if not SANITIZED:
            assert done["forecast"]["peak_memory"] > 0.9 * done["result"]["peak_memory"], (fields, done["forecast"], done["result"]["peak_memory"])
        print("# %s: artifact %.3f, memory %.2f of what was taken" % (
            fields, ratio, done["forecast"]["peak_memory"] / done["result"]["peak_memory"]))


def a_job_with_the_least_memory_stays_below_it_and_gives_the_same_weights():
    setting()
    if SANITIZED:
        raise harness.Skip("a sanitizer's memory is more than the limit")
    fields = {"algorithm": "qronos", "effort": "balanced"}
    choices = plan(job(**fields))["forecast"]["memory_choices"]
    equal([choice["matrices"] for choice in choices], ["memory", "disk"])
    equal([choice["chosen"] for choice in choices], [True, False], "without a limit")
    least = choices[1]["peak_memory"]
    tight = plan(job(limits={"memory": least}, **fields))
    equal([choice["chosen"] for choice in tight["forecast"]["memory_choices"]], [False, True], "with the least")
    weights = []
    for limits in ({}, {"limits": {"memory": least}}):
        done = server.succeed(job(**fields, **limits))
        weights.append(hashlib.sha256(server.request("GET", "/jobs/%s/artifacts/model.safetensors" % done["id"])[2]).hexdigest())
    equal(weights[0], weights[1], "digests of the weights")
    assert done["result"]["peak_memory"] <= least, (done["result"]["peak_memory"], least)


def weights_that_are_here_are_not_to_be_downloaded():
    setting()
    server.succeed(job())
    equal(plan(job())["totals"]["download_bytes"], 0, "bytes to download")


def what_is_wrong_with_the_request_is_refused_with_pointers():
    setting()

    def refused(request, pointer, *parts):
        problem = plan(request, want=422)
        assert pointer in [error["pointer"] for error in problem["errors"]], problem
        for part in parts:
            assert any(part in error["detail"] for error in problem["errors"]), problem

    refused(job(bits=17), "/bits", "17")
    refused(quick_job("http://10.0.0.1/model/"), "/model/url", "10.0.0.1")
    refused(quick_job(models.model("nothing-here")), "/model", "config.json")
    refused({"model": {"url": models.url + "/~token:sesame@*/files/novella-1m/"}, "algorithm": "rtn"}, "/model/url", "token")


def what_the_model_does_not_fit_is_in_the_plan():
    setting()
    found = plan(job(group_size=48))
    equal(found["possible"], False, "possible")
    equal([problem["pointer"] for problem in found["problems"]], ["/group_size"], "pointers")
    assert "48 does not divide" in found["problems"][0]["detail"], found["problems"]
    found = plan(job(calibration={"samples": 8, "length": 5000}))
    equal([problem["pointer"] for problem in found["problems"]], ["/calibration/length"], "pointers")


def limits_that_are_too_small_are_in_the_plan_with_what_would_do():
    setting()
    found = plan(job(limits={"memory": 1 << 20, "disk": 1 << 20}))
    equal(sorted(problem["pointer"] for problem in found["problems"]), ["/limits/disk", "/limits/memory"], "pointers")
    least = found["forecast"]["least_memory"]
    assert str(least) in [p for p in found["problems"] if p["pointer"] == "/limits/memory"][0]["detail"], found["problems"]
    equal(plan(job(limits={"memory": least, "disk": found["forecast"]["disk"]["total"]}))["problems"], [], "problems")


def a_disk_that_is_too_small_is_in_the_plan():
    setting()
    free = os.statvfs(server.state).f_bavail * os.statvfs(server.state).f_frsize
    # so much is free above the floor that the headers fit, and what the streams of many sequences take does not
    above = min(free // 2, 20 << 30)
    small = Server("--disk-floor", str(free - above))
    found = small.json("POST", "/jobs?dry_run=true", job(calibration={"samples": 65536, "length": 1024}))
    assert found["forecast"]["disk"]["scratch"] > 2 * above, found["forecast"]
    assert "" in [problem["pointer"] for problem in found["problems"]], found["problems"]
    assert any(problem["detail"].startswith("disk: the job takes") for problem in found["problems"]), found["problems"]


def of_an_architecture_that_is_not_known_matrices_are_unknown():
    setting()
    found = plan(quick_job(models.model("other")))
    equal(found["possible"], False, "possible")
    assert "FalconForCausalLM" in found["problems"][0]["detail"], found["problems"]
    equal(sorted(entry["tensor"] for entry in found["layers"]), sorted(stored_tensors()), "tensors")
    actions = {entry["tensor"]: entry["action"] for entry in found["layers"]}
    equal(actions["model.layers.0.self_attn.q_proj.weight"], "unknown", "a matrix")
    equal(actions["model.norm.weight"], "kept", "a vector")
    assert "model.unknown 'data-free'" in found["problems"][0]["detail"], found["problems"]


def what_a_data_free_job_makes_of_it_is_in_the_plan_and_comes_true():
    setting()
    asked = quick_job(models.model("other"), algorithm="rtn", format="compressed-tensors")
    asked["model"] = {"url": asked["model"], "unknown": "data-free"}
    found = plan(asked)
    equal(found["possible"], True, "possible: %s" % found["problems"])
    actions = {entry["tensor"]: (entry["action"], entry["why"]) for entry in found["layers"]}
    equal(actions["model.layers.0.self_attn.q_proj.weight"], ("quantized", None), "a linear layer")
    equal(actions["model.embed_tokens.weight"][0], "kept", "an embedding")
    assert "nothing was calibrated or evaluated" in found["warnings"][0], found["warnings"]
    done = server.wait(server.json("POST", "/jobs", asked, want=202)["id"])
    equal(done["state"], "succeeded", done.get("error"))
    assert "architecture 'FalconForCausalLM' is not known" in done["result"]["data_free"], done["result"]
    equal(done["result"]["perplexity"], None, "perplexity")
    equal(done["result"]["layers"], found["totals"]["layers"], "layers")


def loaders_are_told():
    setting()
    loads = {(c["format"], c["loader"]): c["loads"] for c in plan(job())["compatibility"]}
    equal(loads[("compressed-tensors:pack-quantized", "vLLM")], "yes", "vLLM")
    equal(loads[("compressed-tensors:pack-quantized", "llama.cpp")], "no", "llama.cpp")


def only_true_and_false_are_taken():
    setting()
    jobs = len(server.json("GET", "/jobs")["data"])
    for query in ("dry_run=maybe", "dry_run=", "dry_run", "dry_run=TRUE"):
        equal(server.request("POST", "/jobs?" + query, job())[0], 400, query)
    equal(len(server.json("GET", "/jobs")["data"]), jobs, "none of them made a job")
    status, _, data = server.request("POST", "/jobs?dry_run=false", job())
    equal(status, 202, "false: a job")
    server.wait(json.loads(data)["id"])


def a_fifth_dry_run_at_once_is_told_to_come_again():
    setting()
    slow = quick_job(models.url + "/~silent:3@*/files/novella-1m/")
    answers = []

    def ask():
        status, headers, _ = server.request("POST", "/jobs?dry_run=true", slow)
        answers.append((status, headers.get("retry-after")))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(sorted(status for status, _ in answers), [200] * 4 + [429] * 2, "answers")
    assert all(after for status, after in answers if status == 429), answers


if __name__ == "__main__":
    run_claims([a_plan_makes_nothing,
                a_plan_names_every_tensor_and_reads_less_than_two_percent_of_the_weights,
                what_is_wrong_with_the_request_is_refused_with_pointers,
                what_the_model_does_not_fit_is_in_the_plan,
                limits_that_are_too_small_are_in_the_plan_with_what_would_do,
                a_disk_that_is_too_small_is_in_the_plan,
                of_an_architecture_that_is_not_known_matrices_are_unknown,
                what_a_data_free_job_makes_of_it_is_in_the_plan_and_comes_true,
                loaders_are_told,
                a_fifth_dry_run_at_once_is_told_to_come_again,
                the_artifact_is_as_large_as_was_planned_and_its_memory_no_larger_than_was_forecast,
                a_job_with_the_least_memory_stays_below_it_and_gives_the_same_weights,
                weights_that_are_here_are_not_to_be_downloaded,
                only_true_and_false_are_taken])
