"""A POP3 client of two libraries that nobody here wrote: TLS by OpenSSL, SASL by GNU SASL.

Arguments: port, authority, TLS version (1.2, 1.3 or none), mechanism, user, password, and whose binding is shown:
own (tls-exporter of the connection), other (of another connection) or none. Prints what the server offers, how its
answer to AUTH begins, and what GNU SASL says of the server.
"""

import base64
import ctypes
import socket
import ssl
import sys

from OpenSSL import SSL

AUTHID, PASSWORD, CB_TLS_EXPORTER = 1, 3, 25
OK, NEEDS_MORE = 0, 1
PATIENCE_SECONDS = 60
STEPS_MAX = 10

library = ctypes.CDLL("libgsasl.so.18")
library.gsasl_strerror_name.restype = ctypes.c_char_p
library.gsasl_free.argtypes = [ctypes.c_void_p]


class Connection:
    def __init__(self, port, authority, version):
        self.tls = None
        plain = socket.create_connection(("localhost", port), timeout=PATIENCE_SECONDS)
        plain.settimeout(None)
        self.stream = plain
        if version != "none":
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            number = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[version]
            context.set_min_proto_version(number)
            context.set_max_proto_version(number)
            context.load_verify_locations(authority)
            context.set_verify(SSL.VERIFY_PEER, lambda *given: bool(given[-1]))
            self.tls = self.stream = SSL.Connection(context, plain)
            self.tls.set_tlsext_host_name(b"localhost")
            self.tls.set_connect_state()
            self.tls.do_handshake()
        self.held = b""
        self.line()

    def exporter(self):
        return self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")

    def line(self):
        while b"\r\n" not in self.held:
            piece = self.stream.recv(4096)
            assert piece, "the server closed"
            self.held += piece
        line, self.held = self.held.split(b"\r\n", 1)
        return line.decode()

    def say(self, text):
        self.stream.sendall(text.encode() + b"\r\n")
        return self.line()

    def offered(self):
        assert self.say("CAPA").startswith("+OK")
        offered = ""
        while (line := self.line()) != ".":
            if line.startswith("SASL "):
                offered = line
        return offered


class Exchange:
    def __init__(self, mechanism, properties):
        self.context, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        assert library.gsasl_init(ctypes.byref(self.context)) == OK
        started = library.gsasl_client_start(self.context, mechanism.encode(), ctypes.byref(self.session))
        assert started == OK, library.gsasl_strerror_name(started)
        for key, value in properties.items():
            library.gsasl_property_set(self.session, key, value.encode())

    def step(self, challenge):
        """Base64 in, base64 out."""
        out = ctypes.c_void_p()
        code = library.gsasl_step64(self.session, challenge.encode(), ctypes.byref(out))
        text = ctypes.cast(out, ctypes.c_char_p).value.decode() if out.value else ""
        if out.value:
            library.gsasl_free(out)
        return code, text


port, authority, version, mechanism, user, password, binding = sys.argv[1:]
connection = Connection(int(port), authority, version)
properties = {AUTHID: user, PASSWORD: password}
if binding != "none":
    shown = connection if binding == "own" else Connection(int(port), authority, version)
    properties[CB_TLS_EXPORTER] = base64.b64encode(shown.exporter()).decode()
print(connection.offered())
exchange = Exchange(mechanism, properties)
code, response = exchange.step("")
assert code == NEEDS_MORE, library.gsasl_strerror_name(code)
line = connection.say(f"AUTH {mechanism} {response or '='}")
for _ in range(STEPS_MAX):
    if not line.startswith("+ "):
        break
    code, response = exchange.step(line[2:])
    assert code in (OK, NEEDS_MORE), library.gsasl_strerror_name(code)
    line = connection.say(response)
print(line)
print("the server is", "proven" if code == OK else "not proven")
if line.startswith("+OK"):
    print(connection.say("STAT"))
    print(connection.say("QUIT"))
