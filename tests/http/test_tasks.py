"""Zero-shot tasks of a job, by HTTP and by hand; log-likelihoods by another way: texts put together here, `quantd tokenize`, `quantd logits`."""
import json
import math
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

TASKS = os.path.join(SOURCE, "tests", "tasks")
NAMES = ["arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "openbookqa", "boolq", "copa", "lambada_openai"]
ROOT = temporary_folder()
MODEL = copy_model(ROOT, "novella-1m")
for name in ("boolq.jsonl", "piqa.jsonl"):
    os.makedirs(os.path.join(ROOT, "lines"), exist_ok=True)
    shutil.copy(os.path.join(TASKS, name), os.path.join(ROOT, "lines", name))
with open(os.path.join(ROOT, "lines", "bad.jsonl"), "w") as bad:
    bad.write('{"query":"Question: q","choices":["a","b"],"gold":1}\n\n{"query":"Question: q","choices":["a"],"gold":0}\n')
MODELS = ModelServer(ROOT)
SERVER = Server("--evaluation-tasks", TASKS)
STATE = {}


def lines(name):
    with open(os.path.join(TASKS, name + ".jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def verb(*words, given=None, want=0):
    done = subprocess.run([QUANTD] + list(words), input=given, capture_output=True, text=True, timeout=120 * SLOW)
    equal(done.returncode, want, "%s: %s" % (" ".join(words), done.stderr))
    return done


def details(*wishes):
    """A line an example, from quantd eval."""
    path = os.path.join(temporary_folder(), "details.jsonl")
    flags = [word for wish in wishes for word in ("--task", wish)]
    found = json.loads(verb("eval", os.path.join(ROOT, "novella-1m"), "--threads", "1", "--details", path, *flags).stdout)
    with open(path) as file:
        return found["tasks"], [json.loads(line) for line in file]


def tokenize(texts):
    given = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    done = verb("tokenize", os.path.join(ROOT, "novella-1m"), "--special", given=given)
    return [json.loads(line)["ids"] for line in done.stdout.splitlines()]


def logits(ids):
    """Rows of float32 logits of one sequence."""
    folder = temporary_folder()
    source, target = os.path.join(folder, "ids.safetensors"), os.path.join(folder, "logits.safetensors")
    write_safetensors(source, {"input_ids": ("I64", [1, len(ids)], struct.pack("<%dq" % len(ids), *ids))})
    verb("logits", os.path.join(ROOT, "novella-1m"), "--ids", source, "--out", target)
    with open(target, "rb") as file:
        _, shape, data = read_safetensors(file.read())["logits"]
    width = shape[2]
    values = struct.unpack("<%df" % (len(ids) * width), data)
    return [values[i * width:(i + 1) * width] for i in range(len(ids))]


def likelihood(context, continuation):
    whole, alone = tokenize([context + continuation, context.rstrip()])
    rows, total, greedy = logits(whole), 0.0, True
    for t in range(len(alone), len(whole)):
        row = rows[t - 1]
        top = max(row)
        total += row[whole[t]] - top - math.log(math.fsum(math.exp(v - top) for v in row))
        greedy = greedy and row.index(top) == whole[t]
    return total, greedy


def likelihoods_are_those_of_texts_put_together_here():
    _, found = details("arc_easy=%s/arc_easy.jsonl:2" % TASKS, "winogrande=%s/winogrande.jsonl:1" % TASKS,
                       "lambada_openai=%s/lambada_openai.jsonl:2" % TASKS)
    asked = [[(one["query"] + "\nAnswer:", " " + choice) for choice in one["choices"]] for one in lines("arc_easy")[:2]]
    asked += [[(context, " " + one["continuation"]) for context in one["context_options"]] for one in lines("winogrande")[:1]]
    first, second = lines("lambada_openai")[:2]
    asked += [[(first["context"], " " + first["continuation"])], [tuple(second["text"].rsplit(" ", 1))]]
    asked[-1] = [(asked[-1][0][0], " " + asked[-1][0][1])]
    equal(len(found), len(asked))
    for one, pairs in zip(found, asked):
        want = [likelihood(*pair) for pair in pairs]
        close(one["log_p"], [value for value, _ in want], 2e-5, one["task"])
        equal(one["greedy"], [greedy for _, greedy in want], one["task"])
        best = max(range(len(want)), key=lambda k: want[k][0])
        equal(one["acc"], float(want[0][1] if len(want) == 1 else best == one["gold"]), one["task"])


def close(got, want, relative, what):
    equal(len(got), len(want), what)
    for a, b in zip(got, want):
        assert abs(a - b) <= relative * abs(b), "%s: %r, want %r" % (what, a, b)


def one_measurement_of_all_tasks_is_each_alone():
    together, all_lines = details(*["%s=%s/%s.jsonl" % (name, TASKS, name) for name in NAMES])
    equal([one["task"] for one in together], NAMES)
    for one in together:
        mine = [line for line in all_lines if line["task"] == one["task"]]
        equal(len(mine), one["examples"])
        for metric, figures in one["metrics"].items():
            if metric == "perplexity":
                numbers = [line["log_p"][0] for line in mine]
                close([figures["model"]["value"]], [math.exp(-sum(numbers) / len(numbers))], 1e-8, metric)
                continue
            numbers = [line[metric] for line in mine]
            mean = sum(numbers) / len(numbers)
            error = math.sqrt(sum((n - mean) ** 2 for n in numbers) / (len(numbers) - 1) / len(numbers))
            assert abs(figures["model"]["value"] - mean) < 1e-9 and abs(figures["model"]["standard_error"] - error) < 1e-9, (one, numbers)
    alone, _ = details("boolq=%s/boolq.jsonl" % TASKS)
    equal(alone[0], together[NAMES.index("boolq")])


def evaluation(*tasks):
    return {"length": 64, "windows": 1, "tasks": list(tasks)}


def a_job_takes_the_operators_examples_and_those_of_a_url():
    wanted = evaluation("arc_easy", {"task": "lambada_openai", "examples": 3}, {"task": "boolq", "data": MODELS.url + "/files/lines/boolq.jsonl"})
    job = STATE["job"] = SERVER.succeed(quick_job(MODELS.model("novella-1m"), evaluation=wanted))
    tasks = job["result"]["tasks"]
    equal([(one["task"], one["examples"]) for one in tasks], [("arc_easy", 6), ("lambada_openai", 3), ("boolq", 3)])
    own, _ = details("arc_easy=%s/arc_easy.jsonl" % TASKS, "lambada_openai=%s/lambada_openai.jsonl:3" % TASKS, "boolq=%s/boolq.jsonl" % TASKS)
    for one, alone in zip(tasks, own):
        equal(one["data_sha256"], alone["data_sha256"])
        for metric, figures in one["metrics"].items():
            close([figures["source"]["value"]], [alone["metrics"][metric]["model"]["value"]], 1e-8, metric)
            equal(sorted(figures), ["difference", "quantized", "rtn", "source"])
            close([figures["difference"]["value"] + figures["source"]["value"]], [figures["quantized"]["value"]], 1e-9, metric)
    equal(job["resolved"]["evaluation"]["tasks"][1], {"task": "lambada_openai", "examples": 3, "data": None})


def manifest_card_and_provenance_say_it():
    job = STATE["job"]
    manifest = SERVER.json("GET", "/jobs/%s/artifacts" % job["id"])
    equal(manifest["tasks"], job["result"]["tasks"])
    card = SERVER.artifact(job["id"])["README.md"].decode()
    assert "| boolq | acc |" in card and "| lambada_openai | perplexity |" in card, card
    provenance = json.loads(SERVER.request("GET", "/jobs/%s/artifacts/provenance.json" % job["id"])[2])
    names = {one["name"]: one["digest"]["sha256"] for one in provenance["predicate"]["buildDefinition"]["resolvedDependencies"]}
    equal(names["examples of boolq"], job["result"]["tasks"][2]["data_sha256"])


def jobs_are_compared_by_their_tasks():
    other = SERVER.succeed(quick_job(MODELS.model("novella-1m"), bits=2, evaluation=evaluation("boolq")))
    rows = {row["name"]: row["values"] for row in SERVER.json("GET", "/compare?jobs=%s,%s" % (STATE["job"]["id"], other["id"]))["results"]}
    first, second = STATE["job"]["result"]["tasks"], other["result"]["tasks"]
    equal(rows["boolq acc"], [first[2]["metrics"]["acc"]["quantized"]["value"], second[0]["metrics"]["acc"]["quantized"]["value"]])
    equal(rows["arc_easy acc_norm, difference from the source"], [first[0]["metrics"]["acc_norm"]["difference"]["value"], None])
    equal(rows["lambada_openai perplexity of the source"][1], None)
    assert not any(name.startswith("piqa") for name in rows), rows


def what_cannot_be_had_is_refused_with_the_field():
    def refused(server, tasks, pointer, *parts):
        body = quick_job(MODELS.model("novella-1m"), evaluation=evaluation(*tasks))
        problem = server.json("POST", "/jobs", body, want=422)
        equal(problem["errors"][0]["pointer"], pointer)
        for part in parts:
            assert part in problem["errors"][0]["detail"], problem
    refused(SERVER, ["arc"], "/evaluation/tasks/0", "'arc' is not in arc_easy, arc_challenge,")
    refused(SERVER, ["piqa", {"task": "boolq", "data": "ftp://h/x"}], "/evaluation/tasks/1/data", "ftp")
    refused(SERVER, ["piqa", {"task": "boolq", "data": "file:///etc/passwd"}], "/evaluation/tasks/1/data")
    bare = Server()
    refused(bare, ["piqa"], "/evaluation/tasks/0", "'piqa' has no examples", "evaluation-tasks")
    bare.stop()
    SERVER.fail(quick_job(MODELS.model("novella-1m"), evaluation=evaluation({"task": "arc_easy", "data": MODELS.url + "/files/lines/bad.jsonl"})),
                "task 'arc_easy': line 3: field 'choices': 1 strings; wanted are 2 to 16")
    SERVER.fail(quick_job(MODELS.model("novella-1m"), evaluation=evaluation({"task": "piqa", "data": MODELS.url + "/files/lines/none.jsonl"})),
                "evaluation.tasks: 'piqa'")


def a_dry_run_counts_them():
    def seconds(*tasks):
        plan = SERVER.json("POST", "/jobs?dry_run=true", quick_job(MODELS.model("novella-1m"), evaluation=evaluation(*tasks)))
        equal(plan["possible"], True)
        return plan["forecast"]["seconds"]["evaluating"]
    none, some, guessed = seconds(), seconds("arc_easy"), seconds({"task": "arc_easy", "data": MODELS.url + "/files/lines/x.jsonl"})
    assert none < some < guessed, (none, some, guessed)


def the_command_line_says_what_it_wants():
    model = os.path.join(ROOT, "novella-1m")
    for words, part in ((["--task", "piqa"], "NAME=FILE"), (["--task", "pika=x"], "'pika' is not in arc_easy"),
                        (["--task", "piqa=/nowhere"], "piqa"), (["--task", "piqa=x:0"], "1 or more"), (["--details", "x"], "--task")):
        done = subprocess.run([QUANTD, "eval", model] + words, capture_output=True, text=True)
        assert done.returncode != 0 and part in done.stderr, (words, done.stderr)


def the_server_stops_cleanly():
    equal(SERVER.stop(), 0)


run_claims([likelihoods_are_those_of_texts_put_together_here,
            one_measurement_of_all_tasks_is_each_alone,
            a_job_takes_the_operators_examples_and_those_of_a_url,
            manifest_card_and_provenance_say_it,
            jobs_are_compared_by_their_tasks,
            what_cannot_be_had_is_refused_with_the_field,
            a_dry_run_counts_them,
            the_command_line_says_what_it_wants,
            the_server_stops_cleanly])
