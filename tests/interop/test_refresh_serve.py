#!/usr/bin/python3
"""What has become of OpenPGP keys that are in use, asked by the proxy in the background: one address after the
other, at its time also after a restart, for each account in its own ring; and what RCPT says afterwards."""
import os
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
import test_publish  # noqa: E402
import test_sources  # noqa: E402
from harness import ALICE, BOB, Gpg, Proxy, RefServer, wait_for  # noqa: E402
from test_publish import Changed, fingerprint  # noqa: E402
from test_sources import ERIN, HEIDI, IVAN, WKD, exported, wkd_file  # noqa: E402

TOLD = os.path.join(os.path.dirname(os.path.abspath(harness.SMTPD)), "peer_told")
RULES = 'rule "all" { encrypt = required  sign = never }'
HOSTS = (WKD, "openpgpkey." + IVAN.split("@")[1])
NAMES = {"erin.key": ERIN, "heidi": HEIDI, "ivan": IVAN}
DAY = 86400
setUpModule = test_sources.setUpModule  # pylint: disable=invalid-name


class Serve(test_sources.Case):
    put = test_publish.Refresh.put

    def begin(self, more="", **options):
        self.server = RefServer(self, tls="none")
        return Proxy(self, self.server, rules=RULES, options=self.options(sources=("wkd",), hosts=HOSTS)
                     + 'refresh = "2 seconds"\n' + more, **options)

    def used(self, proxy, address, since, asked, account=ALICE):
        """Mail was first encrypted to it so many seconds ago, and its sources were asked so many ago."""
        os.makedirs(proxy.state, 0o700, exist_ok=True)
        now = int(time.time())
        done = subprocess.run([TOLD, proxy.config, account, "used", address.lower(), fingerprint(address),
                               str(now - since), str(now - asked)], capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def who(self, begin=0):
        """Whom the directory was asked about, in order."""
        return [NAMES[re.search(r"\?l=(.*)$", line).group(1)] for line in self.wkd.asked()[begin:]]

    def rcpt(self, proxy, address):
        with harness.Raw(proxy.port) as client:
            client.login()
            client.command("MAIL FROM:<%s>" % ALICE)
            return client.command("RCPT TO:<%s>" % address)[0]

    def test_restart(self):
        """When whose turn is, a restart does not forget: not who was just asked about comes first."""
        for address in (ERIN, HEIDI, IVAN):
            self.alice().take(exported(address))
        proxy = self.begin(start=False)
        self.used(proxy, ERIN, 60 * DAY, 0)
        self.used(proxy, HEIDI, 2 * DAY, 100)
        self.used(proxy, IVAN, DAY, 50)
        proxy.start()
        wait_for(lambda: len(self.wkd.asked()) >= 2, "two looks")
        proxy.stop()
        self.assertEqual(self.who()[:2], [HEIDI, IVAN])
        # By what the proxy itself has noted.
        count = len(self.wkd.asked())
        self.used(proxy, ERIN, 60 * DAY, 80)
        proxy.start()
        wait_for(lambda: len(self.wkd.asked()) > count, "a look")
        self.assertEqual(self.who(count)[0], ERIN)

    def test_one_after_the_other(self):
        """However many are due: the next is asked about when the one before has been answered."""
        for address in (ERIN, HEIDI, IVAN):
            self.alice().take(exported(address))
        proxy = self.begin(start=False)
        for address in (ERIN, HEIDI, IVAN):
            self.used(proxy, address, 60 * DAY, 50 * DAY)
        self.wkd.order("late")
        proxy.start()
        wait_for(lambda: len(self.wkd.asked()) >= 8, "four looks")
        lines = self.wkd.asked()[:8]
        self.assertEqual(lines[1::2], ["answered " + line for line in lines[0::2]])
        self.assertEqual(len(set(lines[0:6:2])), 3)

    def test_gone_or_expired(self):
        proxy = self.begin()
        for address in (HEIDI, ERIN):
            proxy.send(b"From: %s\r\nTo: %s\r\n\r\nsecret words\r\n" % (ALICE.encode(), address.encode()), [address])
            self.assertEqual(self.rcpt(proxy, address), 250)
        self.assertNotIn(b"secret words", self.server.wire())
        os.remove(os.path.join(self.wkd.folder, wkd_file(WKD, HEIDI)))
        wait_for(lambda: self.rcpt(proxy, HEIDI) == 550, "the end of the directory's word")
        self.assertEqual(self.rcpt(proxy, ERIN), 250)
        self.put(self.wkd, wkd_file(WKD, ERIN), Changed(self).expire(ERIN, "seconds=1").binary(ERIN))
        wait_for(lambda: self.rcpt(proxy, ERIN) == 550, "the end of the key")

    def test_accounts(self):
        """For each account its own correspondents are asked about, and what comes of it stands in its own ring."""
        home = Gpg(os.path.join(self.folder, "b"))
        self.add(home.close)
        home.take(harness.keys().export_secret(BOB), own=True)
        for address in (ERIN, HEIDI, IVAN):
            self.alice().take(exported(address))
            home.take(exported(address))
        proxy = self.begin('account "%s" {\n login = "bob"\n smtp = "smtp+clear://127.0.0.1:9"\n gnupghome = "%s"\n}\n'
                           % (BOB, home.home), start=False)
        changed = Changed(self).revoke(ERIN).revoke(HEIDI)
        for address in (ERIN, HEIDI):
            self.put(self.wkd, wkd_file(WKD, address), changed.binary(address))
        self.used(proxy, HEIDI, 60 * DAY, 50 * DAY)
        self.used(proxy, ERIN, 60 * DAY, 50 * DAY, account=BOB)
        proxy.start()

        def revoked(ring):
            listing = ring.run("--list-keys", "--with-colons").stdout.decode()
            return {address for address in (ERIN, HEIDI, IVAN)
                    if re.search(r"^pub:r:.*\n(?:.*\n)?fpr:+%s:" % fingerprint(address), listing, re.M)}
        wait_for(lambda: revoked(self.alice()) and revoked(home), "both looks")
        wait_for(lambda: len(self.wkd.asked()) >= 4, "another look for each")
        self.assertEqual((revoked(self.alice()), revoked(home)), ({HEIDI}, {ERIN}))
        self.assertEqual(set(self.who()), {HEIDI, ERIN})


if __name__ == "__main__":
    unittest.main()
