#!/usr/bin/python3
"""What openssl's certification authority and its responder say of certificates, served on loopback: heard, kept, and
not believed where it should not be."""
import datetime
import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

DAY = datetime.timedelta(days=1)


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError("openssl %s: %s" % (arguments, done.stderr.decode(errors="replace")))
    return done.stdout


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Issuer:
    """A certification authority of openssl's: its certificate, and the index of those that it has issued."""

    def __init__(self, folder, name, above=None, extensions=()):
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder)
        self.name, self.serial = name, 4096
        self.certificate, self.key = self.path("ca.pem"), self.path("ca.key")
        self.index, self.settings = self.path("index.txt"), self.path("ca.conf")
        with open(self.index, "w", encoding="ascii"):
            pass
        with open(self.settings, "w", encoding="ascii") as file:
            file.write("[ca]\ndefault_ca = d\n[d]\ndatabase = %s\ncertificate = %s\nprivate_key = %s\n"
                       "default_md = sha256\ndefault_crl_days = 1\n" % (self.index, self.certificate, self.key))
        usage = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", *extensions)
        if above is None:
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                    "/CN=" + name, *[each for one in usage for each in ("-addext", one)], "-days", "30", "-out",
                    self.certificate, "-keyout", self.key)
        else:
            self.certificate, self.key = above.issue(name, usage)
            with open(self.settings, encoding="ascii") as file:
                text = file.read()
            with open(self.settings, "w", encoding="ascii") as file:
                file.write(text.replace(self.path("ca.pem"), self.certificate).replace(self.path("ca.key"), self.key))

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, extensions):
        stem = self.path(name)
        self.serial += 1
        with open(stem + ".ext", "w", encoding="ascii") as file:
            file.write("\n".join([*extensions, ""]))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
                "-out", stem + ".csr", "-keyout", stem + ".key")
        openssl("x509", "-req", "-in", stem + ".csr", "-CA", self.certificate, "-CAkey", self.key, "-set_serial",
                str(self.serial), "-days", "20", "-extfile", stem + ".ext", "-out", stem + ".crt")
        with open(self.index, "a", encoding="ascii") as file:
            file.write("V\t991231235959Z\t\t%X\tunknown\t/CN=%s\n" % (self.serial, name))
        return stem + ".crt", stem + ".key"

    def revoke(self, name, reason="superseded"):
        """As `openssl ca -revoke`, since a day ago."""
        since = (datetime.datetime.utcnow() - DAY).strftime("%y%m%d%H%M%SZ")
        with open(self.index, encoding="ascii") as file:
            lines = file.read().splitlines()
        with open(self.index, "w", encoding="ascii") as file:
            for line in lines:
                fields = line.split("\t")
                if fields[5] == "/CN=" + name:
                    fields[0], fields[2] = "R", since + "," + reason
                file.write("\t".join(fields) + "\n")

    def list(self):
        pem = openssl("ca", "-config", self.settings, "-gencrl")
        return openssl("crl", "-outform", "DER", data=pem)

    def answer(self, request, signer=None):
        """As openssl's responder answers; `signer`: certificate and key."""
        with tempfile.NamedTemporaryFile(dir=self.folder) as asked, tempfile.NamedTemporaryFile(dir=self.folder) as out:
            asked.write(request)
            asked.flush()
            certificate, key = signer or (self.certificate, self.key)
            openssl("ocsp", "-index", self.index, "-CA", self.certificate, "-rsigner", certificate, "-rkey", key,
                    "-reqin", asked.name, "-respout", out.name, "-ndays", "1")
            return out.read()

    def old_answer(self, path):
        """A good answer about this certificate, signed as it should be, that ran out yesterday."""
        certificate, issuer = (x509.load_pem_x509_certificate(read(each)) for each in (path, self.certificate))
        now = datetime.datetime.utcnow()
        made = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate, issuer=issuer, algorithm=hashes.SHA1(), cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now - 3 * DAY, next_update=now - DAY, revocation_time=None, revocation_reason=None)
        made = made.responder_id(ocsp.OCSPResponderEncoding.NAME, issuer)
        key = serialization.load_pem_private_key(read(self.key), None)
        return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        give = self.server.pages.get(self.path)
        try:
            status, fields, page = (404, {}, b"") if give is None else give(body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(page)), **fields}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)
        except OSError:
            pass

    do_GET = do_POST = answer

    def log_message(self, *_arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked = {}, []
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def url(self, path):
        return "http://127.0.0.1:%d%s" % (self.server_port, path)

    def page(self, path, give):
        self.pages[path] = give if callable(give) else lambda _body: (200, {}, give)

    def count(self, path):
        return len([each for each in self.asked if each[1] == path])

    def end(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class Revocation(unittest.TestCase):
    """Root issues Middle, Middle issues people; each is asked about at the place that it names."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="privyseal-revocation-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.server = Server()
        self.addCleanup(self.server.end)
        self.root = Issuer(self.folder, "Root")
        self.middle = None

    def begin(self, form, high="/high", low="/low"):
        """A chain in which both are asked about by lists or by a responder."""
        self.middle = Issuer(self.folder, "Middle", self.root, [self.place(form, high)])
        self.person = self.issue(form, low)
        if form == "list":
            self.publish()
        else:
            self.server.page(high, lambda body: (200, {}, self.root.answer(body)))
            self.server.page(low, lambda body: (200, {}, self.middle.answer(body)))

    def place(self, form, path):
        url = path if path.startswith("http:") else self.server.url(path)
        return ("crlDistributionPoints=URI:" if form == "list" else "authorityInfoAccess=OCSP;URI:") + url

    def issue(self, form, path, name="alice", extensions=()):
        return self.middle.issue(name, ["subjectAltName=email:%s@example.org" % name, self.place(form, path),
                                        *extensions])[0]

    def publish(self):
        self.server.page("/high", self.root.list())
        self.server.page("/low", self.middle.list())

    def ask(self, *certificates, deadline_ms=60000, hosts=("127.0.0.1",), anchors=None):
        """The texts, and what they come to."""
        done = subprocess.run(
            [os.path.join(os.environ["BUILD"], "tests/revocation_dump"), anchors or self.root.certificate,
             self.middle.certificate, str(deadline_ms), *hosts], input="".join(each + "\n" for each in certificates),
            capture_output=True, check=True, text=True, timeout=120)
        texts = done.stdout.split("\n= ")
        return [texts[0]] + [each.partition("\n")[2] for each in texts[1:-1]], [
            each.partition("\n")[0] for each in texts[1:]]

    def assert_told(self, expected, text=None, **options):
        texts, sums = self.ask(self.person, **options)
        self.assertEqual(sums, [expected], texts)
        if text:
            self.assertRegex(texts[0], text)

    def test_lists(self):
        self.begin("list")
        self.assert_told("good", r"(?s)not revoked; its issuer's word counts until .*not revoked; .*a trust anchor")
        self.middle.revoke("alice")
        self.publish()
        self.assert_told("revoked", r"CN=alice\n.*\n.*\n   revoked since \S+: superseded")

    def opened(self, mode):
        """What `privyseal open` says of mail that Alice has signed."""
        config, home = os.path.join(self.folder, "c.conf"), os.path.join(self.folder, "home")
        os.makedirs(home, 0o700, exist_ok=True)
        with open(config, "w", encoding="ascii") as file:
            file.write('state = "%s/state"\nrevocation_hosts = "127.0.0.1"\naccount "bob@example.org" {\n'
                       '    smtp = "smtp://127.0.0.1:1"\n    gnupghome = "%s"\n    smime_ca = "%s"\n'
                       '    revocation = %s\n}\n' % (self.folder, home, self.root.certificate, mode))
        mail = openssl("cms", "-sign", "-signer", self.person, "-inkey", self.person.replace(".crt", ".key"),
                       "-certfile", self.middle.certificate, "-from", "alice@example.org", "-subject", "x",
                       data=b"Content-Type: text/plain\r\n\r\nHello\r\n")
        done = subprocess.run([os.environ["PRIVYSEAL"], "open", "--report", "--json", "--config", config],
                              input=mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
                              capture_output=True, check=False, timeout=120)
        self.assertTrue(done.stdout, done.stderr)
        return json.loads(done.stdout)["signature"]

    def test_open(self):
        """The command judges as the proxy does."""
        self.begin("list")
        self.assertEqual([self.opened(mode) for mode in ("off", "soft", "hard")], ["good"] * 3)
        self.middle.revoke("alice")
        self.publish()
        told = [self.opened(mode) for mode in ("off", "soft", "hard")]
        self.assertEqual(told[0], "good")
        self.assertNotIn("good", told[1:])
        self.server.pages.clear()
        told = [self.opened(mode) for mode in ("off", "soft", "hard")]
        self.assertEqual(told[:2], ["good", "good"])
        self.assertNotEqual(told[2], "good")

    def test_lists_of_the_intermediate(self):
        self.begin("list")
        self.root.revoke("Middle", "CACompromise")
        self.publish()
        self.assert_told("revoked",
                         r"(?s)CN=alice.*   not revoked.*CN=Middle\n.*   revoked since \S+: its issuer's key")

    def test_hold(self):
        self.begin("list")
        self.middle.revoke("alice", "certificateHold")
        self.publish()
        self.assert_told("revoked", "on hold")

    def test_responder(self):
        self.begin("ocsp")
        self.assert_told("good")
        self.assertEqual({each[0] for each in self.server.asked}, {"POST"})
        # Nothing of us but what must be.
        self.assertEqual({name.lower() for each in self.server.asked for name in each[2]},
                         {"host", "connection", "content-type", "content-length"})
        self.middle.revoke("alice", "keyCompromise")
        self.assert_told("revoked", "its key fell into others' hands")

    def test_responder_of_the_intermediate(self):
        self.begin("ocsp")
        self.root.revoke("Middle")
        self.assert_told("revoked", r"CN=Middle\n.*\n.*\n   revoked since")

    def test_responder_that_was_charged(self):
        self.begin("ocsp")
        charged = self.middle.issue("responder", ["extendedKeyUsage=OCSPSigning", "noCheck=ignored"])
        self.server.page("/low", lambda body: (200, {}, self.middle.answer(body, charged)))
        self.assert_told("good")

    def test_lies(self):
        self.begin("ocsp")
        stranger = Issuer(self.folder, "Stranger")
        person = self.middle.issue("bob", ["subjectAltName=email:bob@example.org"])
        other = openssl("ocsp", "-issuer", self.middle.certificate, "-cert", person[0], "-no_nonce", "-reqout",
                        "/dev/stdout")
        above = self.root.issue("responder", ["extendedKeyUsage=OCSPSigning"])
        lies = {
            "a stranger's": lambda body: self.middle.answer(body, (stranger.certificate, stranger.key)),
            "a person's": lambda body: self.middle.answer(body, person),
            "the responder of the issuer above": lambda body: self.middle.answer(body, above),
            "about another": lambda _body: self.middle.answer(other),
            "old": lambda _body: self.middle.old_answer(self.person),
            "a list": lambda _body: self.middle.list(),
            "empty": lambda _body: b"",
            "rubbish": lambda body: body,
        }
        for name, lie in lies.items():
            with self.subTest(name):
                self.server.page("/low", lambda body, lie=lie: (200, {}, lie(body)))
                self.assert_told("unknown", r"CN=alice\n.*\n.*\n   not known whether it has been revoked: ")

    def test_no_answers(self):
        self.begin("list")
        good, gate = self.middle.list(), threading.Event()
        self.addCleanup(gate.set)
        cases = {
            "not there": (lambda _body: (404, {}, good), 60000),
            "elsewhere": (lambda _body: (302, {"Location": self.server.url("/else")}, good), 60000),
            "elsewhere for ever": (lambda _body: (301, {"Location": self.server.url("/low")}, good), 60000),
            "too large": (lambda _body: (200, {}, good + bytes(17 << 20)), 60000),
            "too large, it says": (lambda _body: (200, {"Content-Length": str(1 << 40)}, good), 60000),
            "cut": (lambda _body: (200, {"Content-Length": str(len(good))}, good[:-1]), 60000),
            "slow": (lambda _body: (200, {}, good) if gate.wait() else None, 300),
        }
        self.server.page("/else", good)
        for name, (give, deadline_ms) in cases.items():
            with self.subTest(name):
                self.server.page("/low", give)
                self.assert_told("unknown", "CN=alice\n.*\n.*\n   not known", deadline_ms=deadline_ms)
        self.assertEqual(self.server.count("/else"), 0)

    def test_nobody_there(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.begin("list", low="http://127.0.0.1:%d/low" % taken.getsockname()[1])
            self.assert_told("unknown", "CN=alice\n.*\n.*\n   not known")

    def test_kept(self):
        self.begin("list")
        people = [self.issue("list", "/low", "person%d" % number) for number in range(3)]
        self.middle.revoke("person1")
        self.publish()
        self.assertEqual(self.ask(self.person, *people, self.person)[1],
                         ["good", "good", "revoked", "good", "good"])
        self.assertEqual((self.server.count("/low"), self.server.count("/high")), (1, 1))

    def test_answers_kept(self):
        self.begin("ocsp")
        other = self.issue("ocsp", "/low", "bob")
        self.assertEqual(self.ask(self.person, self.person, other, other)[1], ["good"] * 4)
        self.assertEqual((self.server.count("/low"), self.server.count("/high")), (2, 1))

    def test_list_first(self):
        self.begin("list")
        both = self.issue("list", "/low", "bob", [self.place("ocsp", "/ocsp")])
        self.server.page("/ocsp", lambda body: (200, {}, self.middle.answer(body)))
        self.assertEqual(self.ask(both)[1], ["good"])
        self.assertEqual(self.server.count("/ocsp"), 0)
        # A list that is of no use: the responder's turn.
        self.server.page("/low", self.root.list())
        self.middle.revoke("bob")
        self.assertEqual(self.ask(both)[1], ["revoked"])
        self.assertEqual(self.server.count("/ocsp"), 1)

    def test_who_is_asked(self):
        self.begin("list")
        self.assert_told("unknown", hosts=())
        self.assert_told("no chain", anchors=Issuer(self.folder, "Other").certificate)
        self.assertEqual(self.server.asked, [])


if __name__ == "__main__":
    unittest.main()
