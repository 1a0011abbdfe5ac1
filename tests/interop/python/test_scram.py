"""SCRAM in STOMP's CONNECT, by a client of SCRAM that others wrote, against the gateway in GATEWAY.

The user is `scram`, whose password is `secret`, with verifiers alone."""
import base64
import os
import socket
import ssl

import pytest
import scramp

HOST, PORT = os.environ["GATEWAY"].rsplit(":", 1)
CERTIFICATE = os.environ.get("GATEWAY_CERTIFICATE")
SECONDS = 5


class Stomp:
    """STOMP on TCP, spoken by hand: no library knows SASL."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, int(PORT)), SECONDS)
        if CERTIFICATE:
            context = ssl.create_default_context(cafile=CERTIFICATE)
            self.socket = context.wrap_socket(self.socket, server_hostname=HOST)
        self.received = b""

    def send(self, command, **headers):
        lines = [command, *(f"{name.replace('_', '-')}:{value}" for name, value in headers.items())]
        self.socket.sendall("\n".join([*lines, "", "\0"]).encode())

    def receive(self):
        """The next frame: its command, its headers, its body."""
        while b"\0" not in self.received:
            data = self.socket.recv(4096)
            assert data, f"closed after {self.received}"
            self.received += data
        frame, self.received = self.received.split(b"\0", 1)
        head, body = frame.decode().lstrip("\r\n").split("\n\n", 1)
        command, *lines = head.split("\n")
        return command, dict(line.split(":", 1) for line in lines), body


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def exchange(stomp, mechanism, name, password):
    """The reply to a login, and the client that verifies it."""
    client = scramp.ScramClient([mechanism], name, password)
    stomp.send(
        "CONNECT",
        accept_version="1.2",
        host="test",
        sasl_mechanism=mechanism,
        sasl_response=encoded(client.get_client_first()),
    )
    command, headers, body = stomp.receive()
    assert command == "CHALLENGE", body
    client.set_server_first(base64.b64decode(headers["sasl-challenge"]).decode())
    stomp.send("CONNECT", sasl_response=encoded(client.get_client_final()))
    return stomp.receive(), client


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_a_client_and_the_gateway_prove_themselves(mechanism):
    stomp = Stomp()
    (command, headers, body), client = exchange(stomp, mechanism, "scram", "secret")
    assert (command, headers["user-name"]) == ("CONNECTED", "scram"), body
    # It raises where the server's proof is wrong.
    client.set_server_final(base64.b64decode(headers["sasl-success"]).decode())
    stomp.send("SEND", destination="/topic/scram", receipt="r")
    assert stomp.receive()[0] == "RECEIPT"


@pytest.mark.parametrize("name, password", [("scram", "Secret"), ("nosuch", "secret")])
def test_a_wrong_password_and_an_unknown_user_look_the_same(name, password):
    (command, headers, body), _ = exchange(Stomp(), "SCRAM-SHA-256", name, password)
    assert (command, headers["message"]) == ("ERROR", "login refused")
    assert body == "the login: the login or password is wrong; check the name and the password"


def test_a_mechanism_that_there_is_not_is_refused_with_those_that_there_are():
    stomp = Stomp()
    stomp.send("CONNECT", accept_version="1.2", sasl_mechanism="PLAIN", sasl_response="AHgAeA==")
    command, _, body = stomp.receive()
    assert command == "ERROR"
    assert "SCRAM-SHA-256 and SCRAM-SHA-1" in body
