"""The core of STOMP, as stomp.py speaks it over TCP and WebSocket."""
import re
import time

import pytest
from conftest import SECONDS, post, unique


def individual(peer):
    """The ack mode for single messages; 1.0 has only the cumulative one."""
    return "client" if peer.version == "1.0" else "client-individual"


def test_connected(kind, peers):
    peer = peers(kind)
    assert peer.connected.headers["version"] == peer.version
    assert peer.connected.headers["server"].startswith("passerelle/")


def test_a_message_there_and_back(kind, peers):
    peer, topic = peers(kind), unique("/topic/")
    peer.subscribe(topic)
    peer.send(topic, "Grüße 😀", greeting="bonjour")
    message = peer.next()
    assert message.body == "Grüße 😀"
    assert message.headers["destination"] == topic
    assert message.headers["greeting"] == "bonjour"
    assert message.headers["message-id"]


@pytest.mark.parametrize("kind", ["tcp-1.2", "ws-1.2"])
def test_headers_keep_their_characters(kind, peers):
    peer, topic = peers(kind), unique("/topic/")
    peer.subscribe(topic)
    values = {"colon": "a:b", "backslash": "C:\\n", "lines": "one\ntwo", "accents": "Größe"}
    peer.send(topic, "x", **values)
    headers = peer.next().headers
    assert {name: headers[name] for name in values} == values


def test_bytes(kind, peers):
    if kind.startswith("ws"):
        options = {"auto_decode": False, "binary_mode": True}
    else:
        options = {"auto_decode": False}
    peer, topic = peers(kind, **options), unique("/topic/")
    peer.subscribe(topic)
    body = bytes(range(256)) * 4
    peer.send(topic, body)
    assert peer.next().body == body


def test_a_large_body(kind, peers):
    peer, topic = peers(kind), unique("/topic/")
    peer.subscribe(topic)
    body = "0123456789" * 100_000
    peer.send(topic, body)
    assert peer.next().body == body


def test_topics_fan_out(kind, peers):
    topic = unique("/topic/")
    receivers = [peers(kind) for _ in range(3)]
    for receiver in receivers:
        receiver.subscribe(topic)
    sender = peers(kind)
    for number in range(20):
        sender.connection.send(topic, str(number))
    for receiver in receivers:
        assert receiver.bodies(20) == [str(number) for number in range(20)]


def test_wildcards(kind, peers):
    base = unique("/topic/")
    one, rest, sender = peers(kind), peers(kind), peers(kind)
    one.subscribe(f"{base}.*")
    rest.subscribe(f"{base}.>")
    for name in ["", ".a", ".a.b"]:
        sender.send(base + name, name)
    sender.send(f"{base}.end", "end")
    assert one.bodies(2) == [".a", "end"]
    assert rest.bodies(4) == ["", ".a", ".a.b", "end"]


def test_a_queue_keeps_messages(kind, peers):
    name = unique("/queue/")
    sender = peers(kind)
    for body in "abc":
        sender.send(name, body)
    receiver = peers(kind)
    receiver.subscribe(name)
    assert receiver.bodies(3) == ["a", "b", "c"]


def test_competing_consumers(kind, peers):
    name = unique("/queue/")
    consumers = [peers(kind), peers(kind)]
    for consumer in consumers:
        consumer.subscribe(name, ack=individual(consumer), prefetch="10")
    sender = peers(kind)
    for number in range(20):
        sender.send(name, str(number))
    bodies = consumers[0].bodies(10) + consumers[1].bodies(10)
    assert sorted(map(int, bodies)) == list(range(20))


def test_ack_in_mode_client_is_cumulative(kind, peers):
    name = unique("/queue/")
    peer = peers(kind)
    for body in "abcd":
        peer.send(name, body)
    consumer = peers(kind)
    consumer.subscribe(name, ack="client")
    messages = [consumer.next() for _ in range(4)]
    consumer.settle("ack", messages[2])
    consumer.sync()
    consumer.drop()
    peer.subscribe(name)
    message = peer.next()
    assert message.body == "d"
    assert message.headers["redelivered"] == "true"


@pytest.mark.parametrize("kind", ["tcp-1.1", "tcp-1.2", "ws-1.2"])
def test_ack_and_nack_of_single_messages(kind, peers):
    name = unique("/queue/")
    peer = peers(kind)
    for body in "abc":
        peer.send(name, body)
    peer.subscribe(name, ack="client-individual")
    a, b, c = [peer.next() for _ in range(3)]
    peer.settle("ack", c)
    peer.settle("nack", a)
    again = peer.next()
    assert (again.body, again.headers["redelivered"], again.headers["delivery-count"]) == ("a", "true", "2")
    peer.settle("ack", again)
    peer.settle("ack", b)
    peer.unsubscribe()
    peer.subscribe(name, id="t")
    peer.send(name, "end")
    assert peer.bodies(1) == ["end"]


@pytest.mark.parametrize("kind", ["tcp-1.1", "tcp-1.2", "ws-1.2"])
def test_dead_letters(kind, peers):
    name = unique("/queue/")
    peer, undertaker = peers(kind), peers(kind)
    undertaker.subscribe(name.replace("/queue/", "/queue/DLQ."))
    peer.subscribe(name, ack="client-individual")
    peer.send(name, "poison")
    for _ in range(6):
        peer.settle("nack", peer.next())
    letter = undertaker.next()
    assert letter.body == "poison"
    assert letter.headers["dlq-queue"] == name
    assert re.search("6 times", letter.headers["dlq-reason"])


def test_a_lost_consumer(kind, peers):
    name = unique("/queue/")
    sender, lost, heir = peers(kind), peers(kind), peers(kind)
    sender.send(name, "x")
    lost.subscribe(name, ack="client")
    assert lost.bodies(1) == ["x"]
    lost.drop()
    heir.subscribe(name)
    message = heir.next()
    assert (message.body, message.headers["redelivered"]) == ("x", "true")


def test_commit_and_abort(kind, peers):
    topic = unique("/topic/")
    peer = peers(kind)
    peer.subscribe(topic)
    kept = peer.connection.begin()
    peer.connection.send(topic, "kept", transaction=kept)
    dropped = peer.connection.begin()
    peer.connection.send(topic, "dropped", transaction=dropped)
    peer.connection.abort(dropped)
    peer.send(topic, "before")
    peer.connection.commit(kept)
    peer.send(topic, "after")
    assert peer.bodies(3) == ["before", "kept", "after"]


@pytest.mark.parametrize("kind", ["tcp-1.1", "tcp-1.2", "ws-1.2"])
def test_ack_in_a_transaction(kind, peers):
    name = unique("/queue/")
    sender, peer = peers(kind), peers(kind)
    sender.send(name, "a")
    sender.send(name, "b")
    peer.subscribe(name, ack="client-individual")
    a, b = peer.next(), peer.next()
    transaction = peer.connection.begin()
    peer.settle("ack", a, transaction=transaction)
    peer.connection.commit(transaction)
    transaction = peer.connection.begin()
    peer.settle("ack", b, transaction=transaction)
    peer.connection.abort(transaction)
    peer.sync()
    peer.drop()
    sender.subscribe(name)
    assert sender.bodies(1) == ["b"]


def test_request_and_reply(kind, peers):
    name = unique("/queue/")
    client, server = peers(kind), peers(kind)
    server.subscribe(name)
    client.subscribe("/temp-queue/answers")
    client.send(name, "ping", **{"reply-to": "/temp-queue/answers", "correlation-id": "7"})
    request = server.next()
    address = request.headers["reply-to"]
    assert re.fullmatch("/temp-queue/[0-9a-f]{32}", address)
    server.send(address, "pong", **{"correlation-id": request.headers["correlation-id"]})
    reply = client.next()
    assert (reply.body, reply.headers["correlation-id"]) == ("pong", "7")


def test_priority_and_expiry(kind, peers):
    name = unique("/queue/")
    peer = peers(kind)
    peer.send(name, "gone", expires=str(int(time.time() * 1000) - 1))
    peer.send(name, "low", priority="1")
    peer.send(name, "high", priority="8", persistent="true")
    peer.subscribe(name)
    assert peer.bodies(2) == ["high", "low"]


def test_unsubscribe(kind, peers):
    topic = unique("/topic/")
    peer, sender = peers(kind), peers(kind)
    peer.subscribe(topic)
    sender.send(topic, "before")
    assert peer.bodies(1) == ["before"]
    peer.unsubscribe()
    sender.send(topic, "after")
    peer.sync()
    assert peer.messages.empty()


@pytest.mark.parametrize("kind", ["tcp-1.1", "tcp-1.2", "ws-1.2"])
def test_heart_beats(kind, peers):
    peer = peers(kind, heartbeats=(1000, 1000))
    sends, wants = map(int, peer.connected.headers["heart-beat"].split(","))
    assert sends > 0 and wants > 0
    for _ in range(2):
        peer.beats.get(timeout=max(1, sends / 1000) + 1.5)
    assert peer.connection.is_connected()


@pytest.mark.parametrize(
    ("destination", "words"),
    [("/topic/a.*", "wildcard"), ("/exchange/a", "/topic/"), ("/topic/a..b", "empty")],
)
def test_errors(kind, destination, words, peers):
    peer = peers(kind)
    peer.connection.send(destination, "x")
    error = peer.errors.get(timeout=SECONDS)
    assert words in error.headers["message"] + error.body
    peer.ended()


def test_meets_http(kind, peers):
    topic, name = unique("/topic/"), unique("/queue/")
    peer = peers(kind)
    peer.subscribe(topic, id="t")
    peer.subscribe(name, id="q")
    assert post(topic.replace("/topic/", "/topics/"), b'{"hello":1}') < 300
    assert peer.bodies(1) == ['{"hello":1}']
    assert post(name.replace("/queue/", "/queues/"), b"job") < 300
    assert peer.bodies(1) == ["job"]


def test_tcp_and_websocket_meet(peers):
    topic = unique("/topic/")
    kinds = ["tcp-1.0", "tcp-1.1", "tcp-1.2", "ws-1.2"]
    everybody = [peers(kind) for kind in kinds]
    for peer in everybody:
        peer.subscribe(topic)
    for peer in everybody:
        peer.send(topic, f"from {peer.kind}")
    # Between producers on different cores there is no order.
    for peer in everybody:
        assert sorted(peer.bodies(4)) == [f"from {kind}" for kind in kinds]
