"""run.py misses no failure: what fails, hangs, breaks off, says nothing or leaves a process behind."""
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../run.py")
GOOD = """
    import unittest
    class Good(unittest.TestCase):
        def test_one(self):
            pass
        def test_two(self):
            pass
"""


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def write(self, path, text, mode=0o644):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))
        os.chmod(path, mode)

    def write_unit(self, name, script):
        """A unit test that is a shell script: its source needs only to be there."""
        self.write("tests/unit/%s.c" % name, "")
        self.write("build/tests/" + name, "#!/bin/sh\n" + textwrap.dedent(script), 0o755)

    def run_suite(self, suite, *options):
        """The exit state, the last line and all of the output."""
        environment = dict(os.environ, BUILD=os.path.join(self.root, "build"))
        run = subprocess.run([sys.executable, RUN, "--root", self.root, *options, suite], capture_output=True,
                             env=environment, text=True, check=False)
        return run.returncode, (run.stdout.splitlines() or [""])[-1], run.stdout

    def assert_run(self, suite, state, last, *options):
        got_state, got_last, output = self.run_suite(suite, *options)
        self.assertEqual((got_state, got_last), (state, last), output)
        return output

    def test_good_ones_are_counted(self):
        self.write("tests/e2e/test_good.py", GOOD)
        self.assert_run("e2e", 0, "2 passed, 0 failed")

    def test_nothing_ran(self):
        self.assert_run("e2e", 1, "0 passed, 0 failed")

    def test_failed_python_test(self):
        self.write("tests/e2e/test_good.py", GOOD)
        self.write("tests/e2e/test_bad.py", GOOD + "            self.fail('the reason')\n")
        output = self.assert_run("e2e", 1, "3 passed, 1 failed")
        self.assertIn("the reason", output)
        self.assertIn("failed: e2e/test_bad.py", output)

    def test_failed_subtest(self):
        self.write("tests/e2e/test_bad.py", GOOD + """\
            with self.subTest(x=1):
                self.fail()
        """)
        self.assert_run("e2e", 1, "1 passed, 1 failed")

    def test_failed_set_up_of_a_class(self):
        self.write("tests/e2e/test_bad.py", GOOD + """
        @classmethod
        def setUpClass(cls):
            raise OSError
        """)
        state, last, _output = self.run_suite("e2e")
        self.assertEqual(state, 1)
        self.assertRegex(last, r"^0 passed, [1-9]")

    def test_python_that_does_not_load(self):
        self.write("tests/e2e/test_bad.py", "import no_such_module\n")
        self.assert_run("e2e", 1, "0 passed, 1 failed")

    def test_skipped_are_not_passed(self):
        self.write("tests/e2e/test_some.py", GOOD + "            self.skipTest('not here')\n")
        self.assert_run("e2e", 0, "1 passed, 0 failed, 1 skipped")

    def test_what_cmocka_skips_is_not_failed(self):
        self.write_unit("test_some", """
            echo 1..3
            echo ok 1 - test_one
            echo 'not ok 2 # SKIP test_two'
            echo ok 3 - test_three
        """)
        self.assert_run("unit", 0, "2 passed, 0 failed, 1 skipped")

    def test_failed_unit_test(self):
        self.write_unit("test_x", "echo 1..2; echo ok 1 - a; echo not ok 2 - b; exit 1")
        self.assert_run("unit", 1, "1 passed, 1 failed")

    def test_crash_after_the_last_report(self):
        self.write_unit("test_x", "echo 1..1; echo ok 1 - a; kill -SEGV $$")
        self.assertIn("exit status 139", self.assert_run("unit", 1, "1 passed, 1 failed"))

    def test_fewer_than_planned(self):
        self.write_unit("test_x", "echo 1..3; echo ok 1 - a; exit 0")
        self.assert_run("unit", 1, "1 passed, 2 failed")

    def test_silence(self):
        self.write_unit("test_x", "exit 0")
        self.assertIn("no test ran", self.assert_run("unit", 1, "0 passed, 1 failed"))

    def test_program_that_is_not_there(self):
        self.write("tests/unit/test_x.c", "")
        self.assert_run("unit", 1, "0 passed, 1 failed")

    def test_totals_of_its_own(self):
        self.write("tests/interop/x_gmime.c", "")
        self.write("build/tests/x_gmime", "#!/bin/sh\necho 7 passed, 2 failed; exit 1\n", 0o755)
        self.assert_run("interop", 1, "7 passed, 2 failed")

    def test_time_limit(self):
        self.write_unit("test_x", "echo 1..1; sleep 50")
        began = time.monotonic()
        output = self.assert_run("unit", 1, "0 passed, 1 failed", "--patience", "0.01")
        self.assertIn("time limit", output)
        self.assertLess(time.monotonic() - began, 20)

    def test_process_left_behind(self):
        """It has its own session and an empty environment, and its parent is gone."""
        self.write_unit("test_x", "echo 1..1; echo ok 1 - a; (env -i setsid sleep 50 &) >/dev/null 2>&1")
        output = self.assert_run("unit", 1, "1 passed, 1 failed")
        found = re.search(r"left behind: process (\d+): sleep 50", output)
        self.assertTrue(found, output)
        self.assertFalse(os.path.exists("/proc/" + found.group(1)))

    def test_fuzzer_that_finds_something(self):
        self.write("tests/fuzz/fuzz_x.c", "")
        self.write("build/fuzz/fuzz_x", "#!/bin/sh\necho crash; exit 77\n", 0o755)
        self.assertIn("crash", self.assert_run("fuzz", 1, "0 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
