#!/usr/bin/python3
"""How the code must look, as far as a machine can tell. CONTRIBUTING.md says it in words.

Usage: style.py [--root FOLDER] [RULE...]
Environment: LINT_FLAGS, with which a file compiles; CC, CLANG; LINT_NODES, how far the analyzer goes. Each rule is one
test in the Test Anything Protocol; what breaks it stands before, as file:line: what.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import shlex
import subprocess
import sys

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 80
LINE_MAX = 120
WORKERS = 2
# How many states of one function the analyzer looks at. Its own 225,000 take twice as long: for a release.
ANALYZER_NODES = "75000"

FOLDERS = "base mime store keyring crypto policy smtp imap pop3 proxy cli tests/*"
BANNED_CALLS = "strcpy strcat sprintf vsprintf gets strtok atoi atol system popen"
# Split, so that this file does not break its own rules.
BANNED_WORDS = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]
MACHINE_PATHS = r"(?<![\w.~$)}])/(?:wo" + r"rk|home/\w+|Users/\w+)/"

NOT_CODE = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def files(*endings):
    found = []
    for folder in FOLDERS.split():
        for ending in endings:
            found += glob.glob("%s/*%s" % (folder, ending))
    return sorted(found)


def texts():
    """All that a person wrote, the licence aside."""
    return files(".c", ".h", ".py") + sorted(
        glob.glob("tests/*.py") + glob.glob("*.md") + glob.glob("docs/*.*") + glob.glob("docs/guides/*") +
        glob.glob(".ci/*") + ["Makefile"])


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def code_of(path):
    """The text with comments and literals blanked, so that lines stay where they are."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), read(path))


def run(argv):
    """The output of a program that has failed, else nothing."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    if done.returncode == 0:
        return []
    return done.stdout.decode("utf-8", "replace").splitlines() or ["%s: exit status %d" % (argv[0], done.returncode)]


def run_each(argvs):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return [line for lines in pool.map(run, argvs) for line in lines]


def flags():
    return shlex.split(os.environ.get("LINT_FLAGS", "-std=gnu17 -I. -D_GNU_SOURCE"))


def matches(paths, pattern, what, text_of=read):
    """One line for each place where the pattern is found; {} in `what` is the word."""
    found = []
    for path in paths:
        text = text_of(path)
        found += ["%s:%d: %s" % (path, line_at(text, match.start()), what.format(match.group().strip()))
                  for match in pattern.finditer(text)]
    return found


def file_length():
    lengths = [(path, len(read(path).splitlines())) for path in texts() if not path.endswith(".md")]
    return ["%s:%d: a file has at most %d lines" % (path, count, FILE_LINES_MAX)
            for path, count in lengths if count > FILE_LINES_MAX]


def function_length():
    sources = files(".c", ".h")
    if not sources:
        return []
    tags = subprocess.run(["ctags", "--output-format=json", "--fields=+ne", "--kinds-C=f", "--languages=C",
                           "--langmap=C:.c.h", "-f", "-"] + sources, capture_output=True, check=True, text=True).stdout
    found = []
    for line in tags.splitlines():
        tag = json.loads(line)
        length = tag.get("end", tag["line"]) - tag["line"] + 1
        if length > FUNCTION_LINES_MAX:
            found.append("%s:%d: %s has %d lines, at most %d" % (tag["path"], tag["line"], tag["name"], length,
                                                                 FUNCTION_LINES_MAX))
    return found


def banned_calls():
    pattern = re.compile(r"(?<![\w.>])(?:%s)\s*\(" % "|".join(BANNED_CALLS.split()))
    return matches(files(".c", ".h"), pattern, "{}) is banned", code_of)


def gotos():
    """One forward `goto done` at most: no other label, and none before its goto."""
    found = []
    for path in files(".c", ".h"):
        code = code_of(path)
        found += ["%s:%d: goto %s" % (path, line_at(code, match.start()), match.group(1))
                  for match in re.finditer(r"\bgoto\s+(\w+)", code)
                  if match.group(1) != "done" or not re.search(r"^done:", code[match.end():], re.M)]
    return found


def banned_words():
    pattern = re.compile(r"\b(?:%s)\b" % "|".join(BANNED_WORDS))
    return matches(texts(), pattern, "{}: finish it, or leave it out")


def machine_paths():
    return matches(texts(), re.compile(MACHINE_PATHS), "{} is on one machine only")


def lines():
    found = matches(texts(), re.compile(r"[ \t]+$", re.M), "blanks at the end of the line")
    found += matches(files(".c", ".h", ".py"), re.compile(r"\t"), "a tab")
    found += matches(files(".c", ".h", ".py"), re.compile(r"^.{%d,}$" % (LINE_MAX + 1), re.M), "over 120 columns")
    return found + ["%s: does not end with a line end" % path for path in texts() if not read(path).endswith("\n")]


def headers_alone(compiler):
    return run_each([[compiler, "-fsyntax-only", "-x", "c"] + flags() + ["-include", header, "/dev/null"]
                     for header in files(".h")])


def headers_gcc():
    return headers_alone(os.environ.get("CC", "gcc"))


def headers_clang():
    return headers_alone(os.environ.get("CLANG", "clang"))


def clang_warnings():
    return run_each([[os.environ.get("CLANG", "clang"), "-fsyntax-only"] + flags() + [source]
                     for source in files(".c")])


def clang_format():
    return run(["clang-format", "--dry-run", "-Werror", "--ferror-limit=3"] + files(".c", ".h"))


def cppcheck():
    """It does not read the system's headers: macros that declare are given to it."""
    queues = ["-D%s_HEAD(name,type)=void *" % kind for kind in ("LIST", "TAILQ", "STAILQ")]
    definitions = [flag for flag in flags() if flag.startswith("-D")]
    return run(["cppcheck", "--quiet", "--error-exitcode=1", "--std=c11", "--enable=warning,performance,portability",
                "--inline-suppr", "--suppress=missingIncludeSystem", "--template=gcc", "-j%d" % WORKERS, "-I."]
               + queues + definitions + files(".c"))


def clang_tidy():
    """One process per file: with several the analyzer takes va_list for uninitialised in the later ones. That a failed
    assertion ends a test, it does not know either."""
    no_analyzer = "--checks=-clang-analyzer-*"
    nodes = ["-Xclang", "-analyzer-config", "-Xclang", "max-nodes=" + os.environ.get("LINT_NODES", ANALYZER_NODES)]
    return run_each([["clang-tidy", "--quiet"] + ([no_analyzer] if source.startswith("tests/unit/") else []) +
                     [source, "--"] + flags() + nodes for source in files(".c")])


def manuals():
    pages = sorted(glob.glob("docs/*.[157]"))
    return run(["mandoc", "-T", "lint", "-W", "warning"] + pages) if pages else []


def python():
    """Every script compiles."""
    found = []
    for path in files(".py") + sorted(glob.glob("tests/*.py")):
        try:
            compile(read(path), path, "exec")
        except SyntaxError as error:
            found.append("%s:%s: %s" % (path, error.lineno, error.msg))
    return found


RULES = [file_length, function_length, banned_calls, gotos, banned_words, machine_paths, lines, python, manuals,
         clang_format, headers_gcc, headers_clang, clang_warnings, cppcheck, clang_tidy]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    parser.add_argument("rules", nargs="*", metavar="RULE")
    options = parser.parse_args()
    os.chdir(options.root)
    rules = [rule for rule in RULES if not options.rules or rule.__name__ in options.rules]
    print("1..%d" % len(rules), flush=True)
    failed = False
    for number, rule in enumerate(rules, 1):
        problems = rule()
        failed = failed or bool(problems)
        print("".join(line + "\n" for line in problems) +
              "%s %d - %s" % ("not ok" if problems else "ok", number, rule.__name__), flush=True)
    return 1 if failed or not rules else 0


if __name__ == "__main__":
    sys.exit(main())
