"""The command line, run as a person runs it: real gpg, homes in a temporary directory, nothing left behind.

The program is the one that $PRIVYSEAL names. Run with: python3 -m unittest tests/e2e/test_cli.py
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

PROGRAM = os.environ.get("PRIVYSEAL", "build/privyseal")

RULES = """
listen smtp { at = "127.0.0.1:0" }
rule "strict" { to = "*@strict.example" encrypt = required }
rule "plain" { to = "*@plain.example" encrypt = never sign = never }
"""

MESSAGE = (
    "From: Alice <alice@example.org>\n"
    "To: Bob <bob@example.org>\n"
    "Subject: a matter of state\n"
    "Message-ID: <1@example.org>\n"
    "Date: Fri, 20 Nov 2026 10:00:00 +0000\n"
    "\n"
    "the secret text\n"
)


def key_that_asks_for_aead(user_id):
    """A secret key as newer programs make it: gpg 2.2 itself makes none whose preferences name AEAD (RFC 4880bis)."""
    private = ed25519.Ed25519PrivateKey.generate()
    seed = private.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw,
                                 serialization.NoEncryption())
    point = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def mpi(number):
        number = number.lstrip(b"\0")
        return ((len(number) - 1) * 8 + number[0].bit_length()).to_bytes(2, "big") + number

    def packet(tag, body):
        return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body

    def subpacket(kind, body):
        return bytes([len(body) + 1, kind]) + body

    made = int(time.time() - 3600).to_bytes(4, "big")
    public = b"\x04" + made + b"\x16\x09" + bytes.fromhex("2B06010401DA470F01") + mpi(b"\x40" + point)
    secret = mpi(seed)
    name = user_id.encode()
    hashed = (subpacket(2, made) + subpacket(27, b"\x03") + subpacket(11, b"\x09\x07") + subpacket(21, b"\x0a")
              + subpacket(30, b"\x03") + subpacket(34, b"\x02"))
    head = b"\x04\x13\x16\x08" + len(hashed).to_bytes(2, "big") + hashed
    digest = hashlib.sha256(b"\x99" + len(public).to_bytes(2, "big") + public + b"\xb4" + len(name).to_bytes(4, "big")
                            + name + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
    signature = private.sign(digest)
    issuer = hashlib.sha1(b"\x99" + len(public).to_bytes(2, "big") + public).digest()[-8:]
    unhashed = subpacket(16, issuer)
    return (packet(5, public + b"\0" + secret + (sum(secret) & 0xFFFF).to_bytes(2, "big")) + packet(13, name)
            + packet(2, head + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2] + mpi(signature[:32])
                     + mpi(signature[32:])))


class Person:
    """A configuration with one account, its own state directory, and the program run with it."""

    def __init__(self, root, address, rules="", upstream="smtp+clear://127.0.0.1:9", extra=""):
        self.folder = os.path.join(root, address.partition("@")[0])
        os.mkdir(self.folder)
        self.address = address
        self.config = os.path.join(self.folder, "privyseal.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write('state = "s"\naccount "%s" { smtp = "%s" %s }\n%s' % (address, upstream, extra, rules))

    def run(self, *words, data="", status=0, config=True, **more):
        command = [PROGRAM, *words] + (["--config", self.config] if config else [])
        done = subprocess.run(
            command,
            input=data.encode() if isinstance(data, str) else data,
            capture_output=True,
            timeout=60,
            start_new_session=True,  # no terminal: nothing can be asked
            check=False,
            env={**os.environ, "HOME": self.folder},
            **more,
        )
        if done.returncode != status:
            raise AssertionError(
                "%s: status %d, expected %d\n%s\n%s"
                % (words, done.returncode, status, done.stdout.decode(), done.stderr.decode())
            )
        return done.stdout.decode(), done.stderr.decode()

    def json(self, *words, **more):
        return json.loads(self.run(*words, "--json", **more)[0])

    def make_key(self, *words):
        return self.json("key", "make", "--name", "Test", "--no-passphrase", *words)["fingerprint"]

    def key(self):
        return self.run("key", "export", self.address)[0]


def words_with(path):
    """The command lines of all processes that name it."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % name, "rb") as file:
                words = file.read()
        except OSError:
            continue
        if path.encode() in words:
            found.append(words)
    return found


class CommandLine(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pv")
        self.addCleanup(shutil.rmtree, self.root)
        self.addCleanup(self.no_agent_is_left)
        self.alice = Person(self.root, "alice@example.org", RULES)

    def no_agent_is_left(self):
        self.assertEqual(words_with(self.root), [])

    def know_each_other(self):
        bob = Person(self.root, "bob@example.org")
        mine, his = self.alice.make_key(), bob.make_key()
        self.alice.run("key", "import", "--certify", "--fingerprint", his, data=bob.key())
        bob.run("key", "import", "--certify", "--fingerprint", mine, data=self.alice.key())
        return bob, mine, his

    # keys

    def test_a_key_is_made_listed_shown_exported_and_deleted(self):
        fingerprint = self.alice.make_key()
        (entry,) = self.alice.json("key", "list")
        self.assertEqual(entry["fingerprint"], fingerprint)
        self.assertEqual(entry["algorithm"], "ed25519/cv25519")
        self.assertEqual(entry["trust"], "own")
        self.assertTrue(entry["secret"])
        self.assertFalse(entry["aead"])
        self.assertIn("alice@example.org", self.alice.run("key", "list")[0])
        self.assertIn("Test <alice@example.org>", self.alice.run("key", "show", fingerprint[-16:])[0])
        self.assertIn("BEGIN PGP PUBLIC KEY", self.alice.key())
        self.assertIn("--another", self.alice.run("key", "make", "--no-passphrase", status=1)[1])
        self.assertIn("--secret", self.alice.run("key", "delete", fingerprint, "--yes", status=1)[1])
        self.assertIn("yes", self.alice.run("key", "delete", fingerprint, "--secret", status=1)[1])
        self.assertEqual(len(self.alice.json("key", "list")), 1)
        self.alice.run("key", "delete", fingerprint, "--secret", "--yes")
        self.assertEqual(self.alice.json("key", "list"), [])
        self.alice.run("key", "show", fingerprint, status=1)

    def test_a_passphrase_comes_by_descriptor(self):
        read, write = os.pipe()
        os.write(write, b"correct horse\n")
        os.close(write)
        self.alice.run("key", "make", "--passphrase-fd", str(read), pass_fds=[read])
        os.close(read)
        # Nobody is there to type it, so nothing can be signed.
        self.alice.run("seal", "--to", "bob@example.org", data=MESSAGE, status=3)

    def test_own_key_with_aead_is_noticed_and_re_issued(self):
        key = key_that_asks_for_aead("Alice <alice@example.org>")
        out, _ = self.alice.run("key", "import", "--own", data=key)
        (entry,) = self.alice.json("key", "list")
        self.assertTrue(entry["aead"])
        self.assertIn("--re-issue", out)
        self.assertIn("AEAD", self.alice.run("check", "--offline", status=1)[0])
        out, _ = self.alice.run("key", "import", "--own", "--re-issue", data=key)
        self.assertIn("re-issued without AEAD", out)
        (entry,) = self.alice.json("key", "list")
        self.assertFalse(entry["aead"])
        self.assertEqual(entry["trust"], "own")
        self.assertNotIn("AEAD", self.alice.run("check", "--offline")[0])

    def test_a_foreign_key_is_nothing_until_it_is_certified(self):
        bob = Person(self.root, "bob@example.org")
        his = bob.make_key()
        self.alice.make_key()
        self.alice.run("key", "import", data=bob.key())
        self.assertEqual(self.alice.json("key", "list", "bob@")[0]["trust"], "unverified")
        self.alice.run("key", "import", "--certify", data=bob.key(), status=1)
        wrong = "0" * 40
        self.alice.run("key", "import", "--certify", "--fingerprint", wrong, data=bob.key(), status=1)
        self.assertEqual(self.alice.json("key", "list", "bob@")[0]["trust"], "unverified")
        self.alice.run("key", "import", "--certify", "--fingerprint", his, data=bob.key())
        self.assertEqual(self.alice.json("key", "list", "bob@")[0]["trust"], "full")

    def test_what_is_no_key_is_refused(self):
        self.alice.run("key", "import", data="no key at all\n", status=1)
        self.alice.run("key", "import", "/nonexistent", status=1)

    # policy

    def test_why(self):
        bob, mine, his = self.know_each_other()
        del bob
        good = self.alice.json("why", "Bob@Example.org")
        self.assertEqual((good["action"], good["result"], good["rule"]), ("sign-encrypt", "ok", "default"))
        self.assertEqual((good["key"]["fingerprint"], good["signer"]), (his, mine))
        refused = self.alice.json("why", "eve@strict.example", status=1)
        self.assertEqual((refused["action"], refused["result"]), ("refuse", "no-key"))
        self.assertIn("key import", refused["detail"])
        plain = self.alice.json("why", "eve@plain.example")
        self.assertEqual(plain["action"], "plain")
        self.assertIn("leaves in clear", self.alice.run("why", "eve@plain.example")[0])
        self.alice.run("why", "nobody", status=2)

    # messages

    def test_seal_and_open(self):
        bob, _, _ = self.know_each_other()
        sealed, _ = self.alice.run("seal", data=MESSAGE)
        self.assertIn("multipart/encrypted", sealed)
        for plain in ("matter of state", "secret text"):
            self.assertNotIn(plain, sealed)
        self.assertNotIn("\n", sealed.replace("\r\n", ""))
        view, _ = bob.run("open", data=sealed)
        self.assertIn("Subject: a matter of state\r\n", view)
        self.assertIn("the secret text", view)
        self.assertIn("signature=good", view)
        report = bob.json("open", "--report", data=sealed)
        self.assertEqual(
            (report["signature"], report["encryption"], report["signer"], report["trust"]),
            ("good", "openpgp", "alice@example.org", "full"),
        )

    def test_open_judges_at_another_time(self):
        bob, _, _ = self.know_each_other()
        sealed, _ = self.alice.run("seal", data=MESSAGE)
        with open(os.path.join(bob.folder, "s/keys/bob@example.org/gnupg/trustdb.gpg"), "rb") as file:
            before = file.read()
        self.assertEqual(bob.json("open", "--report", "--at", "2040-01-01", data=sealed)["signature"], "good")
        self.assertNotEqual(
            bob.json("open", "--report", "--at", "2001-01-01", data=sealed, status=1)["signature"], "good"
        )
        with open(os.path.join(bob.folder, "s/keys/bob@example.org/gnupg/trustdb.gpg"), "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(bob.json("open", "--report", data=sealed)["signature"], "good")

    def test_open_is_not_good_without_a_signature(self):
        self.alice.make_key()
        self.assertEqual(self.alice.json("open", "--report", data=MESSAGE, status=1)["signature"], "none")

    def test_a_changed_message_is_not_opened(self):
        bob, _, _ = self.know_each_other()
        sealed, _ = self.alice.run("seal", data=MESSAGE)
        lines = sealed.split("\r\n")
        middle = lines.index("-----BEGIN PGP MESSAGE-----") + 8
        lines[middle] = ("A" if lines[middle][0] != "A" else "B") + lines[middle][1:]
        view, _ = bob.run("open", data="\r\n".join(lines), status=1)
        self.assertNotIn("secret text", view)

    def test_refusals_write_nothing(self):
        self.alice.make_key()
        for to, sender in (("eve@strict.example", "alice"), ("bob@example.org", "mallory")):
            out, error = self.alice.run(
                "seal", "--to", to, data=MESSAGE.replace("alice@", sender + "@"), status=1
            )
            self.assertEqual(out, "")
            self.assertTrue(error)
        out, _ = self.alice.run("seal", "--to", "bob@example.org", "--to", "eve@strict.example", data=MESSAGE, status=1)
        self.assertEqual(out, "")
        out, _ = self.alice.run("seal", data=MESSAGE.replace("To: Bob <bob@example.org>\n", ""), status=1)
        self.assertEqual(out, "")

    def test_bcc_gets_a_copy_of_its_own(self):
        bob, mine, his = self.know_each_other()
        carol = Person(self.root, "carol@example.org")
        hers = carol.make_key()
        self.alice.run("key", "import", "--certify", "--fingerprint", hers, data=carol.key())
        message = MESSAGE.replace("Subject:", "Bcc: carol@example.org\nSubject:")
        out, error = self.alice.run("seal", data=message, status=1)
        self.assertEqual(out, "")
        self.assertIn("--output-dir", error)
        folder = os.path.join(self.root, "copies")
        groups = self.alice.json("seal", "--output-dir", folder, data=message)
        keys = {group["recipients"][0]: group["keys"] for group in groups}
        self.assertEqual(keys, {"bob@example.org": sorted([mine, his]), "carol@example.org": sorted([mine, hers])})
        for group in groups:
            with open(group["file"], encoding="utf-8") as file:
                self.assertNotIn("carol", file.read())
        with open(groups[0]["file"], "rb") as file:
            bob.run("open", data=file.read())

    def test_line_ends(self):
        self.alice.make_key()
        self.alice.run("seal", "--to", "x@plain.example", data=MESSAGE.replace("\n", "\r\n"))
        out, error = self.alice.run(
            "seal", "--to", "x@plain.example", data=MESSAGE.replace("\n", "\r\n") + "bare\n", status=1
        )
        self.assertEqual(out, "")
        self.assertIn("bare", error)

    # configuration and machine

    def test_configuration_errors_name_file_line_and_expectation(self):
        with open(self.alice.config, "a", encoding="utf-8") as file:
            file.write("colour = red\n")
        for words in (("check",), ("key", "list"), ("why", "a@b.example"), ("seal",), ("serve",)):
            _, error = self.alice.run(*words, status=2)
            self.assertRegex(error, r"privyseal\.conf:\d+: .*colour.*expected")

    def test_check(self):
        self.alice.run("check", "--offline", status=1)
        self.alice.make_key()
        lines = self.alice.json("check", "--offline")
        self.assertNotIn("bad", [line["state"] for line in lines])

    def test_check_asks_the_server(self):
        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer, peer.makefile("rwb", buffering=0) as file:
                    file.write(b"220 mail.example ESMTP\r\n")
                    file.readline()
                    file.write(b"250-mail.example\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            dave = Person(self.root, "dave@example.org", upstream="smtp+clear://127.0.0.1:%d" % server.getsockname()[1],
                          rules='listen smtp { at = "127.0.0.1:0" }\n')
            dave.make_key()
            self.assertIn("PLAIN", dave.run("check")[0])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()
        self.assertIn("cannot be reached", dave.run("check", status=1)[0])

    def test_certificate(self):
        path, fingerprint = self.alice.run("certificate")
        with open(path.strip(), encoding="ascii") as file:
            self.assertIn("BEGIN CERTIFICATE", file.read())
        again = self.alice.json("certificate")
        self.assertEqual(again["certificate"], path.strip())
        self.assertIn(again["sha256"], fingerprint.replace(":", "").lower())

    def test_an_account_must_be_named_where_there_are_several(self):
        with open(self.alice.config, "a", encoding="utf-8") as file:
            file.write('account "work@example.org" { }\n')
        _, error = self.alice.run("key", "list", status=2)
        self.assertIn("work@example.org", error)
        self.alice.run("key", "list", "--account", "work@example.org")

    def test_help_and_usage(self):
        overview, _ = self.alice.run("--help", config=False)
        for name in ("serve", "check", "key make", "key import", "key list", "key show", "key export", "key delete",
                     "why", "seal", "open", "certificate"):
            self.assertIn(name, overview)
            text, _ = self.alice.run(*name.split(), "--help", config=False)
            for piece in ("Usage: privyseal " + name, "--config", "--json", "--at", "Example:", "Exit status"):
                self.assertIn(piece, text)
            self.assertEqual(self.alice.run("help", *name.split(), config=False)[0], text)
        self.assertIn("privyseal", self.alice.run("--version", config=False)[0])
        for words in ((), ("nonsense",), ("key",), ("key", "nonsense"), ("seal", "--nonsense"), ("seal", "surplus"),
                      ("why",), ("open", "--at", "yesterday"), ("key", "make", "--expires", "soon")):
            self.alice.run(*words, status=2, config=False)


if __name__ == "__main__":
    unittest.main()
