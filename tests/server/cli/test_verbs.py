"""The verbs of the command line, as a person runs them: run, verify, eval, inspect, tokenize, logits; help; exit statuses; the progress bar."""
import array
import math
import os
import pty
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "http"))
from harness import *  # noqa: E402,F403

FOLDER = temporary_folder()
REFERENCE = json.load(open(os.path.join(MODEL, "reference.json")))
TEXTS = ["--calibration-text", CALIBRATION, "--evaluation-text", HELD_OUT]
STATE = {}


def quantd(*words, want=0, stdin=b"", cwd=FOLDER):
    done = subprocess.run([QUANTD] + list(words), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd)
    assert done.returncode == want, "quantd %s: exit %d: %s" % (" ".join(words), done.returncode, done.stderr.decode()[-1000:])
    return done.stdout.decode(), done.stderr.decode()


def write_job(name="job.json", **fields):
    path = os.path.join(FOLDER, name)
    json.dump(quick_job("file://" + os.path.abspath(MODEL), **fields), open(path, "w"))
    return path


def every_verb_has_help_and_wrong_words_are_named():
    out, _ = quantd("--help")
    verbs = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    equal(verbs, ["serve", "run", "verify", "convert", "eval", "inspect", "tokenize", "logits", "key", "backup", "restore"])
    for verb in verbs:
        assert "usage: quantd " + verb in quantd(verb, "--help")[0], verb
    assert "nonsense" in quantd("nonsense", want=2)[1]
    assert "--nonsense" in quantd("run", "--nonsense", want=2)[1]
    assert "nonsense" in quantd("serve", "--nonsense", want=2)[1]
    assert "loopback" in quantd("serve", "--listen", "0.0.0.0:0", want=2)[1]
    assert "--out" in quantd("run", write_job(), want=2)[1]


def the_manual_page_names_every_verb_and_option_of_the_help():
    page = quantd("--man")[0]
    assert page.startswith(".TH QUANTD 1 "), page[:80]
    page = page.replace("\\-", "-")
    verbs = [line.split()[0] for line in quantd("--help")[0].splitlines() if line.startswith("  ")]
    words = [re.findall(r"^  (%s \S+)" % verb, quantd(verb, "--help")[0], re.M) or [verb] for verb in verbs]
    for verb in sum(words, []):
        assert ".SS \"quantd %s [OPTION]..." % verb in page, verb
        section = page.split(".SS \"quantd %s [" % verb)[1].split(".S")[0]
        if "under OPTIONS" in section:
            section = page.split(".SH OPTIONS")[1].split(".SH ")[0]
        options = re.findall(r"^  --(\S+)", quantd(*verb.split(), "--help")[0], re.M)
        for option in options:
            assert "\\fB--%s\\fR" % option in section, (verb, option)
        equal(section.count(".TP"), len(options), verb)
    serve = page.split(".SH OPTIONS")[1].split(".SH ")[0]
    workers = serve.split("\\fB--workers\\fR")[1].split(".TP")[0]
    for part in ("1..64 jobs", "default 1", "needs a restart", "$QUANTD_WORKERS"):
        assert part in workers, (part, workers)
    assert "read again at SIGHUP" in serve.split("\\fB--keep-jobs\\fR")[1].split(".TP")[0]
    for title in ("SIGNALS", "FILES", "EXAMPLES", "ENVIRONMENT"):
        assert ".SH %s\n" % title in page, title
    assert re.fullmatch(r"quantd \d+\.\d+\.\d+\n", quantd("--version")[0])


def run_makes_an_artifact_and_prints_its_result():
    out, _ = quantd("run", write_job(), "--out", "art", *TEXTS)
    STATE["result"] = json.loads(out)
    equal(STATE["result"]["layers"], 42)
    assert os.path.exists(os.path.join(FOLDER, "art", "manifest.json"))
    assert not os.path.exists(os.path.join(FOLDER, "art.work")), "the checkpoints are no longer needed"


def eval_of_the_artifact_gives_the_result_of_the_run():
    settings = ["--text", HELD_OUT, "--length", "128", "--windows", "8"]
    for what, folder in (("quantized", "art"), ("source", MODEL)):
        found = json.loads(quantd("eval", os.path.abspath(folder) if folder == MODEL else folder, *settings)[0])
        assert math.isclose(found["perplexity"], STATE["result"]["perplexity"][what], rel_tol=1e-6), (what, found)
        beside = json.loads(quantd("eval", os.path.abspath(folder) if folder == MODEL else folder, "--against", os.path.abspath(MODEL), *settings)[0])
        assert math.isclose(beside["perplexity"], found["perplexity"], rel_tol=1e-6), (beside, found)
        if what == "source":
            equal((beside["kl"]["mean"], beside["kl"]["max"], beside["kl"]["same_top"]), (0, 0, 1))
        else:
            for key, value in STATE["result"]["kl"]["quantized"].items():
                assert math.isclose(beside["kl"][key], value, rel_tol=1e-3), (key, beside, STATE["result"]["kl"])


def verify_accepts_the_artifact_and_names_what_was_damaged():
    report = json.loads(quantd("verify", "art", "--against", os.path.abspath(MODEL))[0])
    equal((report["ok"], report["findings"]), (True, []))
    shutil.copytree(os.path.join(FOLDER, "art"), os.path.join(FOLDER, "bad"))
    path = os.path.join(FOLDER, "bad", "model.safetensors")
    data = bytearray(open(path, "rb").read())
    data[-100] ^= 1
    open(path, "wb").write(data)
    report = json.loads(quantd("verify", "bad", want=1)[0])
    equal(report["ok"], False)
    assert "model.safetensors" in json.dumps(report["findings"]), report


def inspect_lists_tensors():
    out, _ = quantd("inspect", "art")
    assert "model.layers.0.self_attn.q_proj.weight_packed [128, 16]" in out, out[:500]
    assert "model.embed_tokens.weight [2048, 128]" in quantd("inspect", os.path.join(os.path.abspath(MODEL), "model.safetensors"))[0]


def tokenize_gives_the_reference_ids():
    line = json.dumps({"text": REFERENCE["probe_text"]}).encode() + b"\n"
    out, _ = quantd("tokenize", os.path.abspath(MODEL), "--special", stdin=line * 2)
    equal([json.loads(each)["ids"] for each in out.splitlines()], [REFERENCE["probe_ids"]] * 2)
    assert "line 2" in quantd("tokenize", os.path.abspath(MODEL), stdin=line + b"{}\n", want=1)[1]


def tokenize_goes_back_and_renders_conversations():
    ids = json.dumps({"ids": REFERENCE["probe_ids"][1:]}).encode() + b"\n"
    equal(json.loads(quantd("tokenize", os.path.abspath(MODEL), "--decode", stdin=ids)[0])["text"], REFERENCE["probe_text"])
    folder = copy_model(FOLDER, "chatty")
    with open(os.path.join(folder, "chat_template.jinja"), "w") as out:
        out.write("{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}")
    line = json.dumps({"messages": [{"role": "user", "content": " Hi "}]}).encode() + b"\n"
    assert "no chat template" in quantd("tokenize", os.path.abspath(MODEL), "--render", stdin=line, want=1)[1]
    equal(json.loads(quantd("tokenize", folder, "--render", stdin=line)[0]), {"text": "user: Hi\n"})
    text = json.dumps({"text": "user: Hi\n"}).encode() + b"\n"
    equal(*[quantd("tokenize", folder, stdin=each)[0] for each in (line, text)])


def logits_give_the_reference_log_probability():
    ids = REFERENCE["probe_ids"]
    path = os.path.join(FOLDER, "ids.safetensors")
    write_safetensors(path, {"input_ids": ("I64", [1, len(ids)], array.array("q", ids).tobytes())})
    quantd("logits", os.path.abspath(MODEL), "--ids", path, "--out", "logits.safetensors")
    dtype, shape, data = read_safetensors(open(os.path.join(FOLDER, "logits.safetensors"), "rb").read())["logits"]
    equal((dtype, shape), ("F32", [1, len(ids), 2048]))
    values = array.array("f", data)
    total = 0.0
    for t in range(len(ids) - 1):
        row = values[t * 2048:(t + 1) * 2048]
        top = max(row)
        total += row[ids[t + 1]] - top - math.log(sum(math.exp(x - top) for x in row))
    assert math.isclose(total, -135.490889, rel_tol=1e-6), total
    assert math.isclose(total, REFERENCE["probe_logprob_sum"], rel_tol=1e-4), total


def a_stopped_run_goes_on_and_ends_with_the_same_bytes():
    job = write_job("long.json", calibration={"samples": 96, "length": 256})
    quantd("run", job, "--out", "whole", *TEXTS)
    process = subprocess.Popen([QUANTD, "run", job, "--out", "parts"] + TEXTS, cwd=FOLDER, stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.startswith(b"layer 9 "):
            break
    process.send_signal(signal.SIGTERM)
    process.communicate()
    equal(process.returncode, 3, "exit status of a cancelled run")
    assert not os.path.exists(os.path.join(FOLDER, "parts", "manifest.json")), "nothing half-published"
    _, log = quantd("run", job, "--out", "parts", *TEXTS)
    assert "from its checkpoint" in log, log
    for name in sorted(os.listdir(os.path.join(FOLDER, "whole"))):
        equal(hashlib.sha256(open(os.path.join(FOLDER, "parts", name), "rb").read()).hexdigest(),
              hashlib.sha256(open(os.path.join(FOLDER, "whole", name), "rb").read()).hexdigest(), name)


def a_terminal_shows_a_bar_with_the_time_left():
    master, slave = pty.openpty()
    process = subprocess.Popen([QUANTD, "run", write_job(), "--out", "bar"] + TEXTS, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(master)
    equal(process.wait(), 0)
    assert re.search(rb"quantizing +\[#+ *\] \d+ of 42 layers", seen), seen[-2000:]
    assert b" s left" in seen, seen[-2000:]


def a_job_that_cannot_be_read_names_the_fields():
    _, log = quantd("run", write_job("bad.json", bits=17), "--out", "none", *TEXTS, want=2)
    assert "/bits" in log and "17" in log, log
    assert not os.path.exists(os.path.join(FOLDER, "none"))


run_claims([every_verb_has_help_and_wrong_words_are_named, the_manual_page_names_every_verb_and_option_of_the_help,
            run_makes_an_artifact_and_prints_its_result,
            eval_of_the_artifact_gives_the_result_of_the_run, verify_accepts_the_artifact_and_names_what_was_damaged,
            inspect_lists_tensors, tokenize_gives_the_reference_ids, tokenize_goes_back_and_renders_conversations, logits_give_the_reference_log_probability,
            a_stopped_run_goes_on_and_ends_with_the_same_bytes, a_terminal_shows_a_bar_with_the_time_left,
            a_job_that_cannot_be_read_names_the_fields])
