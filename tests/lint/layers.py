#!/usr/bin/python3
"""The include graph keeps to the layers of docs/ARCHITECTURE.md.

Usage: layers.py [FOLDER]
Lower layers do not include higher ones, siblings do not include each other, and a header X_internal.h or X_parts.h is
its own folder's. Prints each wrong edge, then one line per layer in the Test Anything Protocol.
"""
import os
import re
import sys

# What each layer may include besides itself.
PROTOCOL = {"mime", "base"}
MAY_INCLUDE = {
    "base": set(),
    "mime": {"base"},
    "store": {"mime", "base"},
    "keyring": {"store", "mime", "base"},
    "crypto": {"keyring", "store", "mime", "base"},
    "policy": {"keyring", "mime", "base"},
    "smtp": PROTOCOL,
    "imap": PROTOCOL,
    "pop3": PROTOCOL,
}
MAY_INCLUDE["proxy"] = set(MAY_INCLUDE)
MAY_INCLUDE["cli"] = set(MAY_INCLUDE)

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)
PRIVATE = re.compile(r"_(internal|parts)\.h$")


def files_of(root, layer):
    folder = os.path.join(root, layer)
    for path, _folders, names in os.walk(folder):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(path, name), root)


def wrong_edge(root, source, target):
    """Why `source` may not include "target", or None. Includes are written from the root."""
    layer, folder = source.split("/")[0], target.split("/")[0]
    if "/" not in target or not os.path.exists(os.path.join(root, target)):
        return "is not written from the root"
    if folder != layer and folder not in MAY_INCLUDE[layer]:
        return "%s may not include %s" % (layer, folder)
    if PRIVATE.search(target) and os.path.dirname(target) != os.path.dirname(source):
        return "is another folder's own"
    return None


def check_layer(root, layer):
    problems = []
    for source in files_of(root, layer):
        with open(os.path.join(root, source), encoding="utf-8") as file:
            text = file.read()
        for match in INCLUDE.finditer(text):
            why = wrong_edge(root, source, match.group(1))
            if why:
                line = text.count("\n", 0, match.start()) + 1
                problems.append('%s:%d: "%s" %s' % (source, line, match.group(1), why))
    return problems


def unknown_layers(root):
    """Folders with C files that no rule is for."""
    return ["%s: is no layer" % name for name in sorted(os.listdir(root))
            if name not in MAY_INCLUDE and name not in ("tests", "docs", "build") and not name.startswith(".")
            and os.path.isdir(os.path.join(root, name)) and any(files_of(root, name))]


def main():
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../.."))
    results = [("every folder is a layer", unknown_layers(root))]
    results += [("includes of " + layer, check_layer(root, layer)) for layer in MAY_INCLUDE
                if os.path.isdir(os.path.join(root, layer))]
    print("1..%d" % len(results))
    for number, (name, problems) in enumerate(results, 1):
        print("".join(problem + "\n" for problem in problems) +
              "%s %d - %s" % ("not ok" if problems else "ok", number, name), flush=True)
    return 1 if any(problems for _name, problems in results) else 0


if __name__ == "__main__":
    sys.exit(main())
