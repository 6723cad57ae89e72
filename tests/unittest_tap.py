#!/usr/bin/python3
"""Runs the unittest tests of one file and reports each in the Test Anything Protocol.

Usage: unittest_tap.py FILE
The file's folder and tests/ are where it may import from.
"""
import importlib.util
import os
import sys
import traceback
import unittest


class Tap(unittest.TestResult):
    """One line per test, when it ends; what stands before it says why."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.failed = False
        self.skipped_why = None

    def line(self, name, skipped=None):
        self.number += 1
        state = "not ok" if self.failed else "ok"
        print("%s %d - %s%s" % (state, self.number, name, "" if skipped is None else " # SKIP " + skipped), flush=True)

    def fail(self, test, error):
        self.failed = True
        print("--- %s\n%s" % (test.id(), "".join(traceback.format_exception(*error))), flush=True)
        if not isinstance(test, unittest.TestCase):
            self.line(test.id())

    def startTest(self, test):
        super().startTest(test)
        self.failed, self.skipped_why = False, None

    def stopTest(self, test):
        super().stopTest(test)
        self.line(test.id(), self.skipped_why)

    def addError(self, test, err):
        self.fail(test, err)

    def addFailure(self, test, err):
        self.fail(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.fail(test, err)
            print("    in %s" % subtest, flush=True)

    def addUnexpectedSuccess(self, test):
        self.failed = True
        print("--- %s was expected to fail" % test.id(), flush=True)

    def addSkip(self, test, reason):
        self.skipped_why = reason
        if not isinstance(test, unittest.TestCase):
            self.failed = False
            self.line(test.id(), reason)


def main():
    path = os.path.abspath(sys.argv[1])
    sys.path[:0] = [os.path.dirname(path), os.path.dirname(os.path.abspath(__file__))]
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    print("1..%d" % suite.countTestCases(), flush=True)
    suite.run(Tap())
    return 0


if __name__ == "__main__":
    sys.exit(main())
