"""browser.py: Chromium, driven by the tests of the dashboard."""
import base64
import os
import select
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1000", "--remote-debugging-pipe"]


class Browser:
    """Chromium driven over its debugging pipe: JSON messages that end with NUL, in on descriptor 3, out on 4."""

    def __init__(self):
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()
        # The shell moves the pipes' ends to the descriptors that the browser looks at.
        self.process = subprocess.Popen(
            ["sh", "-c", 'exec 3<&%d 4>&%d; exec "$@"' % (to_read, back_write), "sh", CHROMIUM] + FLAGS +
            ["--user-data-dir=" + temporary_folder(), "about:blank"],
            pass_fds=[to_read, back_write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.stop)
        os.close(to_read)
        os.close(back_write)
        self.number, self.buffer, self.complaints = 0, b"", []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def read(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.back], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self.back, 1 << 16)
            assert data, "the browser has ended"
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.read(60 * SLOW)
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]
            self.hear(reply)

    def hear(self, event):
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"])
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"])
        if event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.complaints.append(parameters["args"])

    def value(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script, seconds=60):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            found = self.value(script)
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError("never true: %s; the page says: %s" % (script, self.value("document.body.innerText")[:1500]))

    def open(self, url):
        """Another document, unless only what follows the # is another: the one that was there may have the same address, and answers until it goes."""
        self.value("window.leaving = true")
        left = "!window.leaving && " if "loaderId" in self.call("Page.navigate", url=url) else ""
        self.wait(left + "document.readyState == 'complete' && location.href == %s" % json.dumps(url))

    def screenshot(self, path):
        with open(path, "wb") as out:
            out.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
