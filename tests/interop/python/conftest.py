"""stomp.py against a running gateway, whose address is in GATEWAY (HOST:PORT).

Where the gateway has TLS, GATEWAY_CERTIFICATE names the certificate to trust."""
import itertools
import os
import queue
import socket
import urllib.request

import pytest
import stomp

HOST, PORT = os.environ["GATEWAY"].rsplit(":", 1)
CERTIFICATE = os.environ.get("GATEWAY_CERTIFICATE")
SECONDS = 5

KINDS = {
    "tcp-1.0": lambda **options: stomp.Connection10([(HOST, int(PORT))], **options),
    "tcp-1.1": lambda **options: stomp.Connection11([(HOST, int(PORT))], **options),
    "tcp-1.2": lambda **options: stomp.Connection12([(HOST, int(PORT))], **options),
    "ws-1.2": lambda **options: stomp.WSStompConnection(
        [(HOST, int(PORT))], ws_path="/messaging", **options
    ),
}

names = itertools.count()


def unique(prefix):
    """A destination that no other test uses."""
    return f"{prefix}stomppy-{os.getpid()}-{next(names)}"


class Peer(stomp.ConnectionListener):
    """A connection, with what arrives as queues."""

    def __init__(self, kind, login=None, **options):
        self.kind = kind
        self.version = kind.split("-")[1]
        self.messages = queue.Queue()
        self.receipts = queue.Queue()
        self.errors = queue.Queue()
        self.beats = queue.Queue()
        self.greetings = queue.Queue()
        self.ends = queue.Queue()
        self.connection = KINDS[kind](reconnect_attempts_max=1, **options)
        if CERTIFICATE:
            self.connection.set_ssl(for_hosts=[(HOST, int(PORT))], ca_certs=CERTIFICATE)
        self.connection.set_listener("test", self)
        self.connection.connect(*(login or ()), wait=True)
        self.connected = self.greetings.get(timeout=SECONDS)

    def on_connected(self, frame):
        self.greetings.put(frame)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_heartbeat(self):
        self.beats.put(True)

    def on_disconnected(self):
        self.ends.put(True)

    def receipt(self, work):
        """Runs `work` with a fresh receipt and waits for its RECEIPT."""
        receipt = unique("receipt-")
        work(receipt)
        assert self.receipts.get(timeout=SECONDS) == receipt

    def subscribe(self, destination, id="s", ack="auto", **headers):
        self.receipt(
            lambda receipt: self.connection.subscribe(
                destination, id=id, ack=ack, headers={"receipt": receipt, **headers}
            )
        )

    def unsubscribe(self, id="s"):
        self.receipt(lambda receipt: self.connection.unsubscribe(id=id, headers={"receipt": receipt}))

    def send(self, destination, body, **headers):
        self.receipt(
            lambda receipt: self.connection.send(destination, body, headers={"receipt": receipt, **headers})
        )

    def next(self):
        return self.messages.get(timeout=SECONDS)

    def bodies(self, count):
        return [self.next().body for _ in range(count)]

    def settle(self, verb, message, **more):
        """ACK or NACK, named as the version of the protocol has it."""
        method = getattr(self.connection, verb)
        if self.version == "1.2":
            method(message.headers["ack"], **more)
        elif self.version == "1.1":
            method(message.headers["message-id"], message.headers["subscription"], **more)
        else:
            method(message.headers["message-id"], **more)

    def sync(self):
        self.send(unique("/topic/"), "sync")

    def drop(self):
        """Ends the connection without a word."""
        end = self.connection.transport.socket
        # A WebSocket's own socket: closing it while it is read from would not end the connection.
        getattr(end, "sock", end).shutdown(socket.SHUT_RDWR)
        self.ended()

    def ended(self):
        """Waits until the connection has ended."""
        # Over TLS, without WebSocket, stomp.py does not notice: to it nothing came for now.
        if not CERTIFICATE or self.kind.startswith("ws"):
            self.ends.get(timeout=SECONDS)

    def close(self):
        if self.connection.is_connected():
            self.connection.disconnect()


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def peers():
    """Makes peers and closes them after the test."""
    made = []

    def make(kind, **options):
        peer = Peer(kind, **options)
        made.append(peer)
        return peer

    yield make
    for peer in made:
        peer.close()


def post(path, body):
    """Publishes over HTTP."""
    scheme = "https" if CERTIFICATE else "http"
    request = urllib.request.Request(f"{scheme}://{HOST}:{PORT}{path}", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        return response.status
