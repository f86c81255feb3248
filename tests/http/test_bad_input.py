"""Bad input, each with a clear answer: the field or file by name, what was found, what is allowed; the service stays alive."""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
GOOD = copy_model(ROOT, "good")
MODELS = ModelServer(ROOT)
SERVER = Server("--file-root", ROOT)


def broken(name, change):
    """A copy of the model with one thing wrong -> its URL."""
    folder = copy_model(ROOT, name)
    change(folder)
    return MODELS.model(name)


def weights(folder):
    path = os.path.join(folder, "model.safetensors")
    return path, open(path, "rb").read()


def edit_config(folder, **fields):
    path = os.path.join(folder, "config.json")
    config = json.load(open(path))
    for key, value in fields.items():
        if value is None:
            config.pop(key, None)
        else:
            config[key] = value
    json.dump(config, open(path, "w"))


def text_that_is_not_json_is_refused():
    SERVER.refused("{not json", None, status=400)
    SERVER.refused("[]", None, status=400)
    SERVER.refused('{"model": "x", "model": "y"}', None, "duplicate", status=400)
    SERVER.refused("[" * 5000, None, status=400)


def unknown_fields_are_named():
    SERVER.refused(quick_job(MODELS.model("good"), bitz=4), "/bitz", "bitz")
    SERVER.refused(quick_job(MODELS.model("good"), calibration={"sample": 1}), "/calibration/sample", "sample")
    SERVER.refused(quick_job(MODELS.model("good"), webhook={"address": "https://example.org"}), "/webhook/address", "known are url, secret")
    SERVER.refused(quick_job(MODELS.model("good"), limits={"cores": 2}), "/limits/cores", "known are memory, disk, runtime")
    SERVER.refused(quick_job(MODELS.model("good"), targets={}), "/targets", "targets")


def a_missing_model_is_named():
    SERVER.refused({"bits": 4}, "/model", "model")


def bits_17_are_refused_with_the_allowed_widths():
    SERVER.refused(quick_job(MODELS.model("good"), bits=17), "/bits", "17", "2, 3, 4, 5, 6, 7, 8")
    SERVER.refused(quick_job(MODELS.model("good"), bits="4"), "/bits", "string")


def unknown_choices_list_the_known_ones():
    SERVER.refused(quick_job(MODELS.model("good"), algorithm="magic"), "/algorithm", "magic", "optq", "rtn")
    SERVER.refused(quick_job(MODELS.model("good"), order="best"), "/order", "norm-descending")
    SERVER.refused(quick_job(MODELS.model("good"), format="zip"), "/format", "compressed-tensors")


def fields_that_disagree_are_both_named():
    SERVER.refused(quick_job(MODELS.model("good"), bits=5, format="gptq"), "/bits", "bits", "format", "2, 3, 4")
    SERVER.refused(quick_job(MODELS.model("good"), alphabet={"kind": "int", "zero": "float"}), None, "zero", "safetensors")


def what_repairs_the_residual_wants_both_streams_and_says_so():
    post = {"model": MODELS.model("good")}
    SERVER.refused(dict(post, mismatch={"scope": "block", "residual": True}), "/mismatch/residual", "mismatch.residual", "mismatch.scope 'block'")
    SERVER.refused(dict(post, algorithm="optq", mismatch={"residual": False}), "/mismatch/residual", "algorithm 'optq'", "gpfq or qronos")
    SERVER.refused(dict(post, effort="fast", mismatch={"residual": True}), "/mismatch/residual", "scope 'model' does")
    SERVER.refused(dict(post, effort="most"), "/effort", "reference, fast, balanced, best")
    SERVER.refused(dict(post, calibration={"first_position": "dropped"}), "/calibration/first_position", "counted, left-out")


def urls_are_checked_before_anything_is_queued():
    for url, part in (("ftp://example.org/m/", "ftp"), ("file:///etc/", "root"), ("https://user:pass@example.org/m/", "user"),
                      ("http://169.254.169.254/latest/", "169.254.169.254"), ("http://10.0.0.1/m/", "10.0.0.1"),
                      ("gopher://x/", "gopher"), ("", "url")):
        SERVER.refused(quick_job(url), None, part)


def private_addresses_behind_names_and_spellings_are_refused_at_connect():
    for host in ("2130706433", "0x7f.1", "[::ffff:10.0.0.1]", "[fd00::1]", "192.168.1.1"):
        status, _, data = SERVER.request("POST", "/jobs", quick_job("http://%s:1/m/" % host))
        if status == 202:
            found = SERVER.wait(json.loads(data)["id"])
            equal(found["state"], "failed", host)
        else:
            equal(status, 422, host)


def plain_http_needs_permission():
    strict = Server("--allow-http=no")
    strict.refused(quick_job(MODELS.model("good")), None, "http")
    equal(strict.stop(), 0)


def hosts_that_do_not_resolve_are_named():
    SERVER.fail(quick_job("http://no-such-host.invalid/model/"), "no-such-host.invalid")


def a_404_names_the_file():
    SERVER.fail(quick_job(MODELS.model("nothing-here")), "config.json")


def truncated_weights_are_refused():
    def change(folder):
        path, data = weights(folder)
        open(path, "wb").write(data[:-1000])
    SERVER.fail(quick_job(broken("truncated", change)), "model.safetensors")


def overlapping_tensors_are_refused():
    def change(folder):
        path, data = weights(folder)
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + length])
        names = sorted((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
        first, second = header[names[0]], header[names[1]]
        size = second["data_offsets"][1] - second["data_offsets"][0]
        second["data_offsets"] = [first["data_offsets"][0], first["data_offsets"][0] + size]
        text = json.dumps(header).encode()
        open(path, "wb").write(struct.pack("<Q", len(text)) + text + data[8 + length:])
    SERVER.fail(quick_job(broken("overlapping", change)), "model.safetensors")


def duplicate_keys_in_a_header_are_refused():
    def change(folder):
        path, data = weights(folder)
        length = struct.unpack("<Q", data[:8])[0]
        text = data[8:8 + length].rstrip()
        entry = b'"model.norm.weight":' + json.dumps(json.loads(text)["model.norm.weight"]).encode()
        text = text[:-1] + b"," + entry + b"}"
        open(path, "wb").write(struct.pack("<Q", len(text)) + text + data[8 + length:])
    SERVER.fail(quick_job(broken("duplicate", change)), "model.safetensors", "uplicate")


def an_oversized_header_is_refused():
    def change(folder):
        path, data = weights(folder)
        open(path, "wb").write(struct.pack("<Q", 1 << 40) + data[8:])
    SERVER.fail(quick_job(broken("oversized", change)), "model.safetensors", "header")


def index_with(mapping):
    def change(folder):
        os.remove(os.path.join(folder, "model.safetensors"))
        json.dump({"metadata": {}, "weight_map": mapping}, open(os.path.join(folder, "model.safetensors.index.json"), "w"))
    return change


def an_index_naming_a_missing_shard_is_refused():
    url = broken("missing-shard", index_with({"model.norm.weight": "model-00001-of-00002.safetensors"}))
    SERVER.fail(quick_job(url), "model-00001-of-00002.safetensors")


def an_index_naming_a_parent_folder_is_refused():
    SERVER.fail(quick_job(broken("dotdot", index_with({"model.norm.weight": "../good/model.safetensors"}))), "../good")


def a_config_without_a_needed_key_names_it():
    url = broken("no-heads", lambda folder: edit_config(folder, num_attention_heads=None))
    SERVER.fail(quick_job(url), "num_attention_heads")


def an_unknown_architecture_lists_the_supported_ones():
    url = broken("other-architecture", lambda folder: edit_config(folder, architectures=["PinkForCausalLM"]))
    SERVER.fail(quick_job(url), "PinkForCausalLM", "LlamaForCausalLM")


def a_missing_tokenizer_is_named():
    url = broken("no-tokenizer", lambda folder: os.remove(os.path.join(folder, "tokenizer.json")))
    SERVER.fail(quick_job(url), "tokenizer.json")


def a_nan_names_its_tensor():
    def change(folder):
        path, data = weights(folder)
        length = struct.unpack("<Q", data[:8])[0]
        at = json.loads(data[8:8 + length])["model.layers.3.mlp.up_proj.weight"]["data_offsets"][0] + 8 + length + 20
        open(path, "wb").write(data[:at] + b"\xc0\x7f" + data[at + 2:])
    SERVER.fail(quick_job(broken("nan", change)), "model.layers.3.mlp.up_proj.weight")


def a_group_size_that_does_not_divide_is_refused_by_the_format_and_cut_by_plain_weights():
    found = SERVER.fail(quick_job(MODELS.model("good"), group_size=100), "group_size", "100")
    assert "128" in found["problem"]["detail"], "sizes that would work are said: %s" % found["problem"]
    SERVER.succeed(quick_job(MODELS.model("good"), group_size=100, format="safetensors"))


def transforms_are_refused_with_the_place_in_the_list_and_what_would_work():
    url = MODELS.model("good")
    SERVER.refused(quick_job(url, transforms=["hadamard"]), "/transforms/0", "compressed-tensors")
    SERVER.refused(quick_job(url, transforms=["magr", {"kind": "magr"}]), "/transforms/1", "at most once")
    SERVER.refused(quick_job(url, transforms=[{"kind": "magr", "alpha": -1}]), "/transforms/0/alpha", "0..1000")
    SERVER.refused(quick_job(url, transforms="magr"), "/transforms", "list")


def windows_longer_than_the_model_are_refused():
    SERVER.fail(quick_job(MODELS.model("good"), calibration={"samples": 2, "length": 100000}), "length")


def what_is_neither_a_url_nor_self_is_refused():
    SERVER.refused(quick_job(MODELS.model("good"), calibration={"source": "itself"}), "/calibration/source", "self")
    SERVER.refused(quick_job(MODELS.model("good"), evaluation={"text": "me"}), "/evaluation/text", "self")


def a_full_disk_fails_the_job_and_space_heals_it():
    folder = temporary_folder()
    if os.geteuid() != 0 or subprocess.call(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder],
                                            stderr=subprocess.DEVNULL) != 0:
        raise Skip("needs a small tmpfs, which only root may mount")
    try:
        filler = os.path.join(folder, "filler")
        server = Server("--file-root", ROOT, state=os.path.join(folder, "state"))
        with open(filler, "wb") as out:
            out.write(b"x" * (2 << 20))
        found = server.wait(server.submit(quick_job(MODELS.model("good"))))
        equal(found["state"], "failed")
        assert "disk" in json.dumps(found["problem"]) or "space" in json.dumps(found["problem"]), found["problem"]
        equal(server.request("GET", "/livez")[0], 200)
        equal(server.request("GET", "/jobs/" + found["id"])[0], 200)
        os.remove(filler)
        subprocess.check_call(["mount", "-o", "remount,size=64m", folder])
        server.json("POST", "/jobs/%s/retry" % found["id"], want=202)
        equal(server.wait(found["id"])["state"], "succeeded")
        server.stop()
    finally:
        subprocess.call(["umount", "-l", folder])


def bodies_beyond_a_mebibyte_get_413():
    connection = socket.create_connection((SERVER.host, SERVER.port), timeout=30)
    connection.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n")
    assert b" 413 " in connection.recv(4096).split(b"\r\n")[0] + b" "
    connection.close()


def the_service_is_still_whole():
    SERVER.succeed(quick_job(MODELS.model("good")))
    equal(SERVER.stop(), 0)


run_claims([text_that_is_not_json_is_refused, unknown_fields_are_named, a_missing_model_is_named,
            bits_17_are_refused_with_the_allowed_widths, unknown_choices_list_the_known_ones, fields_that_disagree_are_both_named,
            what_repairs_the_residual_wants_both_streams_and_says_so,
            urls_are_checked_before_anything_is_queued, private_addresses_behind_names_and_spellings_are_refused_at_connect,
            plain_http_needs_permission, hosts_that_do_not_resolve_are_named, a_404_names_the_file, truncated_weights_are_refused,
            overlapping_tensors_are_refused, duplicate_keys_in_a_header_are_refused, an_oversized_header_is_refused,
            an_index_naming_a_missing_shard_is_refused, an_index_naming_a_parent_folder_is_refused,
            a_config_without_a_needed_key_names_it, an_unknown_architecture_lists_the_supported_ones, a_missing_tokenizer_is_named,
            a_nan_names_its_tensor, a_group_size_that_does_not_divide_is_refused_by_the_format_and_cut_by_plain_weights,
            transforms_are_refused_with_the_place_in_the_list_and_what_would_work, windows_longer_than_the_model_are_refused, what_is_neither_a_url_nor_self_is_refused,
            a_full_disk_fails_the_job_and_space_heals_it, bodies_beyond_a_mebibyte_get_413, the_service_is_still_whole])
