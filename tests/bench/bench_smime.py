"""The part of bench.py that is about S/MIME and directories.

smime       Messages of 10 KB a second, signed and encrypted by one keeper, or opened, and by as many as there are
            processors; the peer is bare OpenSSL with the same certificates (bench_cms.c). Beside it what one message
            takes of a processor's time, which a busy machine changes less.
smime-send  The same sealed on its way through the proxy, by 1, 2, 4 and 8 mail programs at once; the peer is bare
            OpenSSL in as many processes.
smime-peak  The most memory while one message of 50 MB is sealed, with AES-CBC and with AES-GCM, and while such a one
            is opened.
ldap        A thousand recipients whose certificates are in a directory: RCPT when it must be asked, and again. The
            peer is ldapsearch, which asks for all of them on one connection.
dead        RCPT where one of two directories that are asked together is dead: the first recipient waits for it, the
            peer is its deadline; those after him do not, the peer is the same without it. Then RCPT where a Web Key
            Directory, a keyserver or a DNS server is dead, or two of them (bench_dead.py); the peer is when it should
            be over: after a deadline for each stage, as stages are asked one after the other, and find_timeout at most.
"""
import datetime
import json
import os
import socket
import subprocess
import sys
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import harness
from bench_imap import Reader
from harness import ALICE, BOB
from imap_harness import RefImap
from test_smime import Authority

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "interop"))
from slapd import BASE, Slapd, person  # noqa: E402

ALGORITHMS = {"RSA-3072": ("rsa:3072",), "P-256": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")}
MAIL = ("extendedKeyUsage=emailProtection",)
ISSUER = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
SEALING = 'rule "all" { encrypt = required  sign = always  trust = unverified  format = { smime } }'
DEADLINE_S = 2
FINDING = 'rule "all" { encrypt = required  sign = never  format = { smime } }'


class People:
    """Alice and Bob with certificates by an issuer that a root has certified, in a folder as bench_cms reads it."""

    def __init__(self, folder, key):
        os.makedirs(folder)
        self.folder = folder
        root = Authority(folder, "root")
        self.run = root.run
        issuer = Authority.__new__(Authority)
        issuer.folder = folder
        issuer.certificate, issuer.key = root.issue("ca@example.org", "issuer", extensions=ISSUER, key=key)
        os.rename(issuer.certificate, self.path("issuer.pem"))
        issuer.certificate = self.path("issuer.pem")
        for name, address in (("alice", ALICE), ("bob", BOB)):
            issuer.issue(address, name, extensions=MAIL, key=key)

    def path(self, name):
        return os.path.join(self.folder, name)

    def sealed(self, message):
        """From Bob to Alice, as openssl does it."""
        signed = self.run("cms", "-sign", "-binary", "-crlfeol", "-signer", self.path("bob.crt"), "-inkey",
                          self.path("bob.key"), "-certfile", self.path("issuer.pem"), data=message)
        head = "From: Bob <%s>\r\nTo: Alice <%s>\r\nSubject: sealed\r\nMessage-ID: <peak@example.net>\r\n"
        head %= (BOB, ALICE)
        return head.encode() + self.run("cms", "-encrypt", "-binary", "-crlfeol", "-aes-256-cbc",
                                        self.path("alice.crt"), data=signed)


class SmimeBench:
    """Mixed into bench.Bench."""

    def people(self, algorithm):
        return People(os.path.join(self.folder, "people%d" % self.count()), ALGORITHMS[algorithm])

    def cms(self, people, work, processes, message):
        command = [os.path.join(os.environ.get("BUILD", "build"), "tests", "bench_cms"), harness.PRIVYSEAL,
                   os.path.join(os.path.dirname(os.path.abspath(harness.PRIVYSEAL)), "privyseal-gpg"), people.folder,
                   work, message, processes, self.seconds * 2]
        return json.loads(subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True).stdout)

    def smime_proxy(self, server, people, account="", options="", imap=None):
        """One whose account has Alice's key and knows Bob's certificate."""
        account += '\n    smime_ca = "%s"' % people.path("root.pem")
        proxy = harness.Proxy(self, server, rules=SEALING, account=account, start=False, imap=imap,
                              options="sessions_max = 5000\nsessions_per_address = 5000\nmessage_max = 209715200\n" +
                              options)
        with open(proxy.config, "w", encoding="utf-8") as file:
            file.write(proxy.text.replace("log = debug", "log = info"))
        for words in (("--own", "alice.crt", "alice.key"), ("issuer.pem", "bob.crt")):
            words = [people.path(word) if "." in word else word for word in words]
            subprocess.run([harness.PRIVYSEAL, "key", "import", *words, "--config", proxy.config], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        proxy.start()
        return proxy

    def measure_smime(self):
        message = self.file("letter.eml", self.make_message(10000))
        for algorithm in ALGORITHMS:
            people = self.people(algorithm)
            for work in ("seal", "open"):
                for processes in (1,) if self.options.quick else (1, os.cpu_count()):
                    result = self.cms(people, work, processes, message)
                    has_aim = algorithm == "RSA-3072"
                    name = "%s %s, %d at once" % (algorithm, work, processes)
                    for what, unit, ours, peer, ratio in (
                            (name, "/s", result["keeper"], result["bare"], result["keeper"] / result["bare"]),
                            ("  of a processor's time", "ms", result["keeper_cpu_ms"], result["bare_cpu_ms"],
                             result["bare_cpu_ms"] / result["keeper_cpu_ms"])):
                        self.note(what, ours, unit, peer=peer, ratio=ratio, aim=">= 0.7" if has_aim else None,
                                  is_fine=ratio >= 0.7 if has_aim else None)

    def measure_smime_send(self):
        server = self.server("smime")
        message = self.file("letter.eml", self.make_message(10000))
        for algorithm in list(ALGORITHMS)[-1:] if self.options.quick else ALGORITHMS:
            people = self.people(algorithm)
            proxy = self.smime_proxy(server, people)
            for sessions in (1,) if self.options.quick else (1, 2, 4, 8):
                ours, peer = self.in_turns(
                    lambda n=sessions, to=proxy.port: self.send(to, n, message, server)["rate"],
                    lambda n=sessions, whose=people: self.cms(whose, "seal", n, message)["bare"])
                self.note("S/MIME sent, %s, %d at once" % (algorithm, sessions), ours, "/s", peer=peer,
                          ratio=ours / peer)
            proxy.close()

    def note_peak(self, what, size, memory, do):
        with memory.peak() as (seen, parts):
            do()
        self.note("S/MIME peak, %s %.0f MB" % (what, size / 1e6), seen[-1] / 1e6, "MB", peer=size / 1e6,
                  ratio=seen[-1] / size)
        self.note("  of it in memory files", parts.get("shared", 0) / 1e6, "MB")

    def measure_smime_peak(self):
        people = self.people("P-256")
        message = self.make_message(1000000 if self.options.quick else 50000000, binary=True)
        small, big = self.file("letter.eml", self.make_message(10000)), self.file("dice.eml", message)
        for cipher in ("cbc", "gcm"):
            proxy = self.smime_proxy(self.server("peak-" + cipher), people, account="    smime_cipher = " + cipher)
            memory = self.memory_of(proxy)
            self.send_once(proxy.port, small)
            self.note_peak("sealed with %s" % cipher.upper(), len(message), memory,
                           lambda to=proxy.port: self.send_once(to, big))
            proxy.close()
        imap = RefImap(self, "peak-imap")
        proxy = self.smime_proxy(None, people, imap=imap)
        with imap.client() as client:
            for each in (self.make_message(10000), message):
                client.append("INBOX", None, None, people.sealed(each))
        reader = Reader(proxy.imap_port)
        reader.run(b"SELECT INBOX")
        if reader.run(b"FETCH 1 (BODY.PEEK[])") < 10000:
            raise AssertionError("it was not opened:\n" + proxy.log())
        self.note_peak("opened", len(message), self.memory_of(proxy), lambda: reader.run(b"FETCH 2 (BODY.PEEK[])"))
        reader.close()
        proxy.close()

    # ---- the directory ----

    def many_persons(self, count, authority):
        """(address, entry) of people with a certificate each, all for one key."""
        key = ec.generate_private_key(ec.SECP256R1())
        with open(authority.certificate, "rb") as file:
            issuer = x509.load_pem_x509_certificate(file.read())
        with open(authority.key, "rb") as file:
            signer = serialization.load_pem_private_key(file.read(), None)
        now = datetime.datetime.now(datetime.timezone.utc)
        for number in range(count):
            name, address = "person%d" % number, "person%d@example.net" % number
            certificate = x509.CertificateBuilder(
                issuer.subject, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key.public_key(),
                x509.random_serial_number(), now - datetime.timedelta(1), now + datetime.timedelta(20)).add_extension(
                    x509.SubjectAlternativeName([x509.RFC822Name(address)]), False).sign(signer, hashes.SHA256())
            der = certificate.public_bytes(serialization.Encoding.DER)
            yield address, person(name, address, userCertificate__binary=der)

    def measure_dead(self):
        authority = Authority(self.folder, "ca%d" % self.count())
        addresses, entries = zip(*self.many_persons(20 if self.options.quick else 200, authority))
        directory = Slapd(self, entries)
        text = 'directory "%s" {\n    url = "%s"\n    base = "%s"\n    timeout = %d\n}\n'
        took = {}
        with socket.create_server(("127.0.0.1", 0)) as dead:
            sections = text % ("live", directory.url(), BASE, DEADLINE_S)
            silent = text % ("dead", "ldap+clear://127.0.0.1:%d" % dead.getsockname()[1], BASE, DEADLINE_S)
            for name, options in (("one", sections + silent), ("none", sections)):
                proxy = harness.Proxy(
                    self, self.server("dead" + name), rules=FINDING, options="recipients_max = 1000\n" + options,
                    account='    smime_ca = "%s"' % authority.certificate)
                with harness.Raw(proxy.port) as client:
                    client.login()
                    client.command("MAIL FROM:<%s>" % ALICE)
                    took[name] = []
                    for address in addresses:
                        began = time.monotonic()
                        code, answer = client.command("RCPT TO:<%s>" % address)
                        if code != 250:
                            raise AssertionError("%s: %d %s\n%s" % (address, code, answer, proxy.log()[-4000:]))
                        took[name].append(time.monotonic() - began)
                proxy.close()
        first, rest = took["one"][0], sum(took["one"][1:]) / (len(addresses) - 1)
        peer = sum(took["none"][1:]) / (len(addresses) - 1)
        self.note("RCPT, one of two sources dead, first", first, "s", peer=float(DEADLINE_S), ratio=first / DEADLINE_S,
                  aim="<= 1.5", is_fine=first <= 1.5 * DEADLINE_S)
        self.note("RCPT, one of two sources dead, next", rest * 1000, "ms", peer=peer * 1000, ratio=rest / peer)
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_dead.py")
        done = subprocess.run([sys.executable, program, str(1 if self.options.quick else DEADLINE_S)],
                              stdout=subprocess.PIPE, check=True)
        for name, took, deadline in json.loads(done.stdout):
            self.note("RCPT, dead: " + name, took, "s", peer=deadline, ratio=took / deadline, aim="<= 1.5",
                      is_fine=took <= 1.5 * deadline)

    def measure_ldap(self):
        authority = Authority(self.folder, "ca%d" % self.count())
        addresses, entries = zip(*self.many_persons(20 if self.options.quick else 1000, authority))
        directory = Slapd(self, entries)
        proxy = harness.Proxy(
            self, self.server("ldap"), rules=FINDING, account='    smime_ca = "%s"' % authority.certificate,
            options='recipients_max = 1000\ndirectory "corp" {\n    url = "%s"\n    base = "%s"\n}\n' % (
                directory.url(), BASE), start=False)
        with open(proxy.config, "w", encoding="utf-8") as file:
            file.write(proxy.text.replace("log = debug", "log = info"))
        proxy.start()
        names = self.file("addresses", "".join(address + "\n" for address in addresses).encode())

        def through():
            with harness.Raw(proxy.port) as client:
                client.login()
                client.command("MAIL FROM:<%s>" % ALICE)
                began = time.monotonic()
                for address in addresses:
                    code, text = client.command("RCPT TO:<%s>" % address)
                    if code != 250:
                        raise AssertionError("%s: %d %s\n%s" % (address, code, text, proxy.log()[-4000:]))
                return time.monotonic() - began

        def directly():
            began = time.monotonic()
            done = subprocess.run(["ldapsearch", "-x", "-LLL", "-H", "ldap://127.0.0.1:%d" % directory.port,
                                   "-b", BASE, "-f", names, "(mail=%s)", "userCertificate;binary"],
                                  capture_output=True, check=True)
            if done.stdout.count(b"userCertificate;binary:") != len(addresses):
                raise AssertionError("ldapsearch has not found all")
            return time.monotonic() - began

        peer = directly()
        for what in ("cold", "cached"):
            ours = through()
            peer = (peer + directly()) / 2
            self.note("%d LDAP look-ups, %s" % (len(addresses), what), ours, "s", peer=peer, ratio=ours / peer)
        proxy.close()
