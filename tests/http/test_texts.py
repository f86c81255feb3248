"""Texts as users have them: JSON lines in gzip and zstd by HTTP and by hand, policies for documents, what is said of every token."""
import gzip
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
TEXTS = os.path.join(ROOT, "texts")
os.mkdir(TEXTS)
copy_model(ROOT, "novella-1m")
BOS = json.load(open(os.path.join(MODEL, "config.json")))["bos_token_id"]
PARAGRAPHS = [p + "\n\n" for p in open(CALIBRATION, encoding="utf-8").read()[:120000].split("\n\n")]
MODELS = ModelServer(ROOT)
SERVER = Server()


def verb(*words, want=0, given=None):
    done = subprocess.run([QUANTD] + list(words), input=given, capture_output=True, timeout=120 * SLOW)
    equal(done.returncode, want, "%s: %s" % (" ".join(words), done.stderr))
    return done


def zstd(content):
    if shutil.which("zstd") is None:
        raise Skip("no zstd")
    return subprocess.run(["zstd", "-q", "-c"], input=content, stdout=subprocess.PIPE, check=True).stdout


def jsonl(texts):
    return "".join(json.dumps({"text": text, "meta": {"of": "novella"}}) + "\n" for text in texts).encode()


def url(name, content):
    with open(os.path.join(TEXTS, name), "wb") as out:
        out.write(content)
    return "%s/files/texts/%s" % (MODELS.url, name)


def job_of(source, **calibration):
    return quick_job(MODELS.model("novella-1m"), calibration=dict({"source": source, "samples": 8, "length": 128}, **calibration))


def ids_of(texts):
    done = verb("tokenize", MODEL, given=jsonl(texts))
    return [json.loads(line)["ids"] for line in done.stdout.splitlines()]


def digest_of(windows):
    return hashlib.sha256(b"".join(struct.pack("<%dI" % len(w), *w) for w in windows)).hexdigest()


def random_text(source):
    return "".join(source.choice('a b"\\/\n\t\r{}[]:,\u0001é日本\U0001f642\u2028\x7f<s>') for _ in range(source.choice((0, 1, 7, 60, 9000))))


def documents_are_read_as_pythons_json_and_gzip_write_them():
    for seed in range(12):
        source = random.Random(seed)
        texts = [random_text(source) for _ in range(source.randrange(1, 30))]
        rows = []
        for text in texts:
            half = source.randrange(len(text) + 1)
            row = source.choice(({"text": text, "id": 1}, {"prompt": text[:half], "completion": text[half:]}))
            rows.append(json.dumps(row, ensure_ascii=source.random() < 0.5) + source.choice(("\n", "\r\n", "\n \n")))
        content = "".join(rows).encode()
        cut = source.randrange(len(content))
        packed = source.choice((content, gzip.compress(content), gzip.compress(content[:cut]) + gzip.compress(content[cut:])))
        lines = verb("tokenize", "--render", MODEL, given=packed).stdout.splitlines()
        equal([json.loads(line)["text"] for line in lines], texts, "seed %d" % seed)


def a_job_takes_json_lines_in_gzip_and_zstd_and_gives_the_bytes_of_the_text():
    text, held_out = "".join(PARAGRAPHS), open(HELD_OUT, encoding="utf-8").read()[:60000]
    plain, packed = (dict(job_of(url(name, content)), evaluation={"text": url(other, more), "length": 128, "windows": 8})
                     for name, content, other, more in (
                         ("calibration.txt", text.encode(), "held-out.txt", held_out.encode()),
                         ("calibration.jsonl.gz", gzip.compress(jsonl([text])), "held-out.jsonl.zst", zstd(jsonl([held_out])))))
    one, other = SERVER.succeed(plain), SERVER.succeed(packed)
    equal(SERVER.artifact(other["id"])["model.safetensors"], SERVER.artifact(one["id"])["model.safetensors"])
    equal(other["result"]["perplexity"], one["result"]["perplexity"])
    a, b = one["result"]["calibration"], other["result"]["calibration"]
    equal(a["text"], {"format": "text", "packing": "none", "bytes": len(text.encode())})
    equal(b["text"], {"format": "jsonl", "packing": "gzip", "bytes": len(jsonl([text]))})
    equal(b["text_sha256"], hashlib.sha256(open(os.path.join(TEXTS, "calibration.jsonl.gz"), "rb").read()).hexdigest())
    equal(b["tokens_sha256"], a["tokens_sha256"])
    files = SERVER.artifact(other["id"])
    equal(json.loads(files["recipe.json"])["calibration"], b)
    equal(SERVER.json("GET", "/jobs/%s/artifacts" % other["id"])["calibration"], b)
    assert ("SHA-256 of the ids `%s`" % b["tokens_sha256"]).encode() in files["README.md"]


def the_ids_of_a_run_are_those_of_the_definitions_and_their_digest_is_recorded():
    """joined and separated, in plain Python: ids of each document by itself, starts floor(i (L - length) / samples)."""
    source = url("documents.jsonl", jsonl(PARAGRAPHS + [""]))
    ids = ids_of(PARAGRAPHS)
    for policy, separator in (("joined", []), ("separated", [BOS])):
        stream = ids[0] + [t for document in ids[1:] for t in separator + document]
        found = SERVER.succeed(job_of(source, documents=policy))["result"]["calibration"]
        starts = [i * (len(stream) - 128) // 8 for i in range(8)]
        windows = [[BOS] + stream[s + (stream[s] == BOS):][:127] for s in starts]
        equal(found["tokens_sha256"], digest_of(windows), policy)
        equal(found["tokens_available"], len(stream))
        equal(found["documents"], {"policy": policy, "read": len(ids) + 1, "empty": 1, "too_short": 0, "separators": len(separator) * (len(ids) - 1)})


def within_documents_nothing_is_lost_in_silence():
    ids = ids_of(PARAGRAPHS)
    job = SERVER.succeed(dict(job_of(url("within.jsonl.gz", gzip.compress(jsonl(PARAGRAPHS))), documents="within", samples=4000, length=512),
                              algorithm="qronos", effort="fast"))
    found = job["result"]["calibration"]
    sequences = [len(document) // 511 for document in ids]
    short, left = sum(len(d) for d, n in zip(ids, sequences) if n == 0), sum(len(d) - 511 * n for d, n in zip(ids, sequences) if n > 0)
    equal(found["samples"], sum(sequences))
    equal(found["tokens_dropped"], {"too_short": short, "left_over": left, "unused": 0})
    equal(found["tokens_used"] + short + left, found["tokens_available"])
    equal(found["documents"]["too_short"], sum(n == 0 for n in sequences))
    equal(found["held_out"]["sequences"], sum(sequences) // 5)
    equal(found["held_out"]["shared_documents"], 0)
    assert short > 0 and left > 0 and short + left > found["tokens_available"] / 10
    warnings = [e["data"]["detail"] for e in SERVER.json("GET", "/jobs/%s/events" % job["id"])["data"] if e["type"] == "warning"]
    assert any("%d of %d tokens are dropped" % (short + left, found["tokens_available"]) in w for w in warnings), warnings
    assert any("4000 samples were asked for" in w for w in warnings), warnings


TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"


def conversations_go_through_the_models_template_and_bring_one_bos():
    folder = os.path.join(ROOT, "chatty")
    copy_model(ROOT, "chatty")
    path = os.path.join(folder, "tokenizer_config.json")
    config = json.load(open(path))
    os.remove(path)
    json.dump(dict(config, chat_template=TEMPLATE), open(path, "w"))
    bos = config["bos_token"] if isinstance(config["bos_token"], str) else config["bos_token"]["content"]
    talks = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in zip(PARAGRAPHS[0:40:2], PARAGRAPHS[1:40:2])]
    content = "".join(json.dumps({"messages": talk}) + "\n" for talk in talks).encode()
    texts = [bos + "".join("[%s] %s\n" % (m["role"], m["content"]) for m in talk) for talk in talks]
    equal([json.loads(line)["text"] for line in verb("tokenize", "--render", folder, given=content).stdout.splitlines()], texts)
    ids = ids_of(texts)
    assert all(document[0] == BOS and document.count(BOS) == 1 for document in ids), "the template's BOS is one token"
    request = job_of(url("chat.jsonl.gz", gzip.compress(content)), documents="within", samples=1000, length=2 + min(map(len, ids)) // 2)
    found = SERVER.succeed(dict(request, model=MODELS.model("chatty")))["result"]["calibration"]
    length = request["calibration"]["length"]
    equal(found["samples"], sum((len(document) - 1) // (length - 1) for document in ids))
    equal(found["tokens_used"], found["samples"] * (length - 1) + len(ids))
    SERVER.fail(request, "calibration", "line 1", "no chat template")


def what_is_no_text_is_refused_by_name_and_line():
    rows = ((b"PAR1\x15\x00", ("a Parquet file",)), (gzip.compress(b"x" * 5000)[:-9], ("gzip: cut off",)),
            (jsonl(["a"]) + b'{"body": 1}\n', ("line 2", "'body'", "'messages'")), (b"caf\xe9", ("0xE9", "UTF-8")),
            (b'[{"text": "a"}]', ("JSON array",)))
    for i, (content, parts) in enumerate(rows):
        SERVER.fail(job_of(url("wrong-%d" % i, content)), "calibration", *parts)
    for pointer, value, allowed in (("/calibration/documents", "packed", "joined, separated, within"), ("/calibration/format", "csv", "auto, text, jsonl"),
                                    ("/evaluation/format", "csv", "auto, text, jsonl")):
        _, room, field = pointer.split("/")
        request = quick_job(MODELS.model("novella-1m"))
        request[room] = dict(request[room], **{field: value})
        SERVER.refused(request, pointer, value, *allowed.split(", "))


def a_text_that_is_not_there_is_named_by_its_field():
    there, missing = url("there.txt", "".join(PARAGRAPHS).encode()), url("there.txt", "".join(PARAGRAPHS).encode()) + ".not"
    job = job_of(there)
    SERVER.fail(job_of(missing), "calibration.source: ", "there.txt.not")
    SERVER.fail(dict(job, evaluation=dict(job["evaluation"], text=missing)), "evaluation.text: ", "there.txt.not")
    SERVER.fail(dict(job, evaluation=dict(job["evaluation"], also=[missing])), "evaluation.also[0]: ", "there.txt.not")


def a_packed_text_of_the_operators_is_planned_for_as_the_text_is():
    path = os.path.join(ROOT, "operators.jsonl.gz")
    with open(path, "wb") as out:
        out.write(gzip.compress(jsonl([open(HELD_OUT, encoding="utf-8").read()])))
    wrong = os.path.join(ROOT, "wrong.jsonl")
    with open(wrong, "w") as out:
        out.write('{"text": "a"}\n{"body": 1}\n')
    plans = []
    for text in (HELD_OUT, path, wrong):
        server = Server(calibration=text, evaluation=text)
        request = quick_job(MODELS.model("novella-1m"), evaluation={"length": 128})
        plans.append(server.json("POST", "/jobs?dry_run=true", request))
        server.stop()
    plain, packed = (plan["forecast"]["evaluation_tokens"] for plan in plans[:2])
    assert abs(packed - plain) < 0.05 * plain, (packed, plain)
    equal(plans[2]["possible"], False)
    equal([p["pointer"] for p in plans[2]["problems"]], ["/evaluation"])
    assert "line 2" in plans[2]["problems"][0]["detail"], plans[2]["problems"]


run_claims([documents_are_read_as_pythons_json_and_gzip_write_them, a_job_takes_json_lines_in_gzip_and_zstd_and_gives_the_bytes_of_the_text,
            the_ids_of_a_run_are_those_of_the_definitions_and_their_digest_is_recorded, within_documents_nothing_is_lost_in_silence,
            conversations_go_through_the_models_template_and_bring_one_bos, what_is_no_text_is_refused_by_name_and_line,
            a_text_that_is_not_there_is_named_by_its_field,
            a_packed_text_of_the_operators_is_planned_for_as_the_text_is])
