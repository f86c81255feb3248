"""What deploy/ gives an operator is sound, and names nothing that does not exist. Other programs judge where they are installed."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403

DEPLOY = os.path.join(SOURCE, "deploy")
UNIT = os.path.join(os.path.dirname(os.path.abspath(QUANTD)), "deploy", "systemd", "quantd.service")
EXPOSURE_MAX = 20  # tenths; 2.0 of 10
SERVER = Server()


def text_of(*path):
    with open(os.path.join(DEPLOY, *path)) as file:
        return file.read()


def judge(command, folder=None):
    """Runs another program, which must be satisfied; skips where it is not installed."""
    if shutil.which(command[0]) is None:
        raise Skip("%s is not installed" % command[0])
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * SLOW)
    assert done.returncode == 0, "%s: %s" % (command, done.stdout.decode())
    return done.stdout.decode()


def unit_of_this_binary():
    folder = temporary_folder()
    with open(UNIT) as file:
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=" + os.path.abspath(QUANTD), file.read())
    path = os.path.join(folder, "quantd.service")
    with open(path, "w") as out:
        out.write(text)
    return path


def the_unit_is_sound():
    if os.geteuid() != 0:
        raise Skip("systemd-analyze verify reads what only root may")
    path = unit_of_this_binary()
    out = judge(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path])
    assert "quantd.service" not in out, out


def the_unit_exposes_little():
    out = judge(["systemd-analyze", "security", "--offline=yes", "--threshold=%d" % EXPOSURE_MAX, unit_of_this_binary()])
    print("# " + re.search(r"Overall exposure level.*", out).group(0).encode("ascii", "ignore").decode())


def the_unit_lets_a_run_fence_itself_in():
    """The allow-list of system calls holds what a run needs, and no later line takes it away."""
    allowed = set()
    for sign, names in re.findall(r"(?m)^SystemCallFilter=(~?)(.*)$", open(UNIT).read()):
        allowed = allowed - set(names.split()) if sign else allowed | set(names.split())
    for name in ("seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "@system-service"):
        assert name in allowed, name + " is not allowed"
    assert "Delegate=yes" in open(UNIT).read() and "LimitNOFILE=16384" in open(UNIT).read()


def user_and_folders_are_made():
    if os.geteuid() != 0:
        raise Skip("needs root")
    root = temporary_folder()
    for kind in ("sysusers.d", "tmpfiles.d"):
        os.makedirs(os.path.join(root, "usr", "lib", kind))
        shutil.copy(os.path.join(DEPLOY, "systemd", kind, "quantd.conf"), os.path.join(root, "usr", "lib", kind))
    os.makedirs(os.path.join(root, "etc"))
    os.makedirs(os.path.join(root, "var", "lib"))
    judge(["systemd-sysusers", "--root=" + root])
    assert re.search(r"(?m)^quantd:", open(os.path.join(root, "etc", "passwd")).read())
    judge(["systemd-tmpfiles", "--root=" + root, "--create", "--prefix=/var/lib/quantd", "--prefix=/etc/quantd"])
    equal(os.stat(os.path.join(root, "var", "lib", "quantd")).st_mode & 0o777, 0o750)


def options():
    out = subprocess.run([QUANTD, "serve", "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return set(re.findall(r"(?m)^\s+--([a-z0-9-]+)", out))


def the_example_configuration_is_taken_and_its_comments_are_options():
    named = re.findall(r"(?m)^#?([a-z][a-z0-9-]*) = ", text_of("quantd.conf"))
    assert len(named) > 8 and set(named) <= options(), set(named) - options()
    own = Server("--config", os.path.join(DEPLOY, "quantd.conf"))
    equal(own.request("GET", "/livez")[0], 200)
    equal(own.stop(), 0)


def alerts_are_sound_and_sound_when_they_should():
    folder = temporary_folder()
    for path in (os.path.join(DEPLOY, "prometheus", "prometheus.yml"), os.path.join(DEPLOY, "prometheus", "quantd.rules.yml"),
                 os.path.join(SOURCE, "tests", "deploy", "alerts.yml")):
        shutil.copy(path, folder)
    judge(["promtool", "check", "config", "prometheus.yml"], folder)
    judge(["promtool", "test", "rules", "alerts.yml"], folder)


def metrics_of_the_service():
    """Names a query may hold; those whose first sample comes with the first job or request are declared all the same."""
    text = SERVER.request("GET", "/metrics")[2].decode()
    names = set()
    for name, kind in re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text):
        names |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    assert len(names) > 15, text
    return names


def only_metrics_that_exist_are_asked_for():
    known = metrics_of_the_service()
    for path in (("prometheus", "quantd.rules.yml"), ("grafana", "quantd.json"), ("RUNBOOK.md",)):
        named = set(re.findall(r"\bquantd_[a-z0-9_]+\b", text_of(*path))) - {"quantd_requests", "quantd_connections"}
        assert named and named <= known, "%s: %s" % (path, sorted(named - known))


def the_dashboard_is_one_that_grafana_takes():
    board = json.loads(text_of("grafana", "quantd.json"))
    for key in ("uid", "title", "schemaVersion", "panels", "templating", "time"):
        assert key in board, key
    panels = board["panels"]
    equal(len({p["id"] for p in panels}), len(panels), "ids")
    taken, queries = set(), []
    for panel in panels:
        at = panel["gridPos"]
        assert panel["type"] in ("stat", "timeseries") and panel["title"] and panel["targets"], panel
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"] + " lies on another panel"
        taken |= cells
        queries += [target["expr"].replace("$instance", ".*") for target in panel["targets"]]
    folder = temporary_folder()
    with open(os.path.join(folder, "queries.yml"), "w") as out:
        json.dump({"groups": [{"name": "q", "rules": [{"record": "q:q%d" % i, "expr": q} for i, q in enumerate(queries)]}]}, out)
    judge(["promtool", "check", "rules", "queries.yml"], folder)


def every_alert_has_its_row_in_the_runbook_and_every_row_its_alert():
    alerts = set(re.findall(r"- alert: (\w+)", text_of("prometheus", "quantd.rules.yml")))
    table = text_of("RUNBOOK.md").split("## Alerts")[1].split("\n## ")[0]
    rows = set(re.findall(r"\bQuantd[A-Z]\w+", "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))))
    equal(rows, alerts)


def code_of_the_runbook():
    text = text_of("RUNBOOK.md")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines() if line.strip()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def every_request_of_the_runbook_has_a_route():
    document = json.loads(SERVER.request("GET", "/openapi.json")[2])
    seen = 0
    for line in code_of_the_runbook():
        for method, path in re.findall(r"curl -s (?:-X (\w+) )?'?localhost:8080(/[^\s'?]*)", line):
            pattern = path.replace("/ID", "/{id}")
            assert pattern in document["paths"], line
            assert (method or "get").lower() in document["paths"][pattern], line
            status = SERVER.request(method or "GET", path.replace("/ID", "/" + "0" * 26))[0]
            assert status in (200, 404), "%s: %d" % (line, status)
            seen += 1
    assert seen > 8, "only %d requests were found" % seen


def every_verb_and_option_of_the_runbook_exists():
    verbs = re.findall(r"(?m)^  ([a-z]+) ", subprocess.run([QUANTD, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode())
    known, seen = options(), 0
    for line in code_of_the_runbook():
        found = re.match(r"quantd ([a-z]+)(.*)", line)
        if found:
            assert found.group(1) in verbs, line
            help_text = subprocess.run([QUANTD, found.group(1), "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
            word = re.match(r" ([a-z]+)", found.group(2))
            if word and re.search(r"(?m)^  %s %s " % (found.group(1), word.group(1)), help_text):  # `key create`: a verb below a verb
                help_text = subprocess.run([QUANTD, found.group(1), word.group(1), "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
            for flag in re.findall(r"--[a-z-]+", found.group(2)):
                assert flag in help_text, line
            seen += 1
        if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", line) and line not in ("request-id", "out-of-memory"):
            assert line in known, "%s is no option of serve" % line
            seen += 1
    assert seen > 8, "only %d were found" % seen


run_claims([the_unit_is_sound, the_unit_exposes_little, the_unit_lets_a_run_fence_itself_in, user_and_folders_are_made,
            the_example_configuration_is_taken_and_its_comments_are_options, alerts_are_sound_and_sound_when_they_should,
            only_metrics_that_exist_are_asked_for, the_dashboard_is_one_that_grafana_takes,
            every_alert_has_its_row_in_the_runbook_and_every_row_its_alert, every_request_of_the_runbook_has_a_route,
            every_verb_and_option_of_the_runbook_exists])
