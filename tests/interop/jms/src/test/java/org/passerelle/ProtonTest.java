package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

import org.apache.qpid.protonj2.client.Client;
import org.apache.qpid.protonj2.client.Connection;
import org.apache.qpid.protonj2.client.ConnectionOptions;
import org.apache.qpid.protonj2.client.Delivery;
import org.apache.qpid.protonj2.client.DeliveryMode;
import org.apache.qpid.protonj2.client.DeliveryState;
import org.apache.qpid.protonj2.client.DistributionMode;
import org.apache.qpid.protonj2.client.Message;
import org.apache.qpid.protonj2.client.Receiver;
import org.apache.qpid.protonj2.client.ReceiverOptions;
import org.apache.qpid.protonj2.client.Sender;
import org.apache.qpid.protonj2.client.SenderOptions;
import org.apache.qpid.protonj2.client.Session;
import org.apache.qpid.protonj2.client.StreamReceiver;
import org.apache.qpid.protonj2.client.StreamSender;
import org.apache.qpid.protonj2.client.StreamSenderMessage;
import org.apache.qpid.protonj2.client.Tracker;
import org.apache.qpid.protonj2.client.exceptions.ClientException;
import org.apache.qpid.protonj2.client.exceptions.ClientTransactionRolledBackException;
import org.apache.qpid.protonj2.types.Symbol;
import org.apache.qpid.protonj2.types.UnsignedLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** AMQP 1.0 itself, by the client of Qpid ProtonJ2, which knows nothing of JMS. */
@Execution(ExecutionMode.CONCURRENT)
@Timeout(60)
class ProtonTest {
    private static final long SOON = org.passerelle.Client.SOON;
    private static final long QUIET = org.passerelle.Client.QUIET;

    private final Provider provider = Provider.get();
    private final Deque<Connection> connections = new ArrayDeque<>();
    private Client client;
    private String queue;

    @BeforeEach
    void open() {
        assumeTrue(provider.name.equals("passerelle"), "what the standard leaves open is here as Passerelle has it");
        client = Client.create();
        queue = org.passerelle.Client.unique("proton");
    }

    @AfterEach
    void close() {
        connections.forEach(Connection::close);
        if (client != null) {
            client.close();
        }
    }

    private ConnectionOptions options() {
        return new ConnectionOptions().user(provider.user).password(provider.password);
    }

    private Connection connect(String uri, ConnectionOptions options) throws ClientException {
        URI address = URI.create(uri);
        Connection connection = client.connect(address.getHost(), address.getPort(), options);
        connections.add(connection);
        return connection;
    }

    private Connection connect() throws ClientException {
        return connect(provider.tcp, options());
    }

    private Connection connect(String transport) throws Exception {
        ConnectionOptions options = options();
        switch (transport) {
            case "ws" -> {
                options.transportOptions().useWebSockets(true).webSocketPath(URI.create(provider.webSocket).getPath());
                return connect(provider.webSocket, options);
            }
            case "tls" -> {
                String trust = provider.uri("tls").replaceFirst("^.*trustStoreLocation=([^&]*)&.*$", "$1");
                options.sslOptions().sslEnabled(true).trustStoreLocation(trust).trustStorePassword("secret").trustStoreType("PKCS12");
                return connect(provider.tls, options);
            }
            default -> {
                return connect(provider.tcp, options);
            }
        }
    }

    private static Delivery next(Receiver receiver) throws ClientException {
        Delivery delivery = receiver.receive(SOON, TimeUnit.MILLISECONDS);
        assertNotNull(delivery, "nothing came");
        return delivery;
    }

    private static String text(Delivery delivery) throws ClientException {
        return (String) delivery.message().body();
    }

    private static void nothing(Receiver receiver) throws ClientException {
        assertNull(receiver.receive(QUIET, TimeUnit.MILLISECONDS));
    }

    private static DeliveryState.Type outcome(Tracker tracker) throws Exception {
        Tracker settled = tracker.settlementFuture().get(SOON, TimeUnit.MILLISECONDS);
        return settled.remoteState().getType();
    }

    private static void send(Connection connection, String queue, String... texts) throws Exception {
        try (Sender sender = connection.openSender(queue)) {
            for (String text : texts) {
                assertEquals(DeliveryState.Type.ACCEPTED, outcome(sender.send(Message.create(text).durable(true))));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void aMessageAsItWasSent(String transport) throws Exception {
        Connection connection = connect(transport);
        Sender sender = connection.openSender(queue);
        Message<String> message = Message.create("hello").durable(true).priority((byte) 7).messageId("m-1").correlationId("c-1")
            .subject("greeting").contentType("text/plain").groupId("g").groupSequence(3);
        message.property("n", 42).property("large", 1L << 40).property("flag", true).annotation("x-opt-own", "a");
        assertEquals(DeliveryState.Type.ACCEPTED, outcome(sender.send(message)));
        Delivery delivery = next(connection.openReceiver(queue));
        Message<String> got = delivery.message();
        assertEquals("hello", got.body());
        assertEquals(true, got.durable());
        assertEquals(7, got.priority());
        assertEquals("m-1", got.messageId());
        assertEquals("c-1", got.correlationId());
        assertEquals("greeting", got.subject());
        assertEquals("text/plain", got.contentType());
        assertEquals("g", got.groupId());
        assertEquals(3, got.groupSequence());
        assertEquals(42, got.property("n"));
        assertEquals(1L << 40, got.property("large"));
        assertEquals(true, got.property("flag"));
        assertEquals("a", got.annotation("x-opt-own"));
        assertEquals(0, got.deliveryCount());
    }

    @ParameterizedTest
    @ValueSource(strings = {"PLAIN", "SCRAM-SHA-256", "ANONYMOUS"})
    void logIns(String mechanism) throws Exception {
        ConnectionOptions options = mechanism.equals("ANONYMOUS") ? new ConnectionOptions() : options();
        options.saslOptions().addAllowedMechanism(mechanism);
        Connection connection = connect(provider.tcp, options);
        send(connection, queue, "x");
        assertEquals("x", text(next(connection.openReceiver(queue))));
    }

    @ParameterizedTest
    @ValueSource(strings = {"PLAIN", "SCRAM-SHA-256"})
    void aWrongPassword(String mechanism) throws Exception {
        ConnectionOptions options = new ConnectionOptions().user(provider.user).password("wrong");
        options.saslOptions().addAllowedMechanism(mechanism);
        Connection connection = connect(provider.tcp, options);
        assertThrows(ExecutionException.class, () -> connection.openFuture().get(SOON, TimeUnit.MILLISECONDS));
    }

    @Test
    void withoutSasl() throws Exception {
        ConnectionOptions options = new ConnectionOptions();
        options.saslOptions().saslEnabled(false);
        Connection connection = connect(provider.tcp, options);
        send(connection, queue, "x");
        assertEquals("x", text(next(connection.openReceiver(queue))));
    }

    @Test
    void whatIsSentSettled() throws Exception {
        Connection connection = connect();
        Sender sender = connection.openSender(queue, new SenderOptions().deliveryMode(DeliveryMode.AT_MOST_ONCE));
        Tracker tracker = sender.send(Message.create("settled"));
        assertTrue(tracker.settled() || tracker.remoteSettled());
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().deliveryMode(DeliveryMode.AT_MOST_ONCE).autoAccept(false));
        Delivery delivery = next(receiver);
        assertEquals("settled", text(delivery));
        assertEquals(true, delivery.remoteSettled());
        receiver.close();
        nothing(connection.openReceiver(queue));
    }

    @Test
    void released() throws Exception {
        Connection connection = connect();
        send(connection, queue, "x");
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().autoAccept(false));
        next(receiver).release();
        Delivery again = next(receiver);
        assertEquals("x", text(again));
        assertEquals(0, again.message().deliveryCount());
        again.accept();
        nothing(receiver);
    }

    @Test
    void modified() throws Exception {
        Connection connection = connect();
        send(connection, queue, "x");
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().autoAccept(false));
        next(receiver).modified(true, false);
        Delivery again = next(receiver);
        assertEquals(1, again.message().deliveryCount());
        again.modified(false, false);
        again = next(receiver);
        assertEquals(1, again.message().deliveryCount());
        again.accept();
        nothing(receiver);
    }

    @Test
    void rejected() throws Exception {
        Connection connection = connect();
        send(connection, queue, "x");
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().autoAccept(false));
        next(receiver).reject("app:bad", "it is bad");
        nothing(receiver);
        Delivery dead = next(connection.openReceiver("DLQ." + queue));
        assertEquals("x", text(dead));
        assertNotNull(dead.annotations().get("x-opt-dlq-reason"));
    }

    @Test
    void settledWithoutAnOutcome() throws Exception {
        Connection connection = connect();
        send(connection, queue, "x");
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().autoAccept(false).autoSettle(false));
        next(receiver).settle();
        next(receiver).accept();
        nothing(receiver);
    }

    @Test
    void acceptedFirstAndSettledThen() throws Exception {
        Connection connection = connect();
        send(connection, queue, "x");
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().autoAccept(false));
        Delivery delivery = next(receiver);
        delivery.disposition(DeliveryState.accepted(), false);
        delivery.settle();
        receiver.close();
        nothing(connection.openReceiver(queue));
    }

    @Test
    void creditIsWhatComes() throws Exception {
        Connection connection = connect();
        send(connection, queue, org.passerelle.Client.numbered(10));
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().creditWindow(0));
        nothing(receiver);
        receiver.addCredit(3);
        for (int index = 0; index < 3; index++) {
            assertEquals("m" + index, text(next(receiver)));
        }
        nothing(receiver);
        receiver.addCredit(2);
        assertEquals("m3", text(next(receiver)));
        assertEquals("m4", text(next(receiver)));
        nothing(receiver);
    }

    @Test
    void aDrainIsAnswered() throws Exception {
        Connection connection = connect();
        send(connection, queue, "a", "b");
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().creditWindow(0));
        receiver.addCredit(10);
        receiver.drain().get(SOON, TimeUnit.MILLISECONDS);
        assertEquals(2, receiver.queuedDeliveries());
        assertEquals("a", text(next(receiver)));
        assertEquals("b", text(next(receiver)));
        // The credit has gone with the drain.
        send(connection, queue, "c");
        nothing(receiver);
        receiver.addCredit(1);
        assertEquals("c", text(next(receiver)));
        receiver.addCredit(5);
        receiver.drain().get(SOON, TimeUnit.MILLISECONDS);
        assertEquals(0, receiver.queuedDeliveries());
    }

    @Test
    void transactionsThatSend() throws Exception {
        Session session = connect().openSession();
        Sender sender = session.openSender(queue);
        Receiver receiver = connect().openReceiver(queue);
        session.beginTransaction();
        Tracker tracker = sender.send(Message.create("committed"));
        assertEquals(DeliveryState.Type.TRANSACTIONAL, outcome(tracker));
        nothing(receiver);
        session.commitTransaction();
        assertEquals("committed", text(next(receiver)));
        session.beginTransaction();
        sender.send(Message.create("rolled back"));
        session.rollbackTransaction();
        nothing(receiver);
    }

    @Test
    void transactionsThatReceive() throws Exception {
        Connection connection = connect();
        send(connection, queue, "a");
        Session session = connection.openSession();
        Receiver receiver = session.openReceiver(queue, new ReceiverOptions().autoAccept(false));
        session.beginTransaction();
        next(receiver).accept();
        session.rollbackTransaction();
        session.beginTransaction();
        Delivery again = next(receiver);
        assertEquals("a", text(again));
        assertTrue(again.message().deliveryCount() >= 1, "the attempt counts");
        again.accept();
        session.commitTransaction();
        receiver.close();
        nothing(connection.openReceiver(queue));
    }

    @Test
    void aCommitWithWhatIsRefused() throws Exception {
        Connection connection = connect();
        Session session = connection.openSession();
        session.beginTransaction();
        session.openSender(queue).send(Message.create("first"));
        Tracker refused = session.openAnonymousSender().send(Message.create("nowhere").to("/temp-queue/" + queue));
        assertEquals(DeliveryState.Type.TRANSACTIONAL, outcome(refused));
        assertThrows(ClientTransactionRolledBackException.class, session::commitTransaction);
        Receiver receiver = connection.openReceiver(queue);
        nothing(receiver);
        // The next one is not concerned.
        session.beginTransaction();
        session.openSender(queue).send(Message.create("second"));
        session.commitTransaction();
        assertEquals("second", text(next(receiver)));
    }

    @Test
    void requestAndReplyByADynamicNode() throws Exception {
        Connection server = connect();
        Receiver requests = server.openReceiver(queue);
        Connection asking = connect();
        Receiver replies = asking.openDynamicReceiver();
        String address = replies.address();
        assertNotNull(address);
        asking.openSender(queue).send(Message.create("ask").replyTo(address).correlationId(UnsignedLong.valueOf(1)));
        Message<String> request = next(requests).message();
        server.openAnonymousSender().send(Message.create("re: " + request.body()).to(request.replyTo()).correlationId(UnsignedLong.valueOf(1)));
        Delivery reply = next(replies);
        assertEquals("re: ask", text(reply));
        assertEquals(UnsignedLong.valueOf(1), reply.message().correlationId());
        // Only who made it receives from it, and it goes with its link.
        assertThrows(ExecutionException.class, () -> server.openReceiver(address).openFuture().get(SOON, TimeUnit.MILLISECONDS));
        replies.close();
        assertEquals(DeliveryState.Type.REJECTED, outcome(server.openSender(address).send(Message.create("late"))));
    }

    @Test
    void aBrowserTakesNothing() throws Exception {
        Connection connection = connect();
        send(connection, queue, "a", "b");
        ReceiverOptions options = new ReceiverOptions();
        options.sourceOptions().distributionMode(DistributionMode.COPY);
        Receiver browser = connection.openReceiver(queue, options);
        assertEquals("a", text(next(browser)));
        assertEquals("b", text(next(browser)));
        nothing(browser);
        Receiver receiver = connection.openReceiver(queue);
        assertEquals("a", text(next(receiver)));
        assertEquals("b", text(next(receiver)));
    }

    @Test
    void aSelector() throws Exception {
        Connection connection = connect();
        Sender sender = connection.openSender(queue);
        sender.send(Message.create("no").property("n", 1));
        sender.send(Message.create("yes").property("n", 2));
        ReceiverOptions options = new ReceiverOptions();
        options.sourceOptions().addFilter("selector", Symbol.valueOf("apache.org:selector-filter:string"), "n > 1");
        Receiver receiver = connection.openReceiver(queue, options);
        assertEquals("yes", text(next(receiver)));
        nothing(receiver);
    }

    @Test
    void aTopicAndADurableSubscription() throws Exception {
        String topic = "topic://" + queue;
        String container = org.passerelle.Client.unique("container");
        Client other = Client.create(new org.apache.qpid.protonj2.client.ClientOptions().id(container));
        URI uri = URI.create(provider.tcp);
        Connection first = other.connect(uri.getHost(), uri.getPort(), options());
        Receiver live = connect().openReceiver(topic);
        live.openFuture().get();
        first.openDurableReceiver(topic, "kept").openFuture().get().detach();
        first.close();
        Connection sending = connect();
        send(sending, topic, "x");
        assertEquals("x", text(next(live)));
        Connection second = other.connect(uri.getHost(), uri.getPort(), options());
        Receiver again = second.openDurableReceiver(topic, "kept");
        assertEquals("x", text(next(again)));
        again.close();
        second.close();
        other.close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void aLargeMessageAsAStream(String transport) throws Exception {
        byte[] chunk = new byte[64 * 1024];
        new Random(7).nextBytes(chunk);
        int chunks = 160; // 10 MiB
        Connection connection = connect(transport);
        StreamSender sender = connection.openStreamSender(queue);
        StreamSenderMessage message = sender.beginMessage();
        message.durable(true);
        message.property("chunks", chunks);
        try (OutputStream out = message.body()) {
            for (int index = 0; index < chunks; index++) {
                out.write(chunk);
            }
        }
        assertEquals(DeliveryState.Type.ACCEPTED,
            message.tracker().settlementFuture().get(SOON, TimeUnit.MILLISECONDS).remoteState().getType());
        StreamReceiver receiver = connection.openStreamReceiver(queue);
        var delivery = receiver.receive(SOON, TimeUnit.MILLISECONDS);
        assertNotNull(delivery);
        assertEquals(chunks, delivery.message().property("chunks"));
        try (InputStream in = delivery.message().body()) {
            for (int index = 0; index < chunks; index++) {
                assertArrayEquals(chunk, in.readNBytes(chunk.length));
            }
            assertEquals(-1, in.read());
        }
        delivery.accept();
    }

    @Test
    void aMessageThatIsTooLarge() throws Exception {
        Connection connection = connect();
        Sender sender = connection.openSender(queue);
        sender.openFuture().get();
        byte[] body = new byte[25 * 1024 * 1024];
        assertThrows(Exception.class, () -> sender.send(Message.create(body)).settlementFuture().get(SOON, TimeUnit.MILLISECONDS));
        // The connection goes on.
        send(connection, queue, "small");
    }

    @Test
    void anIdleConnectionIsKept() throws Exception {
        Connection connection = connect(provider.tcp, options().idleTimeout(2_000));
        Receiver receiver = connection.openReceiver(queue);
        receiver.openFuture().get();
        assertNull(receiver.receive(5_000, TimeUnit.MILLISECONDS));
        send(connection, queue, "x");
        assertEquals("x", text(next(receiver)));
    }

    @Test
    void smallFramesAndManySessions() throws Exception {
        Connection connection = connect(provider.tcp, options().maxFrameSize(512).channelMax(50));
        byte[] body = new byte[20_000];
        new Random(1).nextBytes(body);
        List<Receiver> receivers = new ArrayList<>();
        for (int index = 0; index < 20; index++) {
            Session session = connection.openSession();
            String own = queue + "." + index;
            session.openSender(own).send(Message.create(body));
            receivers.add(session.openReceiver(own));
        }
        for (Receiver receiver : receivers) {
            assertArrayEquals(body, (byte[]) next(receiver).message().body());
        }
    }

    @Test
    void aWindowOfManyUnsettled() throws Exception {
        Connection connection = connect();
        Sender sender = connection.openSender(queue);
        Deque<Tracker> trackers = new ArrayDeque<>();
        for (int index = 0; index < 2_000; index++) {
            trackers.add(sender.send(Message.create(index).durable(true)));
        }
        for (Tracker tracker : trackers) {
            assertEquals(DeliveryState.Type.ACCEPTED, outcome(tracker));
        }
        Receiver receiver = connection.openReceiver(queue, new ReceiverOptions().creditWindow(50));
        for (int index = 0; index < 2_000; index++) {
            assertEquals(index, next(receiver).message().body());
        }
    }

    @Test
    void itGoesOnWhenTheGatewayIsBack() throws Exception {
        try (Gateway own = Gateway.start()) {
            ConnectionOptions options = new ConnectionOptions().reconnectEnabled(true);
            options.reconnectOptions().reconnectDelay(20).maxReconnectAttempts(500);
            Connection connection = connect(own.tcp(), options);
            Sender sender = connection.openSender("q");
            assertEquals(DeliveryState.Type.ACCEPTED, outcome(sender.send(Message.create("before").durable(true))));
            own.crash();
            assertEquals(DeliveryState.Type.ACCEPTED, outcome(sender.send(Message.create("after").durable(true))));
            Receiver receiver = connection.openReceiver("q");
            assertEquals("before", text(next(receiver)));
            assertEquals("after", text(next(receiver)));
        }
    }
}
