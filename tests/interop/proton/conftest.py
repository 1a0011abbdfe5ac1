"""Qpid Proton's blocking connections to a running gateway (AMQP 1.0), whose address is in GATEWAY (HOST:PORT).

GATEWAY_TLS is the address of one with TLS, GATEWAY_CERTIFICATE the certificate to trust. The user is `ann`, whose
password is `secret`; to `forbidden.>` nobody may send, and from it nobody may receive."""
import itertools
import os

import pytest
from proton import UNDESCRIBED, Array, Data, SSLDomain, symbol
from proton.reactor import LinkOption
from proton.utils import BlockingConnection

GATEWAY = os.environ["GATEWAY"]
GATEWAY_TLS = os.environ["GATEWAY_TLS"]
CERTIFICATE = os.environ["GATEWAY_CERTIFICATE"]
SECONDS = 10

names = itertools.count()


def unique(prefix):
    """A name that no other test uses."""
    return f"{prefix}.proton.{os.getpid()}.{next(names)}"


class Kind(LinkOption):
    """Capabilities of the node: `queue`, `topic`, `shared`."""

    def __init__(self, *capabilities):
        self.capabilities = [symbol(capability) for capability in capabilities]

    def apply(self, link):
        terminus = link.target if link.is_sender else link.source
        terminus.capabilities.put_py_array(Array(UNDESCRIBED, Data.SYMBOL, *self.capabilities))


class Settling(LinkOption):
    """How a link settles."""

    def __init__(self, sender=None, receiver=None):
        self.sender, self.receiver = sender, receiver

    def apply(self, link):
        if self.sender is not None:
            link.snd_settle_mode = self.sender
        if self.receiver is not None:
            link.rcv_settle_mode = self.receiver


TOPIC = Kind("topic")


def tls():
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(CERTIFICATE)
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME, CERTIFICATE)
    return domain


@pytest.fixture
def connect():
    """Makes connections and closes them after the test."""
    made = []

    def make(secure=False, **options):
        if secure:
            options.update(ssl_domain=tls(), sni="localhost")
        url = f"amqps://{GATEWAY_TLS}" if secure else f"amqp://{GATEWAY}"
        connection = BlockingConnection(url, timeout=SECONDS, **options)
        made.append(connection)
        return connection

    yield make
    for connection in made:
        connection.close()


def next_delivery(receiver, timeout=SECONDS):
    """The next message and its delivery, which is not settled."""
    message = receiver.receive(timeout=timeout)
    return message, receiver.fetcher.unsettled.pop()


def bodies(receiver, count):
    """Those of the next messages, which are accepted."""
    received = []
    for _ in range(count):
        received.append(receiver.receive(timeout=SECONDS).body)
        receiver.accept()
    return received


def drain(receiver, credit):
    """Gives credit that is to be used up at once; how many messages have come for it."""
    before = len(receiver.fetcher.incoming)
    receiver.link.drain(credit)
    receiver.connection.wait(lambda: not receiver.link.draining(), msg="a drain's answer")
    # The messages came before the answer, but Proton tells of each in its turn.
    sync(receiver.connection)
    return len(receiver.fetcher.incoming) - before


def sync(connection):
    """What was settled before this has reached the gateway when it returns, and what came before its answer is there."""
    connection.create_receiver(unique("sync")).close()
