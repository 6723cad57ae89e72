"""A slapd of a test's own: its configuration, its entries, TLS with a certificate of the test's authority, a local
socket; in a temporary folder, on loopback, gone when the world is closed."""
import base64
import os
import socket
import subprocess
import time

SLAPD, SLAPADD = "/usr/sbin/slapd", "/usr/sbin/slapadd"
BASE = "dc=example,dc=org"
ADMIN, PASSWORD = "cn=reader," + BASE, "the directory's password"
START_S, TRIES = 30, 10
CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.3401.8.2.11 NAME 'pgpKey' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.3401.8.2.99 NAME 'pgpPerson' SUP top AUXILIARY MAY pgpKey )
pidfile {folder}/pid
argsfile {folder}/args
modulepath /usr/lib/ldap
moduleload back_mdb
{tls}
authz-regexp "gidNumber=.*cn=peercred,cn=external,cn=auth" "{admin}"
{options}
database mdb
maxsize 10485760
directory {folder}/db
index mail eq
suffix "{base}"
access to dn.base="{base}" by * read
access to attrs=userPassword by anonymous auth
access to * by dn.exact="{admin}" read by {others}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ldif(dn, classes, **attributes):
    """One entry; values are bytes or text, or lists of them. "__" in a name stands for ";"."""
    lines = ["dn: " + dn] + ["objectClass: " + each for each in classes]
    for name, values in attributes.items():
        for value in values if isinstance(values, list) else [values]:
            value = value.encode() if isinstance(value, str) else value
            lines.append("%s:: %s" % (name.replace("__", ";"), base64.b64encode(value).decode()))
    return "\n".join(lines) + "\n"


def person(name, address, **attributes):
    attributes = {key: value for key, value in attributes.items() if value}
    return ldif("uid=%s,%s" % (name, BASE), ["inetOrgPerson", "pgpPerson"], uid=name, cn=name, sn=name, mail=address,
                **attributes)


class Slapd:
    """A running server, at `port` if one is given; `entries` are what ldif() and person() give. `certificate` (files of
    certificate and key) offers ldaps and StartTLS, `authority` is then its issuer's file."""

    def __init__(self, world, entries, certificate=None, authority=None, options="", others="* read", name="ldap",
                 port=None, password=PASSWORD):
        self.folder = os.path.join(world.folder, "%s%d" % (name, world.count()))
        os.makedirs(os.path.join(self.folder, "db"))
        self.socket = os.path.join(self.folder, "i")
        self.config = os.path.join(self.folder, "conf")
        tls = "" if certificate is None else (
            "TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\nTLSVerifyClient never\n"
            % (authority, *certificate))
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(folder=self.folder, base=BASE, admin=ADMIN, tls=tls, options=options,
                                     others=others))
        self.wanted_port = port
        self.has_tls, self.process = certificate is not None, None
        top = [ldif(BASE, ["dcObject", "organization"], dc="example", o="Example"),
               ldif(ADMIN, ["organizationalRole", "simpleSecurityObject"], cn="reader", userPassword=password)]
        self.add(top + list(entries))
        world.add(self.close)
        self.start()

    def add(self, entries):
        done = subprocess.run([SLAPADD, "-f", self.config, "-q"], input="\n".join(entries).encode(),
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise AssertionError("slapadd: " + done.stderr.decode(errors="replace"))

    def start(self):
        """It takes no port 0, so a free one is looked for, and another if somebody was quicker."""
        for _ in range(TRIES):
            self.port, self.tls_port = self.wanted_port or free_port(), free_port()
            urls = "ldap://127.0.0.1:%d ldapi://%s" % (self.port, self.socket.replace("/", "%2F"))
            if self.has_tls:
                urls += " ldaps://127.0.0.1:%d" % self.tls_port
            self.process = subprocess.Popen([SLAPD, "-d", "0", "-f", self.config, "-h", urls],
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self.answers():
                return
            self.stop()
        raise AssertionError("slapd does not start")

    def answers(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def url(self, scheme="ldap+clear"):
        if scheme == "ldapi":
            return "ldapi://" + self.socket.replace("/", "%2F")
        return "%s://%s:%d" % (scheme, "localhost", self.tls_port if scheme == "ldaps" else self.port)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        self.process = None

    def close(self):
        self.stop()
