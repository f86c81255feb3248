"""A job without any text, over HTTP: the source model samples its own sequences; the plan says so, and what it takes."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
MODELS = ModelServer(ROOT)
SERVER = Server(calibration=None, evaluation=None)
STATE = {}


def small(**fields):
    return quick_job(MODELS.model("novella-1m"), calibration={"samples": 4, "length": 32}, evaluation={"length": 32, "windows": 2}, **fields)


def the_plan_counts_the_tokens_that_are_sampled():
    found = SERVER.json("POST", "/jobs?dry_run=true", small())
    assert found["possible"], found["problems"]
    equal(found["forecast"]["calibration_tokens"], 4 * 32)
    equal(found["forecast"]["evaluation_tokens"], 2 * 32)
    assert any("the source model samples" in warning for warning in found["warnings"]), found["warnings"]
    STATE["forecast"] = found["forecast"]


def longer_sequences_are_forecast_to_take_longer():
    request = small()
    request["calibration"] = {"samples": 4, "length": 1024}
    longer = SERVER.json("POST", "/jobs?dry_run=true", request)["forecast"]
    assert longer["seconds"]["quantizing"] > STATE["forecast"]["seconds"]["quantizing"]
    assert longer["least_memory"] > STATE["forecast"]["least_memory"], "keys and values of every token"


def a_job_without_any_text_succeeds_and_says_whose_words_it_saw():
    job = SERVER.succeed(small(name="textless"))
    result = job["result"]
    equal(result["calibration"]["origin"], "self")
    equal(result["calibration"]["text_sha256"], None)
    equal(len(result["calibration"]["tokens_sha256"]), 64)
    equal(result["perplexity"]["origin"], "self")
    assert 1 < result["perplexity"]["source"] < result["perplexity"]["quantized"] * 1.1, result["perplexity"]
    if not (os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS")):  # their own memory is most of it
        assert result["peak_memory"] < 3 * STATE["forecast"]["peak_memory"], (result["peak_memory"], STATE["forecast"])
    events = SERVER.json("GET", "/jobs/%s/events?limit=1000" % job["id"])["data"]
    assert any(e["type"] == "warning" and "own words" in e["data"]["detail"] for e in events), events
    manifest = SERVER.json("GET", "/jobs/%s/artifacts" % job["id"])
    equal(manifest["perplexity"]["origin"], "self")
    status, _, card = SERVER.request("GET", "/jobs/%s/artifacts/README.md" % job["id"])
    equal(status, 200)
    assert b"that the source model sampled itself" in card, card
    status, _, record = SERVER.request("GET", "/jobs/%s/artifacts/recipe.json" % job["id"])
    equal(json.loads(record)["recipe"]["calibration"]["source"], "self")
    STATE["tokens"] = result["calibration"]["tokens_sha256"]


def the_word_gives_the_same_tokens_as_no_text_at_all():
    request = small()
    request["calibration"]["source"] = request["evaluation"]["text"] = "self"
    equal(SERVER.succeed(request)["result"]["calibration"]["tokens_sha256"], STATE["tokens"])


def too_little_memory_is_refused_with_what_would_do():
    request = small()
    request["calibration"]["length"] = 1024
    least = SERVER.json("POST", "/jobs?dry_run=true", request)["forecast"]["least_memory"]
    found = SERVER.json("POST", "/jobs?dry_run=true", dict(request, limits={"memory": least - 1}))
    detail = [p["detail"] for p in found["problems"] if p["pointer"] == "/limits/memory"]
    assert detail and "calibration.source" in detail[0] and "would do" in detail[0], found["problems"]


def a_gate_is_not_held_against_the_models_own_words_unasked():
    SERVER.refused(small(gate={"kl": 9}), "/gate/kl", "self")
    request = small(gate={"kl": 9})
    request["evaluation"]["text"] = "self"
    equal(SERVER.succeed(request)["result"]["perplexity"]["origin"], "self")


def the_server_stops_cleanly():
    equal(SERVER.stop(), 0)


run_claims([the_plan_counts_the_tokens_that_are_sampled, longer_sequences_are_forecast_to_take_longer,
            a_job_without_any_text_succeeds_and_says_whose_words_it_saw, the_word_gives_the_same_tokens_as_no_text_at_all,
            too_little_memory_is_refused_with_what_would_do, a_gate_is_not_held_against_the_models_own_words_unasked, the_server_stops_cleanly])
