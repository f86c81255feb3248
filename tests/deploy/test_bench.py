"""deploy/bench --quick writes a table with every member, whatever is installed; ratios and goals mean what README.md says. No time is judged."""
import os
import sys
import xml.dom.minidom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "bench"), os.path.join(HERE, "..", "http")]
import report  # noqa: E402
import rows  # noqa: E402
from harness import *  # noqa: E402,F403

EVERY = ("name", "value", "unit", "peer", "peer_value", "ratio", "objective", "peer_objective", "part", "goal", "met")


def bench(*words, status=0):
    out = os.path.join(temporary_folder(), "report")
    environment = {key: value for key, value in os.environ.items() if key != "QUANTD_PEERS"}
    done = subprocess.run([os.path.join(SOURCE, "deploy", "bench"), "--quick", "--threads", "1", "--out", out, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=dict(environment, QUANTD=os.path.abspath(QUANTD)), timeout=60 * SLOW)
    equal(done.returncode, status, done.stdout.decode())
    return out, done.stdout.decode()


def read(out):
    with open(os.path.join(out, "bench.json"), encoding="utf-8") as file:
        return json.load(file)


def a_quick_run_writes_every_member():
    out, _ = bench("job", "peers")
    whole = read(out)
    assert whole["machine"]["processors"] >= 1 and whole["machine"]["processor"], whole["machine"]
    for row in whole["results"]:
        assert all(member in row for member in EVERY), row
        assert row["value"] is not None or row["note"].startswith("not measured: "), row
    names = [row["name"] for row in whole["results"]]
    equal(len(set(names)), len(names), "rows of one name")
    found = {row["name"]: row for row in whole["results"]}
    for algorithm in ("optq", "qronos"):
        assert found["job %s" % algorithm]["value"] > 0 and found["job %s" % algorithm]["objective"] > 1, found
        assert found["job %s, peak memory" % algorithm]["unit"] == "bytes", found


def what_is_missing_is_a_row_that_says_why():
    out, _ = bench("peers", "layer", "--peers", os.path.join(temporary_folder(), "nothing"))
    found = {row["name"]: row for row in read(out)["results"]}
    for name in ("brevitas", "gptqmodel", "llmcompressor"):
        assert "not installed" in found["job optq beside " + name]["note"], found
    assert found["layer"]["value"] is None and "brevitas" in found["layer"]["note"], found
    assert "not installed" in open(os.path.join(out, "report.md"), encoding="utf-8").read()


def an_unknown_part_is_refused_with_those_that_are_known():
    _, said = bench("jobs", status=2)
    assert "unknown part 'jobs'" in said and "products" in said and "peers" in said, said


def row(unit, value, peer_value, **more):
    return rows.row_of(json.dumps(dict({"name": "a", "value": value, "unit": unit, "peer_value": peer_value}, **more)), "part")


def a_ratio_is_how_many_times_better():
    equal(row("s", 2.0, 8.0)["ratio"], 4.0)
    equal(row("bytes", 8.0, 2.0)["ratio"], 0.25)
    equal(row("GF/s", 8.0, 2.0)["ratio"], 4.0)
    equal(row("s", 2.0, 8.0, ratio=3.5)["ratio"], 3.5)  # a median of ratios is kept
    equal(row("s", None, 8.0)["ratio"], None)
    equal(rows.row_of("sgemm 100 GF/s", "part"), None)
    equal(rows.row_of('{"machine": "a processor"}', "part"), None)
    try:
        row("furlongs", 1, 1)
    except ValueError as error:
        assert "furlongs" in str(error), error
    else:
        raise AssertionError("an unknown unit was taken")


def a_goal_is_met_or_missed_or_unknown():
    for unit, value, peer, goal, want in (
            ("s", 2.0, 8.0, {"ratio": 4}, True), ("s", 2.0, 7.0, {"ratio": 4}, False), ("s", 44.0, None, {"value": 45}, True),
            ("s", 46.0, None, {"value": 45}, False), ("%", 76.0, None, {"value": 75}, True), ("%", 74.0, None, {"value": 75}, False),
            ("s", None, None, {"value": 45}, None), ("s", 2.0, None, {"ratio": 4}, None), ("GF/s", 8.0, 2.0, {"ratio": 4, "objective": 1e-6}, None)):
        equal(rows.is_met(row(unit, value, peer, goal=goal)), want, (unit, value, peer, goal))
    equal(rows.is_met(row("GF/s", 8.0, 2.0, objective=1e-5, goal={"ratio": 4, "objective": 1e-6})), False)


def plots_are_drawings_with_every_row():
    points = [dict(row("s", value, None), name="p", plot={"chart": "growth <in> tokens", "series": series, "x": x, "x_unit": "tokens"})
              for series in ("optq", "qronos") for x, value in ((1024, 0.5), (2048, 1.1), (4096, 2.0))]
    bars = [dict(row("s", 1.0, peer), name="beside & %g" % peer, goal={"ratio": 4}) for peer in (0.1, 1.0, 40.0)]
    drawn = {name: picture for _, name, _, picture in report.plots(points + bars)}
    equal(sorted(drawn), ["growth-1.svg", "part-ratios.svg"])
    for picture in drawn.values():
        xml.dom.minidom.parseString(picture)
    equal(drawn["growth-1.svg"].count("<circle"), 6)
    equal(drawn["growth-1.svg"].count("<polyline"), 2)
    equal(drawn["part-ratios.svg"].count("<rect"), 1 + len(bars))


run_claims([a_quick_run_writes_every_member, what_is_missing_is_a_row_that_says_why, an_unknown_part_is_refused_with_those_that_are_known,
            a_ratio_is_how_many_times_better, a_goal_is_met_or_missed_or_unknown, plots_are_drawings_with_every_row])
