#!/usr/bin/python3
"""Runs tests and counts them. The Makefile starts it with what is built; see `make help`.

Usage: run.py [--root FOLDER] [--fuzzers FOLDER] [--fuzz-seconds N] [--patience FACTOR] SUITE...
Suites: unit lint interop fuzz e2e. Environment: BUILD, where the test programs are; PRIVYSEAL, SMTPD and what else the
tests want. Prints what a failing program said, and at last "N passed, N failed[, N skipped]". A program counts by its
lines "ok" and "not ok" (Test Anything Protocol) or by its own last line "N passed, N failed"; one that says neither
has failed, as has one that leaves a process behind, exceeds its time or says less than it planned. Exits with 0 only
if something ran and nothing failed.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WORKERS = 3
OUTPUT_SHOWN = 60000
FUZZ_SECONDS = 4
SCRATCH_MIN = 4 << 30

# Seconds that one program of a suite may take.
LIMITS = {"unit": 120, "interop": 300, "e2e": 400, "lint": 1800}


class Job:
    def __init__(self, suite, name, argv, seconds=None, whole=False):
        self.name = "%s/%s" % (suite, name)
        self.argv = argv
        self.seconds = seconds or LIMITS[suite]
        # Its exit state is all: one test.
        self.whole = whole


class Count:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return "%d passed, %d failed%s" % (self.passed, self.failed,
                                           ", %d skipped" % self.skipped if self.skipped else "")


def count_tap(text):
    """What the lines say, and how many were announced but not reported; None if there are none."""
    planned = sum(int(number) for number in re.findall(r"^1\.\.(\d+)", text, re.M))
    # cmocka says "not ok" of what it skips, unittest_tap.py says "ok".
    passed = len(re.findall(r"^ok\b(?!.*# SKIP)", text, re.M | re.I))
    failed = len(re.findall(r"^not ok\b(?!.*# SKIP)", text, re.M | re.I))
    skipped = len(re.findall(r"^(?:not )?ok\b.*# SKIP", text, re.M | re.I))
    if passed + failed + skipped == 0:
        return None
    return Count(passed, failed + max(0, planned - passed - failed - skipped), skipped)


def count_totals(text):
    found = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", text, re.M)
    return Count(*(int(number or 0) for number in found[-1])) if found else None


def judge(job, status, text, problems):
    """The count of one program, of which nothing that went wrong is lost."""
    if job.whole:
        count = Count(passed=1) if status == 0 else Count()
    else:
        count = count_tap(text) or count_totals(text) or Count()
    if not count.failed and not problems:
        if status != 0:
            problems.append("exit status %d" % status)
        elif not count.passed and not count.skipped:
            problems.append("no test ran")
    count.failed += 1 if problems else 0
    return count


def unit_jobs(options):
    for source in sorted(glob.glob(os.path.join(options.root, "tests/unit/test_*.c"))):
        name = os.path.basename(source)[:-2]
        yield Job("unit", name, [os.path.join(options.build, "tests", name)])


def python_jobs(options, suite, folder):
    for path in sorted(glob.glob(os.path.join(options.root, folder, "test_*.py"))):
        yield Job(suite, os.path.basename(path), [sys.executable, os.path.join(HERE, "unittest_tap.py"), path])


def interop_jobs(options):
    """X_gmime counts for itself; X_python.py compares X_dump with Python, X_dovecot.py with Dovecot."""
    programs = os.path.join(options.build, "tests")
    for source in sorted(glob.glob(os.path.join(options.root, "tests/interop/*_gmime.c"))):
        name = os.path.basename(source)[:-2]
        yield Job("interop", name, [os.path.join(programs, name)])
    for peer in ("python.py", "dovecot.py"):
        for script in sorted(glob.glob(os.path.join(options.root, "tests/interop/*_" + peer))):
            name = os.path.basename(script)
            if name.startswith("test_"):
                continue
            yield Job("interop", name, [sys.executable, script, os.path.join(programs, name[:-len(peer)] + "dump")])
    yield from python_jobs(options, "interop", "tests/interop")


def fuzz_jobs(options):
    crashes = os.path.join(options.fuzzers, "crashes", "")
    for source in sorted(glob.glob(os.path.join(options.root, "tests/fuzz/fuzz_*.c"))):
        name = os.path.basename(source)[:-2]
        parser = name[len("fuzz_"):]
        seeds = os.path.join(options.root, "tests/fuzz/seeds", parser)
        dictionary = os.path.join(options.root, "tests/fuzz", parser + ".dict")
        corpus = os.path.join(options.fuzzers, "corpus", parser)
        os.makedirs(corpus, exist_ok=True)
        os.makedirs(crashes, exist_ok=True)
        argv = [os.path.join(options.fuzzers, name), "-max_total_time=%d" % options.fuzz_seconds, "-timeout=20",
                "-rss_limit_mb=3000", "-artifact_prefix=" + crashes]
        argv += ["-dict=" + dictionary] if os.path.exists(dictionary) else []
        argv += [corpus] + ([seeds] if os.path.isdir(seeds) else [])
        # The corpus of earlier runs is read first, which takes its time too.
        yield Job("fuzz", parser, argv, options.fuzz_seconds + 120, whole=True)


def e2e_jobs(options):
    yield from python_jobs(options, "e2e", "tests/e2e")
    yield from python_jobs(options, "e2e", "tests/bench")


def lint_jobs(options):
    for name in ("layers.py", "style.py"):
        path = os.path.join(options.root, "tests/lint", name)
        if os.path.exists(path):
            yield Job("lint", name, [sys.executable, path])
    yield from python_jobs(options, "lint", "tests/lint")


SUITES = {
    "unit": unit_jobs,
    "interop": interop_jobs,
    "fuzz": fuzz_jobs,
    "e2e": e2e_jobs,
    "lint": lint_jobs,
}


class Runner:
    def __init__(self, patience, scratch):
        self.patience = patience
        self.scratch = scratch
        self.total = Count()
        self.failures = []
        self.running = set()
        self.lock = threading.Lock()

    def start(self, argv):
        """Nothing starts once the runner has been asked to end."""
        with self.lock:
            if self.running is None:
                return None
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT,
                                       env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", TMPDIR=self.scratch,
                                                RSA_KEYS=os.path.join(self.scratch, "rsa")))
            self.running.add(process)
            return process

    def run(self, job):
        began = time.monotonic()
        handle, report = tempfile.mkstemp(dir=self.scratch)
        os.close(handle)
        process = self.start([sys.executable, os.path.join(HERE, "supervise.py"), str(job.seconds * self.patience),
                              report] + job.argv)
        if process is None:
            return
        text = process.communicate()[0].decode("utf-8", "replace")
        with open(report, encoding="utf-8") as file:
            problems = file.read().splitlines()
        count = judge(job, process.returncode, text, problems)
        with self.lock:
            if self.running is None:
                return
            self.running.discard(process)
            self.total.add(count)
            self.show(job, count, text, problems, time.monotonic() - began)

    def show(self, job, count, text, problems, seconds):
        if count.failed:
            self.failures.append(job.name)
            print("==== %s" % job.name)
            print(text[-OUTPUT_SHOWN:].rstrip("\n"))
            for problem in problems:
                print("==== %s: %s" % (job.name, problem))
        print("%-6s %-34s %5.1f s  %s" % ("FAILED" if count.failed else "ok", job.name, seconds, count), flush=True)

    def end(self, _signal, _frame):
        """The supervisors end what they watch."""
        running, self.running = self.running or set(), None
        for process in running:
            process.terminate()
        raise SystemExit(130)


def parse_arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--root", default=os.path.dirname(HERE), type=os.path.abspath)
    parser.add_argument("--fuzzers", type=os.path.abspath)
    parser.add_argument("--fuzz-seconds", type=int, default=FUZZ_SECONDS)
    parser.add_argument("--patience", type=float, default=1)
    parser.add_argument("suites", nargs="+", choices=SUITES)
    options = parser.parse_args()
    options.build = os.path.abspath(os.environ.get("BUILD") or os.path.join(options.root, "build"))
    options.fuzzers = options.fuzzers or os.path.join(options.build, "fuzz")
    return options


def scratch_folder():
    """Where tests make their files: in memory if there is room, since a store waits for the disk at every commit."""
    memory = "/dev/shm"
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= SCRATCH_MIN:
        return memory
    return None


def main():
    options = parse_arguments()
    os.chdir(options.root)
    with tempfile.TemporaryDirectory(prefix="", dir=scratch_folder()) as scratch, \
            concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        os.chmod(scratch, 0o711)  # some servers go on as another user
        os.mkdir(os.path.join(scratch, "rsa"), 0o700)  # see rsa_keys.py
        runner = Runner(options.patience, scratch)
        signal.signal(signal.SIGTERM, runner.end)
        signal.signal(signal.SIGINT, runner.end)
        jobs = [job for suite in options.suites for job in SUITES[suite](options)]
        for done in [pool.submit(runner.run, job) for job in jobs]:
            done.result()
    if runner.failures:
        print("failed: " + " ".join(runner.failures))
    print(runner.total)
    return 1 if runner.total.failed or not runner.total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
