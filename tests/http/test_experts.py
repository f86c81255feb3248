#!/usr/bin/env python3
"""test_experts.py: a model with experts through the service: its plan, its tokens expert by expert, the dashboard's map of them."""
import json
import os
import random
import shutil
import string
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from browser import CHROMIUM, Browser  # noqa: E402
from harness import Server, Skip, equal, run_claims, temporary_folder  # noqa: E402

EXPERTS, USED, BLOCKS = 4, 2, 2
SAMPLES, LENGTH = 20, 12
FIXTURES = os.path.join(harness.SOURCE, "tests/core/model/architectures")
STATE = {}


def setting():
    """A server with a text of letters, and the stacked fixture with a tokenizer of letters."""
    if STATE:
        return STATE
    root = temporary_folder()
    folder = os.path.join(root, "stacked")
    shutil.copytree(os.path.join(FIXTURES, "qwen3_moe-fused"), folder)
    tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                 "decoder": {"type": "ByteLevel"},
                 "model": {"type": "BPE", "merges": [], "vocab": {c: i for i, c in enumerate(string.ascii_letters)}}}
    json.dump(tokenizer, open(os.path.join(folder, "tokenizer.json"), "w"))
    draw = random.Random(3)
    text = os.path.join(root, "letters.txt")
    with open(text, "w") as file:
        file.write("".join(draw.choice(string.ascii_letters) for _ in range(SAMPLES * LENGTH)))
    STATE.update(server=Server("--file-root", root, calibration=text, evaluation=text), model="file://" + folder)
    return STATE


def job(**fields):
    request = {"model": setting()["model"], "algorithm": "optq", "effort": "reference", "bits": 4, "group_size": 8,
               "calibration": {"samples": SAMPLES, "length": LENGTH, "bos": False}, "evaluation": {"length": LENGTH, "windows": 2}}
    return dict(request, **fields)


def is_expert(name):
    return ".experts." in name


def a_plan_lists_every_expert_and_keeps_the_routers():
    plan = setting()["server"].json("POST", "/jobs?dry_run=true", job())
    equal(plan["possible"], True, "possible")
    wanted = {"model.layers.%d.mlp.experts.%d.%s_proj.weight" % (block, expert, part)
              for block in range(BLOCKS) for expert in range(EXPERTS) for part in ("gate", "up", "down")}
    found = {entry["tensor"]: entry for entry in plan["layers"]}
    equal({name for name in found if is_expert(name)}, wanted, "tensors of experts, stacked in the file")
    equal({found[name]["action"] for name in wanted}, {"quantized"}, "experts")
    equal({(found[name]["bits"], found[name]["group_size"], found[name]["alphabet"]) for name in wanted}, {(4, 8, "int")}, "one grid for all")
    for block in range(BLOCKS):
        equal(found["model.layers.%d.mlp.gate.weight" % block]["action"], "kept", "router")
    equal(plan["totals"]["layers"], BLOCKS * (4 + 3 * EXPERTS), "layers")


def every_expert_says_how_many_tokens_came():
    server = setting()["server"]
    id = server.submit(job())
    done = server.wait(id)
    equal(done["state"], "succeeded", done.get("problem"))
    layers = server.json("GET", "/jobs/%s/layers" % id)["data"]
    counts = {}
    for layer in layers:
        equal("routing" in layer, is_expert(layer["name"]), layer["name"])
        if "routing" in layer:
            routing = layer["routing"]
            counts.setdefault((routing["block"], routing["expert"]), set()).add(routing["tokens"])
            assert ".layers.%d." % routing["block"] in layer["name"] and ".experts.%d." % routing["expert"] in layer["name"], layer["name"]
            equal(routing["starved"], routing["tokens"] < 32, "starved below twice as many as the widest input has features")
    equal({len(seen) for seen in counts.values()}, {1}, "layers of an expert agree")
    for block in range(BLOCKS):
        equal(sum(counts[block, expert].copy().pop() for expert in range(EXPERTS)), SAMPLES * LENGTH * USED, "every token goes to %d experts" % USED)
    experts = done["result"]["experts"]
    forecast = server.json("POST", "/jobs?dry_run=true", job())["forecast"]
    if not (os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS")):  # their own memory is most of it
        assert done["result"]["peak_memory"] <= forecast["peak_memory"], (done["result"]["peak_memory"], forecast)
    equal((experts["count"], experts["fewest_tokens"]), (BLOCKS * EXPERTS, min(seen.copy().pop() for seen in counts.values())), "result")
    certificate = server.json("GET", "/jobs/%s/certificate" % id)
    equal(certificate["summary"]["experts"], experts, "certificate")
    equal([layer.get("routing") for layer in certificate["layers"]], [layer.get("routing") for layer in layers], "certificate's layers")


def a_starved_expert_is_flagged_with_what_it_got():
    server = setting()["server"]
    for fallback, degraded in (("shared", 0), ("rtn", 3 * BLOCKS * EXPERTS)):
        id = server.submit(job(experts={"min_tokens": 10 ** 6, "fallback": fallback}))
        done = server.wait(id)
        equal(done["state"], "succeeded", done.get("problem"))
        equal(done["result"]["experts"]["starved"], BLOCKS * EXPERTS, "starved")
        equal(done["result"]["degraded_layers"], degraded, "degraded with fallback " + fallback)
        for layer in server.json("GET", "/jobs/%s/layers" % id)["data"]:
            if is_expert(layer["name"]):
                equal((layer["routing"]["starved"], layer["routing"]["fallback"], layer["degraded"]), (True, fallback, degraded > 0), layer["name"])
                equal(layer["certificate"]["m"], SAMPLES * LENGTH if fallback == "shared" else 0, "tokens of its statistics")
    server.refused(job(experts={"fallback": "none"}), "/experts/fallback", "shared, rtn")
    server.refused(job(experts={"min_tokens": 0}), "/experts/min_tokens", "1")


def gguf_is_refused_for_what_is_not_written_to_it():
    server = setting()["server"]
    request = {key: value for key, value in job(format="gguf").items() if key not in ("bits", "group_size")}
    plan = server.json("POST", "/jobs?dry_run=true", request)
    equal(plan["possible"], False, "possible")
    assert any("Qwen3MoeForCausalLM" in finding["detail"] for finding in plan["problems"] if finding["pointer"] == "/format"), plan["problems"]


def the_dashboard_maps_tokens_by_block_and_expert():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    server = setting()["server"]
    id = server.submit(job(name="mapped", experts={"min_tokens": 130}))
    equal(server.wait(id)["state"], "succeeded")
    layers = [layer["routing"] for layer in server.json("GET", "/jobs/%s/layers" % id)["data"] if "routing" in layer]
    browser = Browser()
    browser.open(server.url + "/#/jobs/" + id)
    browser.wait("document.getElementById('experts').rows.length == %d" % BLOCKS, 60)
    browser.wait("document.getElementById('experts').rows[0].cells.length == %d" % (1 + EXPERTS), 60)
    for routing in layers:
        cell = "document.getElementById('experts').rows[%d].cells[%d]" % (routing["block"], 1 + routing["expert"])
        browser.wait("%s && %s.textContent === '%d'" % (cell, cell, routing["tokens"]))  # layers come one by one
        equal(browser.value(cell + ".classList.contains('starved')"), routing["starved"], "starved shown")
        equal(browser.value(cell + ".dataset.shade != '0'"), routing["tokens"] > 0, "shade")
    shown = browser.value("document.getElementById('job-result').innerText")
    assert "of %d" % (BLOCKS * EXPERTS) in shown, shown


run_claims([a_plan_lists_every_expert_and_keeps_the_routers, every_expert_says_how_many_tokens_came, a_starved_expert_is_flagged_with_what_it_got,
            gguf_is_refused_for_what_is_not_written_to_it, the_dashboard_maps_tokens_by_block_and_expert])
