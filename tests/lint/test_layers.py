"""layers.py finds each kind of wrong edge, and no others."""
import os
import subprocess
import sys
import tempfile
import unittest

LAYERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "layers.py")
HEADERS = ["base/buf.h", "base/conn_internal.h", "mime/part.h", "store/store.h", "keyring/index.h", "crypto/seal.h",
           "policy/plan.h", "smtp/client.h", "smtp/server.h", "imap/cmd.h", "proxy/net.h", "cli/options.h"]


class Layers(unittest.TestCase):
    def run_with(self, source, include):
        """The exit state and output where the file `source` includes `include`."""
        with tempfile.TemporaryDirectory() as root:
            for name in HEADERS + [source]:
                os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
                with open(os.path.join(root, name), "w", encoding="utf-8") as file:
                    file.write('# include "%s"\n' % include if name == source else "")
            run = subprocess.run([sys.executable, LAYERS, root], capture_output=True, text=True, check=False)
        return run.returncode, run.stdout

    def assert_allowed(self, source, include):
        self.assertEqual(self.run_with(source, include)[0], 0, "%s -> %s" % (source, include))

    def assert_refused(self, source, include):
        state, output = self.run_with(source, include)
        self.assertEqual(state, 1, "%s -> %s" % (source, include))
        self.assertIn('%s:1: "%s"' % (source, include), output)

    def test_higher_includes_lower(self):
        for source, include in (("cli/main.c", "proxy/net.h"), ("proxy/net.c", "smtp/client.h"),
                                ("crypto/seal.c", "keyring/index.h"), ("policy/plan.c", "keyring/index.h"),
                                ("store/store.c", "mime/part.h"), ("mime/part.c", "base/buf.h")):
            self.assert_allowed(source, include)

    def test_lower_never_includes_higher(self):
        for source, include in (("base/buf.c", "mime/part.h"), ("mime/part.c", "store/store.h"),
                                ("keyring/index.c", "crypto/seal.h"), ("crypto/seal.c", "policy/plan.h"),
                                ("proxy/net.h", "cli/options.h")):
            self.assert_refused(source, include)

    def test_siblings_keep_apart(self):
        for source, include in (("policy/plan.c", "smtp/client.h"), ("smtp/client.c", "imap/cmd.h"),
                                ("imap/cmd.c", "policy/plan.h")):
            self.assert_refused(source, include)

    def test_protocols_know_no_keys(self):
        for source, include in (("smtp/client.c", "keyring/index.h"), ("imap/cmd.c", "store/store.h"),
                                ("policy/plan.c", "store/store.h"), ("policy/plan.c", "crypto/seal.h")):
            self.assert_refused(source, include)

    def test_internal_headers_stay_inside(self):
        self.assert_allowed("base/conn.c", "base/conn_internal.h")
        self.assert_refused("proxy/net.c", "base/conn_internal.h")

    def test_same_folder(self):
        self.assert_allowed("smtp/client.h", "smtp/server.h")

    def test_relative_names_are_refused(self):
        self.assert_refused("smtp/client.c", "server.h")

    def test_unknown_folder(self):
        self.assertIn("util: is no layer", self.run_with("util/x.c", "base/buf.h")[1])


if __name__ == "__main__":
    unittest.main()
