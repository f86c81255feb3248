"""The dashboard in a real browser: it lists jobs, follows one live, submits one from its form; nothing is logged as an error."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from browser import CHROMIUM, Browser  # noqa: E402
from harness import *  # noqa: E402,F403

STATE = {}


def the_page_lists_jobs_and_follows_one_to_its_result():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    root = temporary_folder()
    copy_model(root, "novella-1m")
    STATE["server"] = server = Server("--file-root", root)
    STATE["model"] = "file://" + os.path.join(root, "novella-1m")
    STATE["browser"] = browser = Browser()
    job = server.submit(quick_job(STATE["model"], name="seen <b>live</b>", calibration={"samples": 64, "length": 256}))
    browser.open(server.url + "/")
    browser.wait("document.getElementById('jobs').innerText.includes('seen <b>live</b>')")
    equal(browser.value("document.querySelectorAll('#jobs b').length"), 0, "names are text, never markup")
    browser.value("document.querySelector('#jobs a').click()")
    browser.wait("!document.getElementById('job').hidden")
    browser.wait("document.getElementById('layers').rows.length > 0", 120)
    browser.wait("document.getElementById('job-state').innerText == 'succeeded'", 240)
    browser.wait("document.getElementById('layers').rows.length == 42")
    result = server.json("GET", "/jobs/" + job)["result"]
    shown = browser.value("document.getElementById('job-result').innerText")
    assert "%.5g" % result["perplexity"]["quantized"] in shown, shown
    browser.wait("document.getElementById('job-files').innerText.includes('model.safetensors')")
    if os.environ.get("QUANTD_TEST_SCREENSHOT"):
        browser.screenshot(os.environ["QUANTD_TEST_SCREENSHOT"])


def a_job_is_shown_beside_another_text_by_text():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    server, browser, root = STATE["server"], STATE["browser"], os.path.dirname(STATE["model"][len("file://"):])
    shutil.copy(CALIBRATION, os.path.join(root, "other.txt"))
    evaluation = {"length": 64, "windows": 8, "also": ["file://" + os.path.join(root, "other.txt")]}
    jobs = [server.succeed(quick_job(STATE["model"], name="of %d bits" % bits, bits=bits, evaluation=evaluation)) for bits in (4, 3)]
    browser.open("about:blank")
    browser.open(server.url + "/#/jobs/" + jobs[1]["id"])
    browser.wait("document.querySelectorAll('table.texts tbody tr').length == 2")
    texts = browser.value("document.querySelector('table.texts').innerText")
    assert "evaluation-text" in texts and "other.txt" in texts and " ± " in texts, texts
    browser.wait("document.querySelector('#compare-with option[value=\"%s\"]') !== null" % jobs[0]["id"])
    browser.value("""(() => {
        const select = document.getElementById('compare-with');
        select.value = '%s';
        select.dispatchEvent(new Event('change', {bubbles: true}));
    })()""" % jobs[0]["id"])
    browser.wait("document.getElementById('compare-result').innerText.includes('more than chance')")
    ratio = server.json("GET", "/compare?jobs=%s,%s" % (jobs[0]["id"], jobs[1]["id"]))["evaluation"]["differences"][0]["perplexity_ratio"]
    assert "%.5g" % ratio in browser.value("document.getElementById('compare-result').innerText"), ratio
    # The list is asked for again every five seconds, and the job drawn again: what was chosen stays.
    browser.value("document.dispatchEvent(new Event('visibilitychange')); location.hash = location.hash")
    browser.wait("performance.getEntriesByType('resource').filter((e) => e.name.includes('/jobs?')).length >= 3")
    assert "more than chance" in browser.value("document.getElementById('compare-result').innerText")
    equal(browser.value("document.getElementById('compare-with').value"), jobs[0]["id"])
    browser.value("location.hash = '#/'")  # left and opened again, it can be compared again
    browser.wait("document.getElementById('job').hidden")
    browser.value("location.hash = '#/jobs/%s'" % jobs[1]["id"])
    browser.wait("document.querySelector('#compare-with option[value=\"%s\"]') !== null" % jobs[0]["id"])


def the_form_checks_a_job_before_it_is_made():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    server, browser = STATE["server"], STATE["browser"]
    before = len(server.json("GET", "/jobs")["data"])
    browser.open(server.url + "/")
    browser.wait("document.getElementById('field-model-url') !== null")
    browser.value("document.getElementById('new').open = true")
    browser.value("""(() => {
        const input = document.getElementById('field-model-url');
        input.value = %s;
        input.dispatchEvent(new Event('input', {bubbles: true}));
        document.getElementById('check').click();
        return true;
    })()""" % json.dumps(STATE["model"]))
    browser.wait("document.getElementById('plan').innerText.includes('42 layers')", 60)
    browser.wait("document.getElementById('plan').innerText.includes('loads in vLLM, transformers')")
    equal(len(server.json("GET", "/jobs")["data"]), before, "jobs")


def the_form_submits_a_job():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    server, browser = STATE["server"], STATE["browser"]
    before = len(server.json("GET", "/jobs")["data"])
    browser.open(server.url + "/")
    browser.wait("document.getElementById('field-model-url') !== null")
    browser.value("document.getElementById('new').open = true")
    assert browser.value("""(() => {
        const input = document.getElementById('field-model-url');
        input.value = %s;
        input.dispatchEvent(new Event('input', {bubbles: true}));
        document.querySelector('#form button[type=submit]').click();
        return true;
    })()""" % json.dumps(STATE["model"]))
    end = time.monotonic() + 30 * SLOW
    while len(server.json("GET", "/jobs")["data"]) == before:
        assert time.monotonic() < end, browser.value("document.getElementById('form').innerText")[:2000]
        time.sleep(0.1)
    job = server.json("GET", "/jobs")["data"][0]
    equal(job["request"]["model"] if isinstance(job["request"]["model"], str) else job["request"]["model"]["url"], STATE["model"])
    server.request("POST", "/jobs/%s/cancel" % job["id"])
    server.wait(job["id"])


def a_field_of_several_shapes_sends_the_one_that_was_chosen():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    browser = STATE["browser"]
    browser.open(STATE["server"].url + "/")
    browser.wait("document.getElementById('field-regularization-shape') !== null")
    choose = """((word) => {
        const select = document.getElementById('field-regularization-shape');
        select.value = [...select.options].find((option) => option.text === word).value;
        select.dispatchEvent(new Event('input', {bubbles: true}));
        return document.getElementById('preview').textContent;
    })(%s)"""
    equal(json.loads(browser.value(choose % json.dumps("auto")))["regularization"], "auto")
    assert "regularization" not in json.loads(browser.value(choose % json.dumps("spectral"))), "nothing was filled in"
    shown = browser.value("""(() => {
        const input = [...document.querySelectorAll('#field-regularization-shape ~ div:not([hidden]) input')][0];
        input.value = '0.001';
        input.dispatchEvent(new Event('input', {bubbles: true}));
        return document.getElementById('preview').textContent;
    })()""")
    equal(json.loads(shown)["regularization"], {"spectral": 0.001})


# Fills in fields by their pointers, as typed; a shape is chosen by its word.
FILL = """((values) => {
    const typed = (control, value) => {
        control.value = value;
        control.dispatchEvent(new Event('input', {bubbles: true}));
    };
    for (const [pointer, value] of values) {
        const id = 'field' + pointer.replaceAll('/', '-');
        const shape = document.getElementById(id + '-shape');
        if (shape) {
            typed(shape, [...shape.options].find((option) => option.text === value).value);
            continue;
        }
        const control = [...document.querySelectorAll('#' + id)].find((one) => !one.closest('[hidden]'));
        typed(control, control.tagName === 'SELECT' ? JSON.stringify(value) : value);
    }
    return document.getElementById('preview').textContent;
})(%s)"""


def press(browser, legend, word):
    browser.value("""((legend, word) => {
        const list = [...document.querySelectorAll('fieldset')].find((one) => one.querySelector('legend').textContent === legend);
        [...list.querySelectorAll('button')].find((button) => button.textContent === word).click();
    })(%s, %s)""" % (json.dumps(legend), json.dumps(word)))


def a_form_filled_in_everywhere_is_a_job_that_is_accepted():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    server, browser = STATE["server"], STATE["browser"]
    browser.open("about:blank")  # a fresh form
    browser.open(server.url + "/")
    browser.wait("document.getElementById('field-model-url') !== null")
    browser.value("document.getElementById('new').open = true")
    for _ in range(3):
        press(browser, "transforms", "Add")
    press(browser, "transforms", "Remove the last")
    want = {"model": {"url": STATE["model"]}, "effort": "fast", "bits": 2, "alphabet": {"levels": [-1, -0.25, 0.5, 1]},
            "transforms": [{"kind": "magr", "alpha": 0.02, "target": "weights"}, {"kind": "hadamard", "signs": "none"}],
            "scale": {"rule": "mse", "type": "f32"}, "mismatch": {"scope": "model", "shrink": 0.5, "residual": True},
            "refine": {"beam": 2, "coordinate_descent": 1, "refit_scales": True},
            "certified": False, "calibration": {"samples": 4, "length": 64, "first_position": "left-out"},
            "evaluation": {"length": 64, "windows": 1}}
    fill = [["/model/url", STATE["model"]], ["/effort", "fast"], ["/bits", 2], ["/alphabet/levels", "-1, -0.25 0.5, 1"],
            ["/transforms/0", "magr"], ["/transforms/0/alpha", "0.02"], ["/transforms/0/target", "weights"],
            ["/transforms/1", "hadamard"], ["/transforms/1/signs", "none"], ["/scale/rule", "mse"], ["/scale/type", "f32"],
            ["/mismatch/scope", "model"], ["/mismatch/shrink", "a number"], ["/mismatch/residual", True],
            ["/refine/beam", "2"], ["/refine/coordinate_descent", "1"], ["/refine/refit_scales", True], ["/certified", False],
            ["/calibration/samples", "4"], ["/calibration/length", "64"], ["/calibration/first_position", "left-out"],
            ["/evaluation/length", "64"], ["/evaluation/windows", "1"]]
    browser.value(FILL % json.dumps(fill))
    shown = browser.value("""(() => {
        const input = document.getElementById('field-mismatch-shrink');
        input.value = '0.5';
        input.dispatchEvent(new Event('input', {bubbles: true}));
        return document.getElementById('preview').textContent;
    })()""")
    equal(json.loads(shown), want, "what the form would send")

    submit = "document.querySelector('#form button[type=submit]').click()"
    browser.value(submit)  # the packed format holds neither turned weights nor levels: said where each was filled in
    browser.wait("document.getElementById('field-transforms-1-shape-error').innerText.includes(\"use format 'safetensors'\")")
    # The browser logs any answer of 422; this one was asked for.
    browser.complaints = [entry for entry in browser.complaints if "422" not in str(entry.get("text", "") if isinstance(entry, dict) else "")]

    press(browser, "format", "Add")
    press(browser, "format", "Add")
    browser.value(FILL % json.dumps([["/format/0", "safetensors"], ["/format/1", "safetensors:bf16"]]))
    before = len(server.json("GET", "/jobs")["data"])
    browser.value(submit)
    browser.wait("location.hash.startsWith('#/jobs/')")
    job = server.json("GET", "/jobs/" + browser.value("location.hash.slice(7)"))
    equal(len(server.json("GET", "/jobs")["data"]), before + 1)
    equal(job["request"], dict(want, format=["safetensors", "safetensors:bf16"]))
    equal([one["kind"] for one in job["resolved"]["transforms"]], ["magr", "hadamard"])
    equal(server.wait(job["id"])["state"], "succeeded")
    shown = browser.wait("document.getElementById('job-result').innerText.includes('KL from the source') && document.getElementById('job-result').innerText")
    for part in ("safetensors:f32", "safetensors:bf16", "Same likeliest token"):
        assert part in shown, shown
    gated = server.wait(server.submit(quick_job(STATE["model"], gate={"kl": 1e-9}, evaluation={"length": 64, "windows": 1})))
    equal(gated["state"], "quarantined")
    browser.value("location.hash = '#/jobs/%s'" % gated["id"])
    browser.wait("document.getElementById('job-problem').innerText.startsWith('Quarantined, not served: gate.kl')")


def a_service_with_keys_asks_for_one_and_forgets_it_at_the_logout():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    browser, server = STATE["browser"], Server("--file-root", os.path.dirname(STATE["model"][7:]))
    key = subprocess.run([QUANTD, "key", "create", "--state", server.state, "--name", "person", "--scopes", "jobs:read,jobs:write,artifacts:read"],
                         check=True, capture_output=True, text=True).stdout.strip()
    made = {"Authorization": "Bearer " + key}
    job = server.json("POST", "/jobs", quick_job(STATE["model"], name="behind a key"), want=202, headers=made)["id"]
    log_in = """((key) => {
        document.getElementById('login-key').value = key;
        document.querySelector('#login button[type=submit]').click();
        return true;
    })(%s)"""
    browser.open(server.url + "/#/jobs/" + job)
    browser.wait("!document.getElementById('login').hidden && document.querySelector('main').hidden")
    browser.value(log_in % json.dumps("qd_wrong"))
    browser.wait("document.getElementById('login-note').innerText.includes('not one of this service')")
    browser.value(log_in % json.dumps(key))
    browser.wait("document.getElementById('login').hidden && document.getElementById('jobs').innerText.includes('behind a key')")
    browser.wait("document.getElementById('job-state').innerText == 'succeeded'", 240)  # by its event stream, which has but the cookie
    browser.wait("document.getElementById('layers').rows.length == 42")
    equal(browser.value("document.cookie"), "", "out of the script's sight")
    equal(browser.value("JSON.stringify(Object.entries(localStorage)).includes('qd_')"), False)
    browser.open("about:blank")
    browser.open(server.url + "/")
    browser.wait("document.getElementById('jobs').innerText.includes('behind a key')")  # the session is still there
    browser.value("document.getElementById('logout').click()")
    browser.wait("!document.getElementById('login').hidden && document.querySelector('main').hidden")
    browser.open("about:blank")
    browser.open(server.url + "/")
    browser.wait("!document.getElementById('login').hidden")
    # The browser logs every answer of 401; these were asked for.
    browser.complaints = [entry for entry in browser.complaints if "401" not in str(entry.get("text", "") if isinstance(entry, dict) else "")]
    equal(server.stop(), 0)


def the_browser_has_nothing_to_complain_about():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    equal(STATE["browser"].complaints, [])
    STATE["browser"].stop()
    equal(STATE["server"].stop(), 0)


run_claims([the_page_lists_jobs_and_follows_one_to_its_result, a_job_is_shown_beside_another_text_by_text, the_form_checks_a_job_before_it_is_made, the_form_submits_a_job, a_field_of_several_shapes_sends_the_one_that_was_chosen,
            a_form_filled_in_everywhere_is_a_job_that_is_accepted,
            a_service_with_keys_asks_for_one_and_forgets_it_at_the_logout, the_browser_has_nothing_to_complain_about])
