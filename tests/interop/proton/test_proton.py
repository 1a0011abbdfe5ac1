"""AMQP 1.0 with Qpid Proton: connections, queues and topics, credit, settlement, transactions, what the gateway refuses."""
import time
import uuid

import pytest
from conftest import TOPIC, Kind, Settling, bodies, drain, next_delivery, sync, unique
from proton import (
    UNDESCRIBED, Array, ConnectionException, Data, Delivery, Described, Link, Message, Timeout, byte, char, decimal32,
    decimal64, decimal128, float32, int32, short, symbol, timestamp, ubyte, uint, ulong, ushort,
)
from proton.handlers import TransactionHandler
from proton.reactor import AtMostOnce, Copy, DurableSubscription, Selector
from proton.utils import LinkDetached, SendException


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_messages_pass_a_queue(connect, secure):
    connection = connect(secure)
    name = unique("q")
    sender = connection.create_sender(name)
    for body in ["one", "two", "three"]:
        assert sender.send(Message(body=body)).remote_state == Delivery.ACCEPTED
    assert bodies(connection.create_receiver(name), 3) == ["one", "two", "three"]


@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_messages_of_a_topic_go_to_all_who_receive(connect, secure):
    connection = connect(secure)
    name = unique("t")
    addresses = [(name, TOPIC), (f"{name}.>", TOPIC), (f"topic://{name}", None), (f"/topic/{name}", None)]
    receivers = [connection.create_receiver(address, options=options) for address, options in addresses]
    connection.create_sender(name, options=TOPIC).send(Message(body="news"))
    for receiver in receivers:
        assert bodies(receiver, 1) == ["news"]


@pytest.mark.parametrize("options", [
    {"user": "ann", "password": "secret", "allowed_mechs": "PLAIN"},
    {"allowed_mechs": "ANONYMOUS"},
    {"sasl_enabled": False},
], ids=["plain", "anonymous", "no-sasl"])
@pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])
def test_a_client_logs_in(connect, secure, options):
    connection = connect(secure, **options)
    sender = connection.create_sender(unique("q"))
    claiming = Message(body="x", user_id=b"ann")
    if "user" in options:
        sender.send(claiming)
    else:
        with pytest.raises(SendException) as refused:
            sender.send(claiming)
        assert refused.value.state == Delivery.REJECTED


@pytest.mark.parametrize("user, password", [("ann", "wrong"), ("nobody", "secret")])
def test_a_wrong_password_and_an_unknown_user_are_refused(connect, user, password):
    with pytest.raises(ConnectionException, match="[Aa]uthentication"):
        connect(user=user, password=password, allowed_mechs="PLAIN")


@pytest.mark.parametrize("max_frame_size", [512, 4096, None])
def test_messages_larger_than_a_frame_come_whole(connect, max_frame_size):
    connection = connect(max_frame_size=max_frame_size)
    name = unique("q")
    sender, receiver = connection.create_sender(name), connection.create_receiver(name)
    for size in [0, 400, 5000, 100_000, 1_048_000]:
        body = bytes([size % 251]) * size
        sender.send(Message(body=body, properties={"size": size}))
        message = receiver.receive()
        assert (message.properties["size"], message.body == body) == (size, True)
        receiver.accept()


VALUES = {
    "null": None, "true": True, "ubyte": ubyte(200), "ushort": ushort(60_000), "uint": uint(4_000_000_000),
    "ulong": ulong(2**64 - 1), "byte": byte(-128), "short": short(-30_000), "int": int32(-5), "long": -2**63,
    "float": float32(0.5), "double": 1e300, "char": char("€"), "timestamp": timestamp(1_234_567_890_123),
    "decimal32": decimal32(7), "decimal64": decimal64(8), "decimal128": decimal128(bytes(range(16))),
    "uuid": uuid.UUID(int=2**127 + 5), "binary": b"\x00\xff", "string": "ä€𝄞", "symbol": symbol("s"),
}
BODIES = [
    [1, [2, ["three", None], []], {"four": [5]}],
    {"a": {"b": [ulong(1), symbol("c")]}, int32(5): b"x" * 300},
    Array(UNDESCRIBED, Data.INT, int32(1), int32(-70_000)),
    Array(symbol("d"), Data.STRING, "a", "b" * 300),
    Described(ulong(77), ["x"]),
    Described(symbol("own:type"), {"y": 1}),
]


def typed(value):
    """A value that is equal only to one of the same types."""
    if isinstance(value, dict):
        return [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, memoryview):
        return bytes, bytes(value)
    return type(value), value


def test_properties_and_annotations_keep_their_types(connect):
    connection = connect()
    name = unique("q")
    annotations = {symbol(f"x-{kind}"): value for kind, value in VALUES.items()}
    sent = Message(
        id=ulong(17), correlation_id=uuid.UUID(int=5), subject="kind", address="elsewhere", reply_to="answers",
        content_type=symbol("text/plain"), content_encoding=symbol("identity"), group_id="g", group_sequence=3,
        reply_to_group_id="r", priority=7, durable=True, ttl=60, creation_time=1_700_000_000,
        properties=VALUES, annotations=annotations, body="hello",
    )
    connection.create_sender(name).send(sent)
    received = connection.create_receiver(name).receive()
    fields = ["id", "correlation_id", "subject", "address", "reply_to", "content_type", "content_encoding", "group_id",
              "group_sequence", "reply_to_group_id", "priority", "durable", "creation_time", "body"]
    for field in fields:
        assert getattr(received, field) == getattr(sent, field), field
    assert typed(dict(received.properties)) == typed(VALUES)
    assert typed(dict(received.annotations)) == typed(annotations)
    assert 0 < received.ttl <= 60


@pytest.mark.parametrize("body", [*VALUES.values(), *BODIES], ids=repr)
def test_a_body_of_each_type_comes_as_it_was_sent(connect, body):
    connection = connect()
    name = unique("q")
    # Bytes would be a body of data otherwise.
    connection.create_sender(name).send(Message(body=body, inferred=False))
    assert typed(connection.create_receiver(name).receive().body) == typed(body)


def test_outcomes_are_what_they_say(connect):
    connection = connect()
    name = unique("q")
    connection.create_sender(name).send(Message(body="x"))
    receiver = connection.create_receiver(name, credit=1)

    def settle(state, **flags):
        message, delivery = next_delivery(receiver)
        for flag, value in flags.items():
            setattr(delivery.local, flag, value)
        delivery.update(state)
        delivery.settle()
        return message.delivery_count

    assert settle(Delivery.RELEASED) == 0
    assert settle(Delivery.MODIFIED) == 0, "it was not looked at"
    assert settle(Delivery.MODIFIED, failed=True) == 0, "without a flag the attempt did not count"
    assert settle(Delivery.MODIFIED, undeliverable=True) == 1
    with pytest.raises(Timeout):
        receiver.receive(timeout=0.1)
    receiver = connection.create_receiver(name, credit=1, name=unique("other"))
    assert settle(Delivery.REJECTED) == 1, "it did not count"
    message, delivery = next_delivery(connection.create_receiver(f"DLQ.{name}"))
    delivery.update(Delivery.ACCEPTED)
    assert (message.body, message.instructions["x-opt-dlq-queue"]) == ("x", f"/queue/{name}")
    with pytest.raises(Timeout):
        receiver.receive(timeout=0.1)


def test_a_delivery_that_is_not_settled_comes_again_when_its_link_closes(connect):
    connection = connect()
    name = unique("q")
    sender = connection.create_sender(name)
    for body in ["a", "b", "c"]:
        sender.send(Message(body=body))
    first = connection.create_receiver(name, credit=2)
    assert bodies(first, 1) == ["a"]
    assert first.receive().body == "b"
    first.close()
    assert bodies(connection.create_receiver(name), 2) == ["b", "c"]


def test_a_receiver_settles_second(connect):
    connection = connect()
    name = unique("q")
    connection.create_sender(name).send(Message(body="x", durable=True))
    receiver = connection.create_receiver(name, options=Settling(Link.SND_UNSETTLED, Link.RCV_SECOND))
    assert receiver.link.remote_rcv_settle_mode == Link.RCV_SECOND
    _, delivery = next_delivery(receiver)
    delivery.update(Delivery.ACCEPTED)
    connection.wait(lambda: delivery.settled, msg="the gateway to settle")
    delivery.settle()
    receiver.close()
    assert drain(connection.create_receiver(name, credit=0), 10) == 0


def test_a_sender_settles_last_where_it_wants_to(connect):
    connection = connect()
    for mode in [Link.RCV_FIRST, Link.RCV_SECOND]:
        sender = connection.create_sender(unique("q"), options=Settling(receiver=mode))
        assert sender.link.remote_rcv_settle_mode == mode
        delivery = sender.link.send(Message(body="x"))
        connection.wait(lambda: delivery.remote_state == Delivery.ACCEPTED, msg="the outcome")
        assert delivery.settled == (mode == Link.RCV_FIRST)
        delivery.settle()
        sync(connection)


def test_what_is_sent_settled_is_taken_and_what_is_received_settled_is_gone(connect):
    connection = connect()
    name = unique("q")
    sender = connection.create_sender(name, options=AtMostOnce())
    for body in range(150):
        connection.wait(lambda: sender.link.credit > 0, msg="credit")
        sender.send(Message(body=body))
    # The gateway has them when it answers what came behind them.
    sync(connection)
    receiver = connection.create_receiver(name, credit=0, options=AtMostOnce())
    assert drain(receiver, 100) == 100
    assert [message.body for message, _ in receiver.fetcher.incoming] == list(range(100))
    assert all(delivery.settled for _, delivery in receiver.fetcher.incoming)
    receiver.close()
    assert bodies(connection.create_receiver(name), 50) == list(range(100, 150))


def test_no_more_comes_than_there_is_credit_for_and_a_drain_is_answered(connect):
    connection = connect()
    name = unique("q")
    sender = connection.create_sender(name)
    for body in range(8):
        sender.send(Message(body=body))
    receiver = connection.create_receiver(name, credit=0)
    receiver.link.flow(1)
    connection.wait(lambda: receiver.fetcher.incoming, msg="the first")
    sync(connection)
    assert len(receiver.fetcher.incoming) == 1
    assert drain(receiver, 100) == 7
    assert bodies(receiver, 8) == list(range(8))
    # Receiving gave credit for one more where there was none.
    drain(receiver, 0)
    assert drain(receiver, 5) == 0, "an empty queue"
    sender.send(Message(body="later"))
    sync(connection)
    assert not receiver.fetcher.incoming, "the credit was used up"
    assert bodies(receiver, 1) == ["later"]


def test_a_durable_subscription_keeps_what_comes_while_its_client_is_away(connect):
    name, container = unique("t"), unique("container")
    options = [TOPIC, DurableSubscription()]

    def client():
        connection = connect(container_id=container)
        return connection, connection.create_receiver(name, name="subscription", options=options)

    sender = connect().create_sender(name, options=TOPIC)
    client()[0].close()
    sender.send(Message(body="while away", durable=True))
    connection, receiver = client()
    assert bodies(receiver, 1) == ["while away"]
    receiver.close()
    sender.send(Message(body="when it was deleted", durable=True))
    assert drain(client()[1], 10) == 0
    assert connection.conn is not None


def test_links_with_a_name_in_common_share_a_subscription(connect):
    name = unique("t")
    options = Kind("topic", "shared", "global")
    receivers = [connect().create_receiver(name, credit=10, name=f"s-{name}|{n}", options=options) for n in (1, 2)]
    sender = connect().create_sender(name, options=TOPIC)
    for body in range(10):
        sender.send(Message(body=body))
    for receiver in receivers:
        sync(receiver.connection)
    shares = [[message.body for message, _ in receiver.fetcher.incoming] for receiver in receivers]
    assert sorted(sum(shares, [])) == list(range(10))
    assert all(shares), "one has them all"


@pytest.mark.parametrize("options", [[], [TOPIC]], ids=["queue", "topic"])
def test_a_selector_says_which_messages_come(connect, options):
    connection = connect()
    name = unique("s")
    receiver = connection.create_receiver(name, options=[*options, Selector("colour = 'red' AND size > 2")])
    sender = connection.create_sender(name, options=options)
    for colour, size in [("red", 1), ("red", 3), ("blue", 3), ("red", 4)]:
        sender.send(Message(body=f"{colour} {size}", properties={"colour": colour, "size": int32(size)}))
    assert bodies(receiver, 2) == ["red 3", "red 4"]
    with pytest.raises(LinkDetached) as refused:
        connection.create_receiver(name, name="malformed", options=[*options, Selector("colour = ")])
    assert refused.value.condition == "amqp:invalid-field"


def test_a_browser_sees_all_that_is_in_a_queue_and_leaves_it_there(connect):
    connection = connect()
    name = unique("q")
    sender = connection.create_sender(name)
    for body in ["a", "b", "c"]:
        sender.send(Message(body=body))
    for _ in range(2):
        browser = connection.create_receiver(name, credit=0, options=[Copy(), AtMostOnce()])
        assert drain(browser, 10) == 3
        browser.close()
    assert bodies(connection.create_receiver(name), 3) == ["a", "b", "c"]


def test_a_request_is_answered_by_a_temporary_queue(connect):
    server, client = connect(), connect()
    name = unique("q")
    requests = server.create_receiver(name)
    replies = client.create_receiver(None, dynamic=True)
    address = replies.link.remote_source.address
    client.create_sender(name).send(Message(body="question", reply_to=address, correlation_id="c"))
    request = requests.receive()
    requests.accept()
    # The anonymous terminus: each message says where it goes.
    relay = server.create_sender(None)
    relay.send(Message(body="answer", address=request.reply_to, correlation_id=request.correlation_id))
    reply = replies.receive()
    assert (reply.body, reply.correlation_id) == ("answer", "c")
    with pytest.raises(LinkDetached) as refused:
        server.create_receiver(address)
    assert refused.value.condition == "amqp:unauthorized-access"
    replies.close()
    with pytest.raises(SendException):
        relay.send(Message(body="late", address=address))


class Told(TransactionHandler):
    """What became of a transaction."""

    def __init__(self):
        self.said = []

    def on_transaction_declared(self, event):
        self.said.append("declared")

    def on_transaction_committed(self, event):
        self.said.append("committed")

    def on_transaction_aborted(self, event):
        self.said.append("aborted")


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_a_transaction_is_all_or_nothing(connect, commit):
    connection, other = connect(), connect()
    source, target = unique("q"), unique("q")
    connection.create_sender(source).send(Message(body="in"))
    receiver, sender = connection.create_receiver(source), connection.create_sender(target)
    told = Told()
    transaction = connection.container.declare_transaction(connection.conn, told, settle_before_discharge=False)
    connection.wait(lambda: told.said == ["declared"], msg="declared")
    _, delivery = next_delivery(receiver)
    transaction.accept(delivery)
    sent = transaction.send(sender.link, Message(body="out"))
    connection.wait(lambda: sent.remote_state == 0x34, msg="the provisional outcome")
    elsewhere = other.create_receiver(target, credit=0)
    assert drain(elsewhere, 1) == 0, "before the end nobody sees it"
    if commit:
        transaction.commit()
    else:
        transaction.abort()
    connection.wait(lambda: len(told.said) == 2, msg="discharged")
    assert told.said[1] == ("committed" if commit else "aborted")
    delivery.settle()
    receiver.close()
    assert drain(elsewhere, 1) == (1 if commit else 0)
    assert drain(other.create_receiver(source, credit=0), 1) == (0 if commit else 1)


def test_a_connection_that_is_idle_is_kept(connect):
    # The peer is told half of it, since what comes a little late is no fault.
    connection = connect(heartbeat=2)
    sender = connection.create_sender(unique("q"))
    end = time.monotonic() + 3
    connection.wait(lambda: time.monotonic() > end, timeout=5)
    assert sender.send(Message(body="x")).remote_state == Delivery.ACCEPTED


def test_an_interval_shorter_than_the_least_is_refused(connect):
    with pytest.raises(ConnectionException, match="idle-time-out"):
        connect(heartbeat=1).create_sender(unique("q"))


def test_what_nobody_may_is_refused(connect):
    connection = connect(user="ann", password="secret", allowed_mechs="PLAIN")
    with pytest.raises(LinkDetached) as refused:
        connection.create_receiver("forbidden.a")
    assert refused.value.condition == "amqp:unauthorized-access"
    relay = connection.create_sender(None)
    for sender in [connection.create_sender("forbidden.a"), relay]:
        delivery = sender.link.send(Message(body="x", address="forbidden.a"))
        connection.wait(lambda: delivery.settled, msg="an outcome")
        assert delivery.remote_state == Delivery.REJECTED
        assert delivery.remote.condition.name == "amqp:unauthorized-access"
    assert relay.send(Message(body="x", address=unique("q"))).remote_state == Delivery.ACCEPTED, "the link goes on"


@pytest.mark.parametrize("address, options, is_sender", [
    ("a.*", TOPIC, True), ("queue://a.*", None, False), ("topic://a", Kind("queue"), True),
    ("a..b", None, False),
])
def test_an_address_that_cannot_be_is_refused(connect, address, options, is_sender):
    connection = connect()
    with pytest.raises(LinkDetached) as refused:
        (connection.create_sender if is_sender else connection.create_receiver)(address, options=options)
    assert refused.value.condition == "amqp:invalid-field"


def test_a_message_that_is_too_large_ends_its_link(connect):
    connection = connect()
    sender = connection.create_sender(unique("q"))
    assert sender.link.remote_max_message_size == 1 << 20
    with pytest.raises(LinkDetached) as refused:
        sender.send(Message(body=bytes(2_000_000)))
    assert refused.value.condition == "amqp:link:message-size-exceeded"
