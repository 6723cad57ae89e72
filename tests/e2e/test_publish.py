"""Keys published and refreshed: a Web Key Directory's files served over TLS and found, a key sent to a keyserver, and
what has become of correspondents' keys, by command and in the background."""
import os
import shutil
import stat
import subprocess
import time
import unittest
import urllib.parse

import harness
import netspace
import test_sources
from harness import ALICE, BOB, Gpg, RefServer, wait_for
from test_sources import DONE, FAILED, KEYS, REFUSED, SHARED, WKD, Case, Keyd, exported, wkd_file, wot_made

HEIDI, ERIN = test_sources.HEIDI, test_sources.ERIN
OWN = "openpgpkey.example.org"
test_sources.HOSTS[OWN] = "127.0.0.5"
setUpModule = test_sources.setUpModule
USAGE = 2
REQUIRED = 'rule "all" { encrypt = required  sign = never  trust = unverified }'


def fingerprint(address):
    return SHARED["gpg"].fingerprint(address)


class Changed(Gpg):
    """A copy of everybody's keys in which one of them is no longer what it was."""

    def __init__(self, world):
        super().__init__(os.path.join(world.folder, "changed%d" % world.count()))
        shutil.copytree(SHARED["gpg"].home, self.home, dirs_exist_ok=True,
                        ignore=lambda folder, names: [name for name in names if name.startswith("S.")])
        world.add(self.close)

    def revoke(self, address):
        self.run("--import", data=self.revocation(self.fingerprint(address)))
        return self

    def expire(self, address, when):
        for which in ((), ("*",)):
            self.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-set-expire",
                     self.fingerprint(address), when, *which)
        return self

    def binary(self, address, *options):
        return self.run("--export", *options, "<%s>" % address).stdout


class Publish(Case):
    def add_names(self):
        """Alice gets a second address, and a certification by Bob."""
        alice = self.alice()
        key = alice.fingerprint(ALICE)
        alice.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-uid", key, "<alice@private.example>")
        signer = Gpg(os.path.join(self.folder, "signer"))
        self.add(signer.close)
        signer.take(harness.keys().export_secret(BOB), own=True)
        signer.take(alice.export(ALICE))
        signer.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-sign-key", key)
        alice.take(signer.export(ALICE))
        return key

    def names_in(self, path):
        listing = SHARED["gpg"].run("--show-keys", "--with-colons", path).stdout.decode()
        return [line.split(":")[9] for line in listing.splitlines() if line.startswith("uid")]

    def test_web_key_directory(self):
        key = self.add_names()
        for words in (("add",), ("revoke",)):
            self.alice().run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-%s-uid" % words, key,
                             "<alice@gone.example>")
        proxy = self.proxy(sources=("wkd",), hosts=(OWN,))
        folder = os.path.join(self.folder, "www")
        status, said, errors = self.run_command(proxy, "key", "publish", ALICE, "--wkd", folder)
        self.assertEqual(status, DONE, errors)
        base = os.path.join(folder, ".well-known", "openpgpkey", "example.org")
        path = os.path.join(folder, said[0]["where"])
        self.assertEqual(os.path.dirname(path), os.path.join(base, "hu"))
        self.assertEqual(os.path.getsize(os.path.join(base, "policy")), 0)
        for at, folders, files in os.walk(folder):
            self.assertEqual(stat.S_IMODE(os.stat(at).st_mode), 0o755)
            for name in files:
                self.assertEqual(stat.S_IMODE(os.stat(os.path.join(at, name)).st_mode), 0o644)
            self.assertFalse(any("XX" in name for name in folders))
        # Nobody learns of her other address by it, or who has certified her.
        self.assertEqual(self.names_in(path), ["<%s>" % ALICE])
        dump = subprocess.run(["sq", "packet", "dump", path], capture_output=True, check=True).stdout.decode()
        self.assertNotIn("private.example", dump)
        self.assertNotIn(harness.keys().fingerprint(BOB)[-16:], dump.replace(" ", ""))
        subprocess.run(["sq", "inspect", path], capture_output=True, check=True)
        before = os.stat(path)
        status, said, _ = self.run_command(proxy, "key", "publish", ALICE, "--wkd", folder)
        self.assertEqual((status, said[0]["state"]), (DONE, "unchanged"))
        self.assertEqual((os.stat(path).st_mtime_ns, os.stat(path).st_ino), (before.st_mtime_ns, before.st_ino))
        # The policy is whoever's who serves it; what a link leads to is left alone, and the link is not.
        policy, foreign = os.path.join(base, "policy"), os.path.join(self.folder, "foreign")
        for name in (policy, foreign):
            with open(name, "w", encoding="ascii") as file:
                file.write("mailbox-only\n")
        os.unlink(path)
        os.symlink(foreign, path)
        status, said, _ = self.run_command(proxy, "key", "publish", ALICE, "--wkd", folder)
        self.assertEqual((status, said[0]["state"]), (DONE, "written"))
        self.assertFalse(os.path.islink(path))
        self.assertEqual(self.names_in(path), ["<%s>" % ALICE])
        for name in (policy, foreign):
            self.assertEqual(os.path.getsize(name), 13)
        self.assertEqual(sorted(os.listdir(os.path.dirname(path))), [os.path.basename(path)])
        # By the fingerprint both addresses are meant; the direct method has no domain in its path.
        status, said, _ = self.run_command(proxy, "key", "publish", key, "--direct", "--wkd", folder)
        self.assertEqual((status, sorted(each["address"] for each in said)), (DONE, [ALICE, "alice@private.example"]))
        self.assertTrue(all(os.path.dirname(each["where"]) == ".well-known/openpgpkey/hu" for each in said))
        # A web server serves it, and it is found.
        files = {}
        for at, _, names in os.walk(folder):
            for name in names:
                relative = os.path.relpath(os.path.join(at, name), folder).replace("/", "_")
                with open(os.path.join(at, name), "rb") as file:
                    files[os.path.join(OWN, relative)] = file.read()
        Keyd(self, "127.0.0.5", files)
        status, said, errors = self.find(proxy, ALICE)
        self.assertEqual((status, said["wkd"][:2]), (DONE, ("found", "found")), errors)
        self.read_by_others(key)

    def read_by_others(self, key):
        """gpg and sq, which trust the authorities of the system: in this namespace the test's."""
        authority = self.certificate("https")[0]
        netspace.bind(authority, "/etc/ssl/certs/ca-certificates.crt")
        other = Gpg(os.path.join(self.folder, "reader"))
        self.add(other.close)
        with open(os.path.join(other.home, "dirmngr.conf"), "w", encoding="ascii") as file:
            file.write("standard-resolver\n")
        other.run("--auto-key-locate", "clear,wkd", "--locate-external-keys", ALICE)
        self.assertEqual(other.fingerprint(ALICE), key)
        path = os.path.join(self.folder, "fetched.pgp")
        with open(path, "wb") as file:
            file.write(subprocess.run(["sq", "wkd", "get", "--binary", ALICE], capture_output=True, check=True,
                                      env={**os.environ, "SSL_CERT_FILE": authority}).stdout)
        self.assertEqual(self.names_in(path), ["<%s>" % ALICE])

    def test_keyserver(self):
        self.add_names()
        proxy = self.proxy(sources=("keyserver",))
        added = os.path.join(self.keys.folder, KEYS, "added")
        status, _, errors = self.run_command(proxy, "key", "publish", ALICE, "--keyserver")
        self.assertEqual(status, REFUSED)
        self.assertIn("nothing was sent", errors)
        self.assertFalse(os.path.exists(added))
        for who, names in ((ALICE, {"<%s>" % ALICE}),
                           (self.alice().fingerprint(ALICE), {"<%s>" % ALICE, "<alice@private.example>"})):
            status, said, errors = self.run_command(proxy, "key", "publish", who, "--keyserver", "--to", "keys",
                                                    "--yes")
            self.assertEqual((status, [each["state"] for each in said]), (DONE, ["sent"]), errors)
            # Who is told what has been said before.
            self.assertIn(KEYS, errors)
            self.assertEqual("private.example" in errors, len(names) == 2)
            with open(added, encoding="ascii") as file:
                fields = urllib.parse.parse_qs(file.read(), strict_parsing=True)
            self.assertEqual(list(fields), ["keytext"])
            path = os.path.join(self.folder, "sent.asc")
            with open(path, "w", encoding="ascii") as file:
                file.write(fields["keytext"][0])
            self.assertEqual(set(self.names_in(path)), names)
            subprocess.run(["sq", "inspect", path], capture_output=True, check=True)
            packets = SHARED["gpg"].run("--list-packets", path).stdout
            self.assertNotIn(b"secret", packets)
            self.assertIn(b":public key packet", packets)
        self.assertEqual(self.keys.asked(), ["%s /pks/add" % KEYS] * 2)
        self.assertEqual(self.other.asked(), [])
        self.keys.order("status 500")
        status, said, _ = self.run_command(proxy, "key", "publish", ALICE, "--keyserver", "--to", "keys", "--yes")
        self.assertEqual(status, FAILED)
        for words in (("--keyserver", "--to", "nobody"), ("--wkd", "x", "--dns"), (), ("--dns", "--direct")):
            self.assertEqual(self.run_command(proxy, "key", "publish", ALICE, *words)[0], USAGE)


class Refresh(Case):
    def put(self, server, name, data):
        path = os.path.join(server.folder, name)
        with open(path + ".new", "wb") as file:
            file.write(data)
        os.rename(path + ".new", path)

    def refresh(self, proxy, *keys, status=DONE):
        done, said, errors = self.run_command(proxy, "key", "refresh", *keys)
        self.assertEqual(done, status, errors)
        return {each["address"]: each["state"] for each in said}, said

    def test_keyserver_by_fingerprint(self):
        """Also keyservers that show no user IDs tell of a revocation."""
        changed = Changed(self).revoke(ERIN).revoke(HEIDI)
        for address in (ERIN, HEIDI, test_sources.GRACE):
            self.alice().take(exported(address))
        proxy = self.proxy(sources=("keyserver",))
        self.put(self.keys, "%s/pks_0x%s" % (KEYS, fingerprint(ERIN)), changed.run("--armor", "--export").stdout)
        bare = changed.binary(HEIDI, "--export-filter", "drop-subkey=usage =~ e", "--export-filter",
                              "keep-uid=mbox = nobody@nowhere.example")
        self.assertNotIn(b"heidi", bare)
        self.put(self.keys, "%s/pks_0x%s" % (KEYS, fingerprint(HEIDI)), bare)
        # Another key than was asked for is no answer.
        self.put(self.keys, "%s/pks_0x%s" % (KEYS, fingerprint(test_sources.GRACE)), exported(test_sources.FRANK))
        states, _ = self.refresh(proxy, "--all")
        self.assertEqual((states[ERIN], states[HEIDI], states[test_sources.GRACE]),
                         ("revoked", "revoked", "unchanged"))
        listing = self.alice().run("--list-keys", "--with-colons").stdout.decode()
        self.assertNotIn(fingerprint(test_sources.FRANK), listing)
        # Nobody was told an address, and whose domain is another's was not asked.
        self.assertTrue(all("search=0x" in line for line in self.keys.asked()), self.keys.asked())
        self.assertEqual(self.other.asked(), [])
        states, _ = self.refresh(proxy, HEIDI)
        self.assertEqual(states, {HEIDI: "unchanged"})
        _, answer, _ = self.run_command(proxy, "why", HEIDI)
        self.assertIn("revoked", str(answer))

    def test_flooded_and_revoked(self):
        """A key that somebody has blown up beyond what is taken still tells that it is revoked."""
        self.alice().take(exported(HEIDI))
        proxy = self.proxy(sources=("keyserver",))
        key, made = Changed(self).revoke(HEIDI).binary(HEIDI), int(time.time()) - 9 * 86400
        name = wot_made.packet(wot_made.TAG_USER_ID, b"<%s>" % HEIDI.encode())
        flood = (name + wot_made.flood(128, made, bytes.fromhex(fingerprint(HEIDI)[-16:]))) * 60
        self.put(self.keys, "%s/pks_0x%s" % (KEYS, fingerprint(HEIDI)), key + flood)
        self.assertGreater(len(flood), 262144)
        states, _ = self.refresh(proxy, HEIDI)
        self.assertEqual(states, {HEIDI: "revoked"})

    def test_web_key_directory(self):
        proxy = self.proxy(sources=("wkd",))
        path, soon = wkd_file(WKD, HEIDI), Changed(self).expire(HEIDI, "2d").binary(HEIDI)
        self.alice().take(soon)
        self.put(self.wkd, path, soon)
        states, _ = self.refresh(proxy, HEIDI)
        self.assertEqual(states, {HEIDI: "unchanged"})
        self.put(self.wkd, path, Changed(self).expire(HEIDI, "50d").binary(HEIDI))
        self.assertEqual(self.refresh(proxy, HEIDI)[0], {HEIDI: "renewed"})
        # Another key for the address is a key beside it.
        other = Gpg(os.path.join(self.folder, "other"))
        self.add(other.close)
        fresh = other.make(HEIDI)
        self.put(self.wkd, path, other.run("--export").stdout)
        states, said = self.refresh(proxy, HEIDI)
        # The source speaks for that one now, and no longer for hers.
        self.assertEqual((states, said[0]["others"]), ({HEIDI: "gone"}, [fresh]))
        self.assertIn(fresh, said[0]["detail"])
        self.wkd.order("status 500")
        states, said = self.refresh(proxy, fingerprint(HEIDI), status=FAILED)
        self.assertEqual(states, {HEIDI: "failed"})
        self.assertIn("wkd", said[0]["detail"])
        self.wkd.order(None)
        self.put(self.wkd, path, Changed(self).revoke(HEIDI).binary(HEIDI))
        states, said = self.refresh(proxy, fingerprint(HEIDI))
        self.assertEqual(states, {HEIDI: "revoked"})
        self.assertEqual(self.run_command(proxy, "key", "refresh")[0], USAGE)
        status, _, _ = self.run_command(proxy, "key", "refresh", "nobody@wkd.example")
        self.assertEqual(status, REFUSED)

    def test_only_who_may_hear_of_it(self):
        """A source whose domains are others hears neither an address nor a fingerprint, and no name server either."""
        for address in (HEIDI, test_sources.GRACE, test_sources.FRANK):
            self.alice().take(exported(address))
        proxy = self.proxy(wkd='domains = "wkd.example"', keyserver='domains = { "wkd.example", "none.example" }')
        heard = len(SHARED["names"].asked)
        states, _ = self.refresh(proxy, "--all")
        self.assertEqual({states[HEIDI], states[test_sources.GRACE]}, {"unchanged"})
        self.assertEqual(len(self.wkd.asked()), 1)
        self.assertIn("/wkd.example/hu/", self.wkd.asked()[0])
        self.assertEqual({line.rsplit("=0x", 1)[1] for line in self.keys.asked()},
                         {fingerprint(HEIDI), fingerprint(test_sources.GRACE)})
        self.assertEqual(self.other.asked(), [])
        self.assertEqual({name for name in SHARED["names"].asked[heard:] if "none" in name or "direct" in name}, set())

    def test_gone_or_expired(self):
        """A source's word ends when it no longer says so, not when it would have run out; the key stays to be read."""
        proxy = self.proxy(sources=("wkd",), rules='rule "all" { encrypt = required  sign = never }')
        for address in (HEIDI, ERIN):
            self.assertEqual(self.run_command(proxy, "key", "find", address, "--import")[0], DONE)
            self.assertEqual(self.run_command(proxy, "why", address)[1]["key"]["trust"], "found")
            self.assertEqual(self.refresh(proxy, address)[0], {address: "unchanged"})
        os.remove(os.path.join(self.wkd.folder, wkd_file(WKD, HEIDI)))
        self.assertEqual(self.refresh(proxy, HEIDI)[0], {HEIDI: "gone"})
        _, answer, _ = self.run_command(proxy, "why", HEIDI)
        self.assertEqual((answer["action"], answer["key"]), ("refuse", None))
        candidate, = answer["candidates"]
        self.assertEqual((candidate["fingerprint"], candidate["trust"]), (fingerprint(HEIDI), "unverified"))
        self.assertEqual(self.refresh(proxy, HEIDI)[0], {HEIDI: "unchanged"})
        self.put(self.wkd, wkd_file(WKD, ERIN), Changed(self).expire(ERIN, "seconds=1").binary(ERIN))
        states, _ = self.refresh(proxy, ERIN)
        self.assertIn(states[ERIN], ("changed", "expired"))
        wait_for(lambda: self.refresh(proxy, ERIN)[0] == {ERIN: "expired"}, "the key's end")
        _, answer, _ = self.run_command(proxy, "why", ERIN)
        self.assertEqual((answer["action"], answer["key"]), ("refuse", None))
        self.assertIn("expired", str(answer["candidates"]))

    def test_background(self):
        """A key that was used is asked for again, and is no longer used once it is revoked; of others nobody hears. The
        first answer, which counts for a day yet, keeps nobody from asking."""
        self.server = RefServer(self, tls="none")
        proxy = harness.Proxy(self, self.server, rules=REQUIRED, options=self.options(
            keyserver='domains = "wkd.example"', wkd='domains = "wkd.example"')
            + 'refresh = "2 seconds"\n')
        heard = len(SHARED["names"].asked)
        for address in (HEIDI, BOB):
            proxy.send(b"From: %s\r\nTo: %s\r\n\r\nsecret words\r\n" % (ALICE.encode(), address.encode()), [address])
        self.assertEqual(len(self.server.mail()), 2)
        first = len(self.wkd.asked())
        wait_for(lambda: len(self.wkd.asked()) > first, "a second look")
        self.put(self.wkd, wkd_file(WKD, HEIDI), Changed(self).revoke(HEIDI).binary(HEIDI))

        def is_refused():
            with harness.Raw(proxy.port) as client:
                client.login()
                client.command("MAIL FROM:<%s>" % ALICE)
                return client.command("RCPT TO:<%s>" % HEIDI)[0] == 550
        wait_for(lambda: "it has news of the key" in proxy.log(), "the revocation")
        wait_for(is_refused, "the end of the key")
        self.assertTrue(all("wkd.example" in line for line in self.wkd.asked()))
        wait_for(self.keys.asked, "the keyserver")
        self.assertLessEqual({line.rsplit("=", 1)[1] for line in self.keys.asked()},
                             {"0x" + fingerprint(HEIDI), HEIDI.replace("@", "%40")})
        self.assertEqual(self.other.asked(), [])
        self.assertEqual([name for name in SHARED["names"].asked[heard:] if "example.net" in name], [])

    def test_never(self):
        config = harness.Proxy(self, RefServer(self, tls="none"), start=False, options='refresh = "soon"\n').config
        done = subprocess.run([harness.PRIVYSEAL, "key", "list", "--config", config], capture_output=True, check=False)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn(b'refresh = "soon"; expected "7 days"', done.stderr)


if __name__ == "__main__":
    unittest.main()
