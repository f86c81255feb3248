"""The dashboard over time: a service that restarts under it, cancel, retry, download, ten thousand jobs; no error, no violation of its policy."""
import os
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from browser import CHROMIUM, Browser  # noqa: E402
from harness import *  # noqa: E402,F403

STATE = {}
JOBS = 10000


def ready():
    if CHROMIUM is None:
        raise Skip("chromium is not installed")
    if "server" not in STATE:
        root = temporary_folder()
        copy_model(root, "novella-1m")
        STATE["root"], STATE["model"] = root, "file://" + os.path.join(root, "novella-1m")
        STATE["server"] = Server("--file-root", root)
        STATE["browser"] = Browser()
        STATE["browser"].call("Page.addScriptToEvaluateOnNewDocument", source="window.violations = [];"
                              "document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective + ' ' + event.blockedURI));")
    return STATE["server"], STATE["browser"]


def long_job(**fields):
    return quick_job(STATE["model"], algorithm="qronos", effort="best", calibration={"samples": 512, "length": 512}, **fields)


def text_of(browser, name):
    return browser.value("document.getElementById(%s).innerText" % json.dumps(name))


def shows(browser, name, part, seconds=60):
    browser.wait("document.getElementById(%s).innerText.includes(%s)" % (json.dumps(name), json.dumps(part)), seconds)


def click(browser, name, word):
    """Found and pressed in one step: events draw the buttons anew."""
    browser.wait("""((name, word) => {
        const found = [...document.querySelectorAll('#' + name + ' button')].find((button) => button.textContent === word && !button.disabled);
        if (found) found.click();
        return found !== undefined;
    })(%s, %s)""" % (json.dumps(name), json.dumps(word)))


def forget_lost_connections(browser):
    """The browser itself logs every request that found nobody; there was a restart. All else is kept."""
    browser.complaints = [one for one in browser.complaints if "net::ERR_" not in json.dumps(one)]


def a_job_is_shown_with_tags_priority_and_signs_of_life():
    server, browser = ready()
    job = STATE["job"] = server.submit(long_job(name="long", tags={"team": "red", "plain": ""}, priority=70))
    browser.open(server.url + "/#/jobs/" + job)
    for part in ("priority 70", "team=red", "plain"):
        shows(browser, "job-facts", part)
    shows(browser, "jobs", "team=red")
    shows(browser, "job-life", "last sign of life")
    shows(browser, "job-progress", "quantizing", 120)


def the_stream_goes_on_after_a_restart_of_the_service():
    server, browser = ready()
    seen = browser.wait("document.getElementById('layers').rows.length", 120)
    assert server.json("GET", "/jobs/" + STATE["job"])["state"] not in FINAL, "the job is too short for this test"
    equal(server.stop(), 0)
    keeper = kept_port(server.port)
    shows(browser, "job-note", "connection lost")
    STATE["server"] = server = Server("--file-root", STATE["root"], "--listen", "127.0.0.1:%d" % server.port, state=server.state)
    keeper.close()
    browser.wait("document.getElementById('job-note').innerText === ''", 90)
    browser.wait("document.getElementById('layers').rows.length > %d" % seen, 120)
    names = browser.value("[...document.getElementById('layers').rows].map((row) => row.cells[0].textContent)")
    equal(len(names), len(set(names)), "a layer is shown once")
    shows(browser, "service", "connected")
    forget_lost_connections(browser)


def cancel_and_retry_are_a_button_each():
    server, browser = ready()
    click(browser, "job-actions", "Cancel")
    browser.wait("document.getElementById('job-state').innerText == 'cancelled'")
    equal(server.wait(STATE["job"])["state"], "cancelled")
    equal(text_of(browser, "job-life"), "")
    click(browser, "job-actions", "Retry")
    browser.wait("document.getElementById('job-state').innerText != 'cancelled'")
    shows(browser, "job-facts", "attempt ", 60)
    click(browser, "job-actions", "Cancel")
    equal(server.wait(STATE["job"])["state"], "cancelled")


def a_file_of_the_artifact_is_downloaded_whole():
    server, browser = ready()
    job = server.succeed(quick_job(STATE["model"], name="small"))["id"]
    browser.value("location.hash = '#/jobs/%s'" % job)
    shows(browser, "job-files", "model.safetensors")
    folder = temporary_folder()
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=folder)
    browser.value("[...document.querySelectorAll('#job-files a')].find((link) => link.textContent === 'model.safetensors').click()")
    want = server.artifact(job)["model.safetensors"]
    path, end = os.path.join(folder, "model.safetensors"), time.monotonic() + 60 * SLOW
    while not os.path.exists(path) or os.path.getsize(path) < len(want):
        assert time.monotonic() < end, os.listdir(folder)
        time.sleep(0.05)
    equal(open(path, "rb").read() == want, True, "bytes")


def a_failure_says_where_it_happened():
    server, browser = ready()
    job = server.submit(quick_job("file://" + os.path.join(STATE["root"], "nowhere") + "/"))
    equal(server.wait(job)["state"], "failed")
    browser.value("location.hash = '#/jobs/%s'" % job)
    shows(browser, "job-problem", "nowhere")
    shows(browser, "job-problem", "(while downloading)")


def copies_of(state, job, count):
    """`count` jobs more, older than all there are, as the database holds finished ones."""
    with sqlite3.connect(os.path.join(state, "quantd.db")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(job)")]
        chosen = ",".join("'0' || substr('0000000000000000000000000' || n, -25)" if c == "id" else "'copy ' || n" if c == "name" else
                          "CASE n % 4 WHEN 0 THEN 'failed' ELSE state END" if c == "state" else c for c in columns)
        database.execute("WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < ?) INSERT INTO job (%s) SELECT %s FROM counter, job WHERE job.id = ?"
                         % (",".join(columns), chosen), (count, job))
    database.close()


def ten_thousand_jobs_are_listed_as_they_are_scrolled_to_and_filtered():
    server, browser = ready()
    job = server.succeed(quick_job(STATE["model"], name="the newest"))["id"]
    equal(server.stop(), 0)
    copies_of(server.state, job, JOBS)
    STATE["server"] = server = Server("--file-root", STATE["root"], state=server.state)
    forget_lost_connections(browser)
    browser.open(server.url + "/")
    browser.wait("document.getElementById('jobs').children.length === 50")
    shows(browser, "list-note", "50 newest jobs")
    equal(browser.value("document.querySelector('#jobs .name').textContent"), "the newest")
    for rows in (100, 150, 200):
        browser.value("window.scrollTo(0, document.body.scrollHeight)")
        browser.wait("document.getElementById('jobs').children.length >= %d" % rows)
    titles = browser.value("[...document.querySelectorAll('#jobs li')].map((item) => item.dataset.id)")
    equal(titles, sorted(set(titles), reverse=True), "newest first, each once")
    browser.value("window.scrollTo(0, 0)")
    fresh = server.submit(quick_job(STATE["model"], name="while it was scrolled"))
    browser.wait("document.querySelector('#jobs .name').textContent === 'while it was scrolled'", 30)
    assert browser.value("document.getElementById('jobs').children.length") >= 200, "what was loaded stays"
    server.wait(fresh)
    browser.value("(() => { const s = document.getElementById('filter'); s.value = 'failed'; s.dispatchEvent(new Event('change')); })()")
    browser.wait("document.getElementById('jobs').children.length === 50 && [...document.querySelectorAll('#jobs .state')].every((one) => one.textContent === 'failed')")
    browser.value("(() => { const s = document.getElementById('filter'); s.value = ''; s.dispatchEvent(new Event('change'));"
                  "const q = document.getElementById('search'); q.value = 'copy 4711'; q.dispatchEvent(new Event('input')); })()")
    browser.wait("document.getElementById('jobs').children.length === 1 && document.querySelector('#jobs .name').textContent === 'copy 4711'")
    shows(browser, "list-note", "1 job")
    if os.environ.get("QUANTD_TEST_SCREENSHOT"):
        browser.screenshot(os.environ["QUANTD_TEST_SCREENSHOT"])


def nothing_was_complained_about_and_the_policy_held():
    server, browser = ready()
    equal(browser.value("window.violations"), [])
    forget_lost_connections(browser)
    equal(browser.complaints, [])
    policy = server.request("GET", "/")[1]["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self';", "frame-ancestors 'none'"):
        assert part in policy and "unsafe" not in policy, policy
    browser.stop()
    equal(server.stop(), 0)


run_claims([a_job_is_shown_with_tags_priority_and_signs_of_life, the_stream_goes_on_after_a_restart_of_the_service, cancel_and_retry_are_a_button_each,
            a_file_of_the_artifact_is_downloaded_whole, a_failure_says_where_it_happened,
            ten_thousand_jobs_are_listed_as_they_are_scrolled_to_and_filtered, nothing_was_complained_about_and_the_policy_held])
