"""Keys over HTTPS: Web Key Directories and keyservers, asked by `key find`, `check`, `why`, and at RCPT by the proxy.
Who must not hear of an address hears nothing."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import harness
import netspace
from harness import PRIVYSEAL, Gpg, Proxy, Raw, RefServer, World

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
import wot_made  # noqa: E402

KEYD = os.path.join(os.path.dirname(os.path.abspath(harness.SMTPD)), "keyd")
DONE, REFUSED, FAILED = 0, 1, 3
REQUIRED = 'rule "all" { encrypt = required  sign = always }'
ANY_TRUST = 'rule "all" { encrypt = required  sign = always  trust = unverified }'
ERIN, FRANK, GRACE, HEIDI = "Erin.Key@wkd.example", "frank@direct.example", "grace@none.example", "heidi@wkd.example"
IVAN = "ivan@xn--bcher-kva.example"
WKD, DIRECT, KEYS, OTHER = "openpgpkey.wkd.example", "direct.example", "keys.example", "other.example"
HOSTS = {WKD: "127.0.0.2", DIRECT: "127.0.0.2", KEYS: "127.0.0.3", OTHER: "127.0.0.4",
         "openpgpkey.xn--bcher-kva.example": "127.0.0.2", "openpgpkey.silent.example": None}
SHARED = {}
HUGE_S = 20


def setUpModule():
    folder = tempfile.mkdtemp(prefix="pv", dir="/tmp")
    unittest.addModuleCleanup(shutil.rmtree, folder, True)
    netspace.enter(folder)
    names = netspace.Names(HOSTS)
    unittest.addModuleCleanup(names.close)
    SHARED["names"] = names
    gpg = Gpg(os.path.join(folder, "k"))
    unittest.addModuleCleanup(gpg.close)
    for address in (ERIN, FRANK, GRACE, HEIDI, IVAN):
        gpg.make(address)
    gpg.take(harness.keys().export(harness.ALICE))
    SHARED["gpg"] = gpg


def exported(address):
    return SHARED["gpg"].run("--export", "<%s>" % address).stdout


def wkd_hash(address):
    """As gpg computes it."""
    listing = SHARED["gpg"].run("--with-wkd-hash", "--list-keys", "<%s>" % address).stdout.decode()
    return re.search(r"([a-z0-9]{32})@", listing).group(1)


class Keyd:
    """A reference server: `files` are what it has, by host and name."""

    def __init__(self, world, address, files=None):
        self.folder = os.path.join(world.folder, "keyd%d" % world.count())
        self.wire, self.fault_file = os.path.join(self.folder, "wire"), os.path.join(self.folder, "faults")
        os.makedirs(self.folder)
        for name, data in (files or {}).items():
            os.makedirs(os.path.dirname(os.path.join(self.folder, name)), exist_ok=True)
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(data)
        certificate, key = world.certificate("https", ",".join("DNS:" + name for name in HOSTS))
        self.process = subprocess.Popen(
            [KEYD, "--address", address, "--port", "443", "--cert", certificate, "--key", key, "--store", self.folder,
             "--wire", self.wire, "--faults", self.fault_file], stdout=subprocess.PIPE)
        assert self.process.stdout.readline().startswith(b"ready"), "keyd does not start"
        world.add(self.close)

    def order(self, action):
        """What every answer is from now on; None: what it has."""
        with open(self.fault_file + ".new", "w", encoding="ascii") as file:
            file.write("answer:*=%s\n" % action if action else "")
        os.rename(self.fault_file + ".new", self.fault_file)

    def asked(self):
        with open(self.wire, encoding="utf-8") as file:
            return file.read().splitlines()

    def stop(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.stop()
        self.process.stdout.close()


def wkd_file(host, address, direct=False):
    domain = address.split("@")[1]
    path = ".well-known_openpgpkey_%shu_%s" % ("" if direct else domain + "_", wkd_hash(address))
    return os.path.join(host, path)


class Case(World):
    def setUp(self):
        super().setUp()
        self.server = None
        self.wkd = Keyd(self, "127.0.0.2", {wkd_file(WKD, ERIN): exported(ERIN), wkd_file(WKD, HEIDI): exported(HEIDI),
                                            wkd_file(DIRECT, FRANK, True): exported(FRANK),
                                            wkd_file("openpgpkey." + IVAN.split("@")[1], IVAN): exported(IVAN)})
        armour = SHARED["gpg"].run("--armor", "--export").stdout
        self.keys = Keyd(self, "127.0.0.3", {"%s/pks_%s" % (KEYS, address): armour for address in (ERIN, GRACE, HEIDI)})
        self.other = Keyd(self, "127.0.0.4")

    def options(self, sources=("wkd", "keyserver"), wkd="", keyserver="", hosts=(WKD, DIRECT)):
        ca = self.certificate("https")[0]
        hosts = "hosts = { %s }" % ", ".join('"%s"' % host for host in hosts) if hosts else ""
        text = "sources = { %s }\n" % ", ".join('"%s"' % each for each in sources)
        if "wkd" in sources:
            text += 'wkd {\n ca_file = "%s"\n timeout = 10\n %s\n %s\n}\n' % (ca, hosts, wkd)
        if "keyserver" in sources:
            text += 'keyserver "keys" {\n url = "hkps://%s"\n ca_file = "%s"\n %s\n}\n' % (KEYS, ca, keyserver)
            text += ('keyserver "other" {\n url = "hkps://%s"\n ca_file = "%s"\n domains = "elsewhere.example"\n}\n'
                     % (OTHER, ca))
        return text

    def proxy(self, rules=REQUIRED, start=False, **options):
        self.server = self.server or RefServer(self, tls="none")
        return Proxy(self, self.server, rules=rules, options=self.options(**options), start=start)

    def run_command(self, proxy, *arguments):
        done = subprocess.run([PRIVYSEAL, *arguments, "--config", proxy.config, "--json"], capture_output=True,
                              check=False)
        return done.returncode, json.loads(done.stdout or b"null"), done.stderr.decode(errors="replace")

    def find(self, proxy, address):
        """What each source says: (state, trust, reason), by the section's title or kind."""
        status, lines, errors = self.run_command(proxy, "key", "find", address)
        self.assertIsNotNone(lines, errors)
        return status, {line["directory"] or line["source"]: (line["state"], line["trust"], line["reason"])
                        for line in lines}, errors

    def assert_nothing_searched(self):
        """Whose keys are looked for is no business of the domains that short names are completed with: those get to
        know hosts that the configuration names, and no others."""
        named = {host + "." + netspace.SEARCHED for host in (KEYS, OTHER)}
        self.assertEqual({name for name in SHARED["names"].asked if name.endswith(netspace.SEARCHED)} - named, set())


def failures(proxy, slow):
    """What a server does, asked by a proxy with time or by one that waits for a second; and what is then said of it."""
    return [(proxy, "status 500", "failed", "none"),
            (proxy, "huge", "failed", "larger than"),
            (proxy, "cut", "failed", "none"),
            (slow, "hang", "failed", "no answer in 1 seconds"),
            (slow, "slow", "failed", "no answer in 1 seconds")]


class Find(Case):
    def test_each_source(self):
        proxy = self.proxy()
        status, said, errors = self.find(proxy, ERIN)
        self.assertEqual(status, DONE, errors)
        self.assertEqual({name: line[:2] for name, line in said.items()},
                         {"wkd": ("found", "found"), "keys": ("found", "unverified"), "other": ("not asked", "")})
        self.assertEqual(self.wkd.asked(), ["%s /.well-known/openpgpkey/wkd.example/hu/%s?l=Erin.Key"
                                            % (WKD, wkd_hash(ERIN))])
        self.assertEqual(self.keys.asked(),
                         ["%s /pks/lookup?op=get&options=mr&exact=on&search=Erin.Key%%40wkd.example" % KEYS])
        # Of all the keys that the keyserver sent one is hers, and whoever is not to be asked has heard nothing.
        self.assertEqual(self.other.asked(), [])

    def test_direct_only_without_the_other_host(self):
        proxy = self.proxy(sources=("wkd",))
        status, said, errors = self.find(proxy, FRANK)
        self.assertEqual((status, said["wkd"][:2]), (DONE, ("found", "found")), errors)
        self.assertEqual(self.wkd.asked(), ["%s /.well-known/openpgpkey/hu/%s?l=frank" % (DIRECT, wkd_hash(FRANK))])
        # Where the first host is there, its word counts.
        status, said, errors = self.find(proxy, "nobody@wkd.example")
        self.assertEqual((status, said["wkd"][0]), (REFUSED, "nothing"), errors)
        self.assertEqual(len(self.wkd.asked()), 2)
        self.assertNotIn("wkd.example", SHARED["names"].asked)
        self.assert_nothing_searched()

    def test_international_domain(self):
        host = "openpgpkey." + IVAN.split("@")[1]
        proxy = self.proxy(sources=("wkd",), hosts=(host,))
        status, said, errors = self.find(proxy, "ivan@b\u00fccher.example")
        self.assertEqual((status, said["wkd"][:2]), (DONE, ("found", "found")), errors)
        self.assertTrue(self.wkd.asked()[0].startswith(host + " "))

    def test_faults(self):
        """Each ends in time, is told apart, and the next source is heard."""
        proxy = self.proxy(wkd="")
        slow = self.proxy()
        with open(slow.config, encoding="utf-8") as file:
            text = file.read()
        with open(slow.config, "w", encoding="utf-8") as file:
            file.write(text.replace("timeout = 10", "timeout = 1"))
        with open(os.path.join(self.wkd.folder, "wrong"), "wb") as file:
            file.write(exported(GRACE))
        with open(os.path.join(self.wkd.folder, "garbage"), "wb") as file:
            file.write(b"<html>no such page</html>")
        cases = [(proxy, "file wrong", "nothing", "no key with the address"),
                 (proxy, "file garbage", "nothing", "no OpenPGP key"),
                 (proxy, "redirect https://%s/pks" % KEYS, "nothing", ""),
                 (proxy, "redirect http://localhost/", "nothing", ""),
                 *failures(proxy, slow)]
        for config, action, state, reason in cases:
            with self.subTest(action=action):
                self.wkd.order(action)
                began, heard = time.monotonic(), len(self.keys.asked())
                status, said, errors = self.find(config, ERIN)
                self.assertLess(time.monotonic() - began, HUGE_S)
                self.assertEqual((status, said["wkd"][0], said["keys"][0]), (DONE, state, "found"), errors)
                self.assertIn(reason, said["wkd"][2] + errors)
                # The redirect to it was not followed: it has been asked for itself alone.
                self.assertEqual(len(self.keys.asked()), heard + 1)

    def test_faults_of_a_keyserver(self):
        """It leads nowhere else, neither to another server that is there nor to this machine or a private address; and
        what is no key of the address is none."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.add(listening.close)
        proxy, slow = self.proxy(sources=("keyserver",)), self.proxy(sources=("keyserver",), keyserver="timeout = 1")
        for name, data in (("wrong", exported(GRACE)), ("garbage", b"<html>no such page</html>"), ("empty", b""),
                           ("damaged", exported(ERIN)[:-40])):
            with open(os.path.join(self.keys.folder, name), "wb") as file:
                file.write(data)
        cases = [(proxy, "file wrong", "nothing", "no key with the address"),
                 (proxy, "file garbage", "nothing", "no OpenPGP key"),
                 (proxy, "file empty", "nothing", "no OpenPGP key"),
                 (proxy, "file damaged", "nothing", "no OpenPGP key"),
                 (proxy, "redirect https://%s/pks/lookup" % OTHER, "nothing", "does not say"),
                 (proxy, "redirect http://localhost:%d/" % listening.getsockname()[1], "nothing", "does not say"),
                 (proxy, "redirect http://127.0.0.1:%d/" % listening.getsockname()[1], "nothing", "does not say"),
                 (proxy, "redirect https://10.0.0.1/pks/lookup", "nothing", "does not say"),
                 *failures(proxy, slow)]
        for config, action, state, reason in cases:
            with self.subTest(action=action):
                self.keys.order(action)
                heard = len(self.keys.asked())
                status, said, errors = self.find(config, ERIN)
                self.assertEqual((status, said["keys"][0]), (FAILED if state == "failed" else REFUSED, state), errors)
                self.assertIn(reason, said["keys"][2] + errors)
                self.assertEqual(len(self.keys.asked()), heard + 1)
        self.assertEqual(self.other.asked(), [])
        listening.setblocking(False)
        self.assertRaises(BlockingIOError, listening.accept)

    def test_nul_in_a_user_id(self):
        """An address does not end at a NUL: who reads user IDs as C strings would take another's key for hers."""
        proxy, made, address = self.proxy(), int(time.time()) - 86400, ERIN.encode()
        names = [address + b"\0", address + b"\0@evil.example", b"Erin <" + address + b"\0>",
                 b"Erin <" + address + b"\0.evil.example>", b"Erin <" + address + b">\0",
                 address + b"\0<m@evil.example>"]
        for name in names + [address]:
            key = wot_made.Key(made, os.urandom(32))
            data = wot_made.packet(wot_made.TAG_KEY, key.body) + key.bind(name) + key.encryption()
            with open(os.path.join(self.wkd.folder, "nul"), "wb") as file:
                file.write(data)
            shutil.copy(os.path.join(self.wkd.folder, "nul"), self.keys.folder)
            self.wkd.order("file nul")
            self.keys.order("file nul")
            status, said, errors = self.find(proxy, ERIN)
            found = "found" if name == address else "nothing"
            self.assertEqual((status, said["wkd"][0], said["keys"][0]),
                             (DONE if name == address else REFUSED, found, found), (name, errors))
            status, _, errors = self.run_command(proxy, "key", "import", os.path.join(self.wkd.folder, "nul"))
            self.assertEqual(status, DONE, errors)
            _, listed, errors = self.run_command(proxy, "key", "list")
            mine = [line for line in listed if line["fingerprint"] == key.fingerprint]
            self.assertEqual(len(mine), 1, errors)
            self.assertEqual(any(ERIN.lower() == word.lower() for word in self.addresses(mine)), name == address, mine)
            _, answer, errors = self.run_command(proxy, "why", ERIN)
            self.assertEqual(key.fingerprint in json.dumps(answer), name == address, (name, answer))

    def addresses(self, value):
        """All texts in what a command printed."""
        if isinstance(value, str):
            return [value]
        if isinstance(value, dict):
            value = list(value.values())
        return [word for each in value for word in self.addresses(each)] if isinstance(value, list) else []

    def test_whose_certificate_or_address_is_not_good(self):
        self.wkd.stop()
        certificate, key = self.certificate("stranger", "DNS:" + WKD)
        stranger = subprocess.Popen(
            [KEYD, "--address", "127.0.0.2", "--port", "443", "--cert", certificate, "--key", key,
             "--store", self.wkd.folder, "--wire", self.wkd.wire], stdout=subprocess.PIPE)
        self.add(lambda: (stranger.kill(), stranger.wait(), stranger.stdout.close()))
        self.assertTrue(stranger.stdout.readline().startswith(b"ready"))
        status, said, errors = self.find(self.proxy(), ERIN)
        self.assertEqual((status, said["wkd"][0], said["keys"][0]), (DONE, "failed", "found"), errors)
        self.assertIn("certificate", said["wkd"][2])
        # A domain that points to this machine is not connected to.
        status, said, errors = self.find(self.proxy(hosts=()), ERIN)
        self.assertEqual((status, said["wkd"][0], said["keys"][0]), (DONE, "failed", "found"), errors)
        self.assertIn("private", said["wkd"][2])
        self.assertEqual(self.wkd.asked(), [])

    def test_flooded_key(self):
        """Other people's signatures are left out; what is larger than an answer may be is none."""
        signature = bytes([0xc2, 72, 4, 0x10, 22, 8, 0, 0, 0, 10, 9, 16]) + bytes(range(8)) + bytes(54)
        key = exported(ERIN)
        for count, state in ((50000, "found"), (100000, "failed")):
            at = key.index(ERIN.encode()) + len(ERIN) + 1
            path = os.path.join(self.keys.folder, KEYS, "pks_" + ERIN)
            with open(path, "wb") as file:
                file.write(key[:at] + signature * count + key[at:])
            began = time.monotonic()
            status, said, errors = self.find(self.proxy(sources=("keyserver",)), ERIN)
            self.assertEqual(said["keys"][0], state, errors)
            self.assertLess(time.monotonic() - began, HUGE_S)

    def test_odd_addresses(self):
        """Whatever stands in an address is a value of the question, and nothing else."""
        proxy = self.proxy(hosts=(WKD,))
        for local, escaped in (('"a*b)(c"', "%22a%2Ab%29%28c%22"), ("a%0d%0aX", "a%250d%250aX"),
                               ("a&search=b", "a%26search%3Db"), ('"a b"', "%22a%20b%22"), ("x/y?z", "x%2Fy%3Fz"),
                               ('"x@y"', "%22x%40y%22"), ("'`$|{}~", "%27%60%24%7C%7B%7D~")):
            status, _, errors = self.run_command(proxy, "key", "find", local + "@wkd.example")
            self.assertEqual(status, REFUSED, errors)
            self.assertTrue(self.keys.asked()[-1].endswith("search=%s%%40wkd.example" % escaped), self.keys.asked()[-1])
            self.assertTrue(self.wkd.asked()[-1].endswith("?l=" + escaped))

    def test_check_and_why(self):
        proxy = self.proxy()
        _, lines, _ = self.run_command(proxy, "check")
        said = {line["subject"]: line["state"] for line in lines if line["subject"] in ("wkd", "keys", "other")}
        self.assertEqual(said, {"wkd": "ok", "keys": "ok", "other": "ok"})
        self.assertEqual(self.wkd.asked(), [])
        self.keys.stop()
        _, lines, _ = self.run_command(proxy, "check")
        self.assertEqual([line["state"] for line in lines if line["subject"] == "keys"], ["bad"])
        heard = len(self.other.asked())
        _, answer, _ = self.run_command(proxy, "why", ERIN)
        self.assertEqual(answer["sources"], ["wkd", "keyserver keys"])
        self.assertEqual((self.wkd.asked(), len(self.other.asked())), ([], heard))


class Rcpt(Case):
    def rcpt(self, proxy, *addresses):
        with Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % harness.ALICE)
            return [client.command("RCPT TO:<%s>" % address) for address in addresses]

    def test_found_and_sealed(self):
        """What a stronger source answers a weaker one does not hear of."""
        proxy = self.proxy(start=True)
        proxy.send(b"From: %s\r\nTo: %s\r\nSubject: x\r\n\r\nsecret words\r\n"
                   % (harness.ALICE.encode(), ERIN.encode()), [ERIN])
        (_, data), = self.server.mail()
        self.assertNotIn(b"secret words", self.server.wire())
        self.assertIn(b"secret words", SHARED["gpg"].decrypt(data)[0])
        self.assertEqual(len(self.wkd.asked()), 1)
        self.assertEqual((self.keys.asked(), self.other.asked()), ([], []))
        # Once known it is not asked for again; nor is what nobody has.
        (code, _), = self.rcpt(proxy, ERIN)
        self.assertEqual((code, len(self.wkd.asked())), (250, 1))
        for _ in range(2):
            (code, text), = self.rcpt(proxy, "nobody@wkd.example")
            self.assertEqual(code, 550)
            self.assertIn("asked in vain: wkd, keyserver keys", text)
            self.assertEqual((len(self.wkd.asked()), len(self.keys.asked())), (2, 1))
        self.assertEqual(self.other.asked(), [])

    def test_keyserver_is_not_enough(self):
        """What anybody may have put there is found, kept, and no key for mail that must be encrypted."""
        proxy = self.proxy(start=True)
        (code, _), = self.rcpt(proxy, GRACE)
        self.assertEqual(code, 550, proxy.log())
        self.assertEqual(len(self.keys.asked()), 1)
        self.assertIn("openpgpkey.none.example", SHARED["names"].asked)
        self.assert_nothing_searched()

    def test_next_source(self):
        """A wrong key, and silence: bounded, logged, and the keyserver is asked."""
        proxy = self.proxy(rules=ANY_TRUST, wkd="", start=False)
        with open(proxy.config, encoding="utf-8") as file:
            text = file.read()
        with open(proxy.config, "w", encoding="utf-8") as file:
            file.write(text.replace("timeout = 10", "timeout = 1"))
        proxy.start()
        with open(os.path.join(self.wkd.folder, "wrong"), "wb") as file:
            file.write(exported(GRACE))
        self.wkd.order("file wrong")
        (code, _), = self.rcpt(proxy, HEIDI)
        self.assertEqual(code, 250, proxy.log())
        self.assertIn("wkd: its answer has no key with the address", proxy.log())
        self.wkd.order("hang")
        began = time.monotonic()
        (code, _), = self.rcpt(proxy, ERIN)
        self.assertEqual(code, 250, proxy.log())
        self.assertLess(time.monotonic() - began, HUGE_S)
        self.assertIn("wkd: no answer in 1 seconds", proxy.log())
        self.assertEqual([line.rsplit("=", 1)[1] for line in self.keys.asked()],
                         ["heidi%40wkd.example", "Erin.Key%40wkd.example"])

    def test_all_sources_together_have_a_deadline(self):
        """Stages add their deadlines, up to find_timeout; whoever could not be asked in that time has not said that
        there is no key."""
        proxy = self.proxy(rules=ANY_TRUST, start=False)
        with open(proxy.config, encoding="utf-8") as file:
            text = file.read()
        with open(proxy.config, "w", encoding="utf-8") as file:
            file.write("find_timeout = 1\n" + text.replace("timeout = 10", "timeout = 60"))
        proxy.start()
        self.wkd.order("hang")
        (code, _), = self.rcpt(proxy, ERIN)
        self.assertEqual((code, len(self.wkd.asked()), self.keys.asked()), (451, 1, []), proxy.log())
        self.assertIn("not all sources have been asked for %s in 1 seconds" % ERIN, proxy.log())
        self.assertNotIn("no answer in 60 seconds", proxy.log())

    def test_failure_is_for_later(self):
        """Where encryption is required and a directory does not answer, nobody says that there is no key; one domain's
        servers that are down say nothing of another's."""
        proxy = self.proxy(sources=("wkd",), start=True)
        self.wkd.order("status 503")
        (code, _), = self.rcpt(proxy, ERIN)
        self.assertEqual(code, 451, proxy.log())
        self.wkd.stop()
        (code, _), = self.rcpt(proxy, ERIN)
        self.assertEqual(code, 451)
        again = Keyd(self, "127.0.0.2", {wkd_file(DIRECT, FRANK, True): exported(FRANK)})
        (code, _), = self.rcpt(proxy, ERIN)
        self.assertEqual((code, again.asked()), (451, []))
        (code, _), = self.rcpt(proxy, FRANK)
        self.assertEqual(code, 250, proxy.log())


if __name__ == "__main__":
    unittest.main()
