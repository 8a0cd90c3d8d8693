//! The POP3 server of Twisted, a library in Python, in a script as short as its documentation has them: a Maildir, one
//! user, in clear and inside TLS. It has APOP, but no STLS.

use std::{path::PathBuf, process::Command};

use super::{Kind, PASSWORD, Security, Service, USER};

/// Debian's Python, which Debian's packages are for.
const PYTHON: &str = "/usr/bin/python3";

/// Twisted.
pub static TWISTED: Kind = Kind {
    name: "Twisted",
    packages: "python3-twisted python3-openssl",
    programs: || {
        vec![PathBuf::from(PYTHON), PathBuf::from("/usr/lib/python3/dist-packages/twisted/mail/pop3.py")]
    },
    services: &[Service::Pop3, Service::Pop3s],
    privileged: false,
    user: USER,
    maildir: "home/Maildir",
    configure: |place| {
        place.write("server.py", SCRIPT);
        // Where it moves what is deleted.
        place.make_maildir("home/Maildir/.Trash");
    },
    command: |place| {
        let mut command = Command::new(PYTHON);
        command.args(["-B", &place.show("server.py"), &place.port(Service::Pop3).to_string()]);
        command.args([&place.port(Service::Pop3s).to_string(), &place.show("home/Maildir")]);
        command.args([place.show("certificate.pem"), place.show("key.pem")]);
        command.args([USER, PASSWORD]);
        command
    },
    ways: &[Security::Plain, Security::Tls],
    mechanisms: &["USER", "APOP"],
    lacks: "PLAIN",
};

const SCRIPT: &str = r#"
import os, sys
from twisted.cred import checkers, portal
from twisted.internet import protocol, reactor, ssl
from twisted.mail import maildir, pop3
from twisted.python import log
from zope.interface import implementer

plain, tls, folder, certificate, key, user, password = sys.argv[1:8]
log.startLogging(sys.stdout, setStdout=False)

# Its own falls silent in the middle of UIDL and RETR: under Python 3 it takes text for octets.
class Box(maildir.MaildirMailbox):
    def getMessage(self, number):
        return open(self.list[number], "rb")
    def getUidl(self, number):
        return os.path.basename(self.list[number]).split(":")[0].encode()

@implementer(portal.IRealm)
class Realm:
    def requestAvatar(self, name, mind, *interfaces):
        return pop3.IMailbox, Box(folder), lambda: None

known = checkers.InMemoryUsernamePasswordDatabaseDontUse()
known.addUser(user.encode(), password.encode())

# For the same reason its own refuses every APOP.
class Session(pop3.POP3):
    def authenticateUserAPOP(self, user, digest):
        return pop3.POP3.authenticateUserAPOP(self, user, digest.decode())

class Factory(protocol.ServerFactory):
    protocol = Session
    def buildProtocol(self, address):
        session = protocol.ServerFactory.buildProtocol(self, address)
        session.portal = portal.Portal(Realm(), [known])
        session.factory = self
        return session
    def cap_EXPIRE(self):
        raise NotImplementedError
    def cap_LOGIN_DELAY(self):
        raise NotImplementedError
    def perUserExpiration(self):
        return False
    def perUserLoginDelay(self):
        return False

reactor.listenTCP(int(plain), Factory(), interface="127.0.0.1")
context = ssl.DefaultOpenSSLContextFactory(key, certificate, sslmethod=ssl.SSL.TLS_METHOD)
reactor.listenSSL(int(tls), Factory(), context, interface="127.0.0.1")
reactor.run()
"#;
