"""The web of trust as a person uses it: certify, trust an owner, see the path, draw it, withdraw.

The program is the one that $PRIVYSEAL names.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "interop"))
import wot_made  # noqa: E402

from harness import Gpg
from test_cli import RULES
from test_key_life import Owner


class Web(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pv")
        self.addCleanup(shutil.rmtree, self.root)
        self.alice = Owner(self.root, "alice@example.org", RULES)
        self.bob = Owner(self.root, "bob@example.org")
        self.bob.file = os.path.join(self.root, "bob.asc")
        self.mine, self.his = self.alice.make_key(), self.bob.make_key()
        self.alice.run("key", "import", data=self.bob.key())

    def key(self):
        return self.alice.json("why", "bob@example.org")["key"]

    def test_certified_seen_drawn_and_withdrawn(self):
        # Without a terminal there is nobody to confirm the fingerprint.
        _, said = self.alice.run("key", "certify", "bob@example.org", status=1)
        self.assertIn("nothing was certified", said)
        self.assertEqual(self.alice.json("key", "trust", self.his)["user_ids"], [])
        self.alice.run("key", "certify", "--yes", "--level", "3", "bob@example.org")
        key = self.key()
        self.assertEqual(key["trust"], "full")
        (step,) = key["path"]
        self.assertEqual((step["signer"], step["key"], step["level"], step["local"]), (self.mine, self.his, 3, True))
        out, _ = self.alice.run("why", "bob@example.org")
        self.assertRegex(out, r"path +alice@example\.org \(you\) signed \d{4}-\d\d-\d\d, level 3, locally → bob@")
        self.alice.run("key", "certify", "--yes", "--exportable", "--user-id", "bob@example.org", "bob@example.org")
        (step,) = self.key()["path"]
        self.assertEqual((step["level"], step["local"]), (0, False))
        graph, _ = self.alice.run("key", "trust", "--graph", "bob@example.org")
        self.assertIn("shape=house", graph)
        drawn = subprocess.run(["dot", "-Tsvg"], input=graph.encode(), capture_output=True, check=True)
        self.assertEqual(drawn.stderr, b"")
        self.assertIn(b"bob@example.org: full", drawn.stdout)
        self.alice.run("key", "certify", "--revoke", "--yes", "bob@example.org")
        (entry,) = self.alice.json("key", "show", self.his)
        self.assertEqual(entry["trust"], "unverified")
        graph, _ = self.alice.run("key", "trust", "--graph", "bob@example.org")
        self.assertIn("REVOKED", graph)

    def trusts(self):
        return {entry["user_id"]: entry["trust"] for entry in self.alice.json("key", "show", self.his)}

    def test_what_comes_while_the_question_stands_is_not_certified(self):
        gpg = Gpg(self.bob.home)
        self.addCleanup(gpg.close)
        for name, words in (("boss@example.org", ("key", "certify", self.his)),
                            ("ceo@example.org", ("key", "import", "--certify", self.bob.file))):
            before = set(self.trusts())
            with open(self.bob.file, "w", encoding="ascii") as file:
                file.write(self.bob.key())
            gpg.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-uid", self.his, name)
            changed = self.bob.key()

            def change(said, changed=changed, name=name):
                if said.endswith(b"[yes/no] ") and name not in self.trusts():
                    self.alice.run("key", "import", data=changed)
            said = self.alice.at_terminal(*words, answers=["yes"], on_shown=change)
            for each in before:
                self.assertIn(each, said)
            trusts = self.trusts()
            self.assertEqual((trusts.pop(name), set(trusts)), ("unverified", before))
            self.assertEqual(set(trusts.values()), {"full"})

    def test_an_owner_is_trusted_to_certify(self):
        carol = Owner(self.root, "carol@example.org")
        hers = carol.make_key()
        self.bob.run("key", "import", data=carol.key())
        self.bob.run("key", "certify", "--yes", "--exportable", "carol@example.org")
        self.alice.run("key", "import", "--keep-signatures", data=self.bob.run("key", "export", hers)[0])
        self.alice.run("key", "certify", "--yes", "bob@example.org")
        out, _ = self.alice.run("key", "trust", "carol@example.org")
        self.assertRegex(out, r"certified +bob@example\.org \(no ownertrust\) .*does not count: "
                              r"see `privyseal key trust`")
        self.alice.run("key", "trust", "bob@example.org", "full")
        path = self.alice.json("why", "carol@example.org")["key"]["path"]
        self.assertEqual([(step["signer"], step["key"]) for step in path], [(self.mine, self.his), (self.his, hers)])
        for level in ("never", "marginal", "unknown"):
            self.alice.run("key", "trust", "bob@example.org", level)
            (entry,) = self.alice.json("key", "show", hers)
            self.assertEqual(entry["trust"], "marginal" if level == "marginal" else "unverified")
        self.alice.run("key", "trust", "bob@example.org", "ultimate", status=1)
        self.alice.run("key", "trust", "bob@example.org", "much", status=2)

    def test_a_name_claims_nothing(self):
        """Neither a line of the picture that is not there, nor what a terminal does; and JSON stays JSON."""
        gpg = Gpg(self.bob.home)
        self.addCleanup(gpg.close)
        for name in (b"&#10;you (ultimate)&#10; <x1@example.org>", b"Eve\xc2\x9b2J <x2@example.org>",
                     "Ann\u202e>gro.elpmaxe@enna< <x4@example.org>".encode()):
            gpg.run("--pinentry-mode", "loopback", "--passphrase", "", "--charset", "utf-8", "--quick-add-uid",
                    self.his, name)
        self.alice.run("key", "import", data=self.bob.key())
        # One whose name is no UTF-8, as old programs made them; gpg itself makes none.
        old = wot_made.Key(1700000000, bytes(32))
        Gpg(self.alice.home).take(wot_made.packet(wot_made.TAG_KEY, old.body) + old.bind(b"J\xf6rg <x3@example.org>"))
        self.alice.run("key", "certify", "--yes", old.fingerprint)
        said = self.alice.at_terminal("key", "certify", "--user-id", "x2@example.org", self.his, answers=["no"],
                                      status=1)
        self.assertIn("<x2@example.org>", said)
        self.assertNotIn("\x9b", said)
        said = self.alice.at_terminal("key", "pin", "x4@example.org", self.his, answers=["no"], status=1)
        self.assertIn("Ann?>gro.elpmaxe@enna< <x4@example.org>", said)
        self.assertNotIn("\u202e", self.alice.run("key", "certify", "--yes", "bob@example.org")[0])
        graph = self.alice.run("key", "trust", "--graph", self.his)[0]
        self.assertNotIn("\x9b", graph)
        self.assertNotIn("\u202e", graph)
        for words in (("key", "trust", self.his), ("key", "show", self.his)):
            self.assertIn("Ann?>gro", self.alice.run(*words)[0])
        drawn = subprocess.run(["dot", "-Tsvg"], input=graph.encode(), capture_output=True, check=True).stdout.decode()
        self.assertEqual(drawn.count(">you (ultimate)<"), 1, drawn)
        for words in (("key", "trust"), ("key", "trust", old.fingerprint), ("key", "show", old.fingerprint),
                      ("key", "list")):
            self.assertIn("rg <x3@example.org>", json.dumps(self.alice.json(*words)), words)
            self.assertNotIn("\x9b", self.alice.run(*words)[0])


if __name__ == "__main__":
    unittest.main()
