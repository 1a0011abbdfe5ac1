package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.InvalidClientIDException;
import jakarta.jms.InvalidDestinationException;
import jakarta.jms.JMSException;
import jakarta.jms.JMSSecurityException;
import jakarta.jms.MapMessage;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.ObjectMessage;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.StreamMessage;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import jakarta.jms.TransactionRolledBackException;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.apache.qpid.jms.JmsTransactionInDoubtException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Passerelle as the JMS provider of Apache Qpid JMS, over TCP and WebSocket. */
@Timeout(60)
@DisabledIfSystemProperty(named = "provider.tcp", matches = ".+", disabledReason = "it starts gateways of its own")
class ProviderTest {
    private static final long SOON = 5_000;
    private static final AtomicInteger names = new AtomicInteger();
    private static Gateway gateway;

    @BeforeAll
    static void start() throws Exception {
        gateway = Gateway.start();
    }

    @AfterAll
    static void stop() throws Exception {
        gateway.close();
    }

    private static String unique() {
        return "n." + names.incrementAndGet();
    }

    private static String uri(String transport) {
        return transport.equals("tcp") ? gateway.tcp() : gateway.webSocket();
    }

    private static String text(Message message) throws JMSException {
        assertNotNull(message, "a message");
        return ((TextMessage) message).getText();
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "ws"})
    void aQueueKeepsOrderAndEachMessageGoesToOne(String transport) throws Exception {
        try (Connection connection = gateway.connect(uri(transport))) {
            Session session = connection.createSession();
            Queue queue = session.createQueue(unique());
            MessageProducer producer = session.createProducer(queue);
            for (int index = 0; index < 250; index++) {
                producer.send(session.createTextMessage("m" + index));
            }
            MessageConsumer consumer = session.createConsumer(queue);
            for (int index = 0; index < 250; index++) {
                assertEquals("m" + index, text(consumer.receive(SOON)));
            }
            assertNull(consumer.receiveNoWait());
            assertNull(consumer.receive(50));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "ws"})
    void aTopicGoesToAllWhoListen(String transport) throws Exception {
        try (Connection connection = gateway.connect(uri(transport))) {
            Session session = connection.createSession();
            Topic topic = session.createTopic(unique());
            List<MessageConsumer> consumers = List.of(session.createConsumer(topic), session.createConsumer(topic));
            BlockingQueue<Message> heard = new ArrayBlockingQueue<>(10);
            Session other = connection.createSession();
            other.createConsumer(topic).setMessageListener(heard::add);
            session.createProducer(topic).send(session.createTextMessage("news"));
            for (MessageConsumer consumer : consumers) {
                assertEquals("news", text(consumer.receive(SOON)));
            }
            assertEquals("news", text(heard.poll(SOON, TimeUnit.MILLISECONDS)));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "ws"})
    void allTypesOfMessagesComeAsTheyWere(String transport) throws Exception {
        try (Connection connection = gateway.connect(uri(transport))) {
            Session session = connection.createSession();
            Queue queue = session.createQueue(unique());
            MessageProducer producer = session.createProducer(queue);
            MessageConsumer consumer = session.createConsumer(queue);

            Message plain = session.createMessage();
            plain.setBooleanProperty("yes", true);
            plain.setByteProperty("byte", (byte) -1);
            plain.setShortProperty("short", (short) 2);
            plain.setIntProperty("int", 3);
            plain.setLongProperty("long", 4L);
            plain.setFloatProperty("float", 0.5f);
            plain.setDoubleProperty("double", 0.25);
            plain.setStringProperty("string", "ä");
            plain.setJMSCorrelationID("c");
            plain.setJMSType("kind");
            plain.setJMSReplyTo(session.createTopic("answers"));
            producer.send(plain, DeliveryMode.PERSISTENT, 8, 60_000);
            Message got = consumer.receive(SOON);
            for (Object name : Collections.list(plain.getPropertyNames())) {
                assertEquals(plain.getObjectProperty((String) name), got.getObjectProperty((String) name), (String) name);
            }
            assertEquals("c", got.getJMSCorrelationID());
            assertEquals("kind", got.getJMSType());
            assertEquals(8, got.getJMSPriority());
            assertEquals(DeliveryMode.PERSISTENT, got.getJMSDeliveryMode());
            assertEquals("answers", ((Topic) got.getJMSReplyTo()).getTopicName());
            assertEquals(queue, got.getJMSDestination());
            assertEquals(plain.getJMSMessageID(), got.getJMSMessageID());
            assertEquals(plain.getJMSTimestamp(), got.getJMSTimestamp());
            assertEquals(plain.getJMSExpiration(), got.getJMSExpiration());
            assertFalse(got.getJMSRedelivered());
            assertEquals(1, got.getIntProperty("JMSXDeliveryCount"));

            BytesMessage bytes = session.createBytesMessage();
            byte[] content = new byte[300_000];
            content[7] = -7;
            bytes.writeBytes(content);
            producer.send(bytes);
            BytesMessage gotBytes = (BytesMessage) consumer.receive(SOON);
            byte[] read = new byte[(int) gotBytes.getBodyLength()];
            gotBytes.readBytes(read);
            assertArrayEquals(content, read);

            MapMessage map = session.createMapMessage();
            map.setInt("int", 5);
            map.setBytes("bytes", new byte[] {1, 2});
            producer.send(map);
            MapMessage gotMap = (MapMessage) consumer.receive(SOON);
            assertEquals(5, gotMap.getInt("int"));
            assertArrayEquals(new byte[] {1, 2}, gotMap.getBytes("bytes"));

            StreamMessage stream = session.createStreamMessage();
            stream.writeLong(9);
            stream.writeString("s");
            producer.send(stream);
            StreamMessage gotStream = (StreamMessage) consumer.receive(SOON);
            assertEquals(9, gotStream.readLong());
            assertEquals("s", gotStream.readString());

            ObjectMessage object = session.createObjectMessage(new ArrayList<>(List.of("a", "b")));
            producer.send(object);
            assertEquals(List.of("a", "b"), ((ObjectMessage) consumer.receive(SOON)).getObject());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "ws"})
    void aTransactedSessionCommitsOrRollsBackWhatItSentAndReceived(String transport) throws Exception {
        try (Connection connection = gateway.connect(uri(transport))) {
            Session session = connection.createSession(Session.SESSION_TRANSACTED);
            Queue from = session.createQueue(unique());
            Queue to = session.createQueue(unique());
            Session plain = connection.createSession();
            MessageConsumer results = plain.createConsumer(to);
            MessageProducer filler = plain.createProducer(from);
            for (int index = 0; index < 3; index++) {
                filler.send(plain.createTextMessage("m" + index));
            }
            MessageConsumer consumer = session.createConsumer(from);
            MessageProducer producer = session.createProducer(to);
            assertEquals("m0", text(consumer.receive(SOON)));
            producer.send(session.createTextMessage("not yet"));
            assertNull(results.receive(100));
            session.rollback();
            Message again = consumer.receive(SOON);
            assertEquals("m0", text(again));
            assertTrue(again.getJMSRedelivered());
            assertEquals(2, again.getIntProperty("JMSXDeliveryCount"));
            assertEquals("m1", text(consumer.receive(SOON)));
            producer.send(session.createTextMessage("done"));
            session.commit();
            assertEquals("done", text(results.receive(SOON)));
            assertEquals("m2", text(consumer.receive(SOON)));
            consumer.close();
            session.commit();
            assertNull(plain.createConsumer(from).receive(100));
            for (int index = 0; index < 50; index++) {
                producer.send(session.createTextMessage("t" + index));
                session.commit();
            }
            for (int index = 0; index < 50; index++) {
                assertEquals("t" + index, text(results.receive(SOON)));
            }
        }
    }

    @Test
    void whatIsNotAcknowledgedComesAgainAndEndsAsADeadLetter() throws Exception {
        String outcome = "?jms.redeliveryPolicy.maxRedeliveries=2&jms.redeliveryPolicy.outcome=REJECTED";
        try (Connection connection = gateway.connect(gateway.tcp() + outcome)) {
            Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
            String name = unique();
            Queue queue = session.createQueue(name);
            session.createProducer(queue).send(session.createTextMessage("x"));
            MessageConsumer consumer = session.createConsumer(queue);
            for (int count = 1; count <= 3; count++) {
                assertEquals(count, consumer.receive(SOON).getIntProperty("JMSXDeliveryCount"));
                session.recover();
            }
            assertNull(consumer.receive(200));
            Message dead = session.createConsumer(session.createQueue("DLQ." + name)).receive(SOON);
            assertEquals("x", text(dead));
            dead.acknowledge();
        }
    }

    @Test
    void aDurableSubscriptionGetsWhatIsPublishedMeanwhile() throws Exception {
        String topicName = unique();
        try (Connection connection = gateway.connect(gateway.tcp(), "client-" + topicName)) {
            Session session = connection.createSession();
            Topic topic = session.createTopic(topicName);
            MessageProducer producer = session.createProducer(topic);
            session.createDurableSubscriber(topic, "sub", "colour = 'red'", false).close();
            for (String colour : List.of("red", "blue")) {
                Message message = session.createTextMessage(colour);
                message.setStringProperty("colour", colour);
                producer.send(message);
            }
            MessageConsumer consumer = session.createDurableSubscriber(topic, "sub", "colour = 'red'", false);
            assertEquals("red", text(consumer.receive(SOON)));
            assertNull(consumer.receive(100));
            assertThrows(JMSException.class, () -> session.unsubscribe("sub"));
            consumer.close();
            session.unsubscribe("sub");
            assertThrows(InvalidDestinationException.class, () -> session.unsubscribe("sub"));
            MessageConsumer noLocal = session.createDurableSubscriber(topic, "other", null, true);
            producer.send(session.createTextMessage("own"));
            assertNull(noLocal.receive(100));
        }
        try (Connection connection = gateway.connect(gateway.tcp(), "client-" + topicName)) {
            connection.createSession().unsubscribe("other");
        }
    }

    @Test
    void consumersShareASubscription() throws Exception {
        try (Connection connection = gateway.connect(gateway.tcp())) {
            Session session = connection.createSession();
            Topic topic = session.createTopic(unique());
            String name = "shared-" + topic.getTopicName().replace('.', '-');
            List<MessageConsumer> durable = List.of(session.createSharedDurableConsumer(topic, name), session.createSharedDurableConsumer(topic, name));
            List<MessageConsumer> other = List.of(session.createSharedConsumer(topic, "v" + name), session.createSharedConsumer(topic, "v" + name));
            MessageProducer producer = session.createProducer(topic);
            for (int index = 0; index < 20; index++) {
                producer.send(session.createTextMessage("m" + index));
            }
            for (List<MessageConsumer> consumers : List.of(durable, other)) {
                List<String> got = new ArrayList<>();
                for (MessageConsumer consumer : consumers) {
                    for (Message message; (message = consumer.receive(200)) != null; ) {
                        got.add(text(message));
                    }
                }
                assertEquals(20, got.size());
            }
            for (MessageConsumer consumer : durable) {
                consumer.close();
            }
            session.unsubscribe(name);
        }
    }

    @Test
    void aBrowserShowsWhatIsInAQueue() throws Exception {
        try (Connection connection = gateway.connect(gateway.tcp())) {
            Session session = connection.createSession();
            Queue queue = session.createQueue(unique());
            MessageProducer producer = session.createProducer(queue);
            for (int index = 0; index < 1500; index++) {
                producer.send(session.createTextMessage("m" + index), DeliveryMode.NON_PERSISTENT, 4, 0);
            }
            List<?> seen = Collections.list(session.createBrowser(queue).getEnumeration());
            assertEquals(1500, seen.size());
            assertEquals("m1499", text((Message) seen.get(1499)));
            assertFalse(session.createBrowser(session.createQueue(unique())).getEnumeration().hasMoreElements());
            assertEquals("m0", text(session.createConsumer(queue).receive(SOON)));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "ws"})
    void requestsAreRepliedToInTemporaryQueues(String transport) throws Exception {
        try (Connection server = gateway.connect(uri(transport)); Connection client = gateway.connect(uri(transport))) {
            Session serving = server.createSession();
            Queue requests = serving.createQueue(unique());
            MessageProducer replier = serving.createProducer(null);
            serving.createConsumer(requests).setMessageListener(request -> {
                try {
                    Message reply = serving.createTextMessage("re: " + text(request));
                    reply.setJMSCorrelationID(request.getJMSMessageID());
                    replier.send(request.getJMSReplyTo(), reply);
                } catch (JMSException error) {
                    throw new IllegalStateException(error);
                }
            });
            Session session = client.createSession();
            MessageProducer producer = session.createProducer(requests);
            // One for each request, more than may be there at a time.
            for (int index = 0; index < 120; index++) {
                TemporaryQueue replies = session.createTemporaryQueue();
                MessageConsumer consumer = session.createConsumer(replies);
                Message request = session.createTextMessage("q" + index);
                request.setJMSReplyTo(replies);
                producer.send(request);
                Message reply = consumer.receive(SOON);
                assertEquals("re: q" + index, text(reply));
                assertEquals(request.getJMSMessageID(), reply.getJMSCorrelationID());
                consumer.close();
                replies.delete();
            }
        }
    }

    @Test
    void aSelectorChoosesByHeadersAndProperties() throws Exception {
        try (Connection connection = gateway.connect(gateway.tcp())) {
            Session session = connection.createSession();
            Queue queue = session.createQueue(unique());
            MessageProducer producer = session.createProducer(queue);
            Message message = session.createTextMessage("chosen");
            message.setIntProperty("size", 3);
            message.setJMSType("kind");
            message.setJMSCorrelationID("c");
            producer.send(session.createTextMessage("other"));
            producer.send(message, DeliveryMode.PERSISTENT, 7, 0);
            String selector = "size BETWEEN 2 AND 4 AND JMSType = 'kind' AND JMSCorrelationID = 'c' AND JMSPriority > 4"
                + " AND JMSDeliveryMode = 'PERSISTENT' AND JMSMessageID = '" + message.getJMSMessageID() + "'";
            assertEquals("chosen", text(session.createConsumer(queue, selector).receive(SOON)));
            assertThrows(JMSException.class, () -> session.createConsumer(queue, "size = "));
        }
    }

    @Test
    void aMessageIsDeliveredLaterAndNotAfterItsTime() throws Exception {
        try (Connection connection = gateway.connect(gateway.tcp())) {
            Session session = connection.createSession();
            Queue queue = session.createQueue(unique());
            MessageProducer producer = session.createProducer(queue);
            MessageConsumer consumer = session.createConsumer(queue);
            producer.setDeliveryDelay(600);
            producer.send(session.createTextMessage("later"));
            assertNull(consumer.receive(200));
            assertEquals("later", text(consumer.receive(SOON)));
            consumer.close();
            producer.setDeliveryDelay(0);
            producer.setTimeToLive(100);
            producer.send(session.createTextMessage("too late"));
            Thread.sleep(300);
            assertNull(session.createConsumer(queue).receive(100));
        }
    }

    @Test
    void aClientIdIsOneConnections() throws Exception {
        String id = unique();
        try (Connection connection = gateway.connect(gateway.tcp(), id)) {
            assertNotNull(connection);
            assertThrows(InvalidClientIDException.class, () -> gateway.connect(gateway.tcp(), id));
        }
        gateway.connect(gateway.tcp(), id).close();
    }

    /** The verifier is one of the password `secret`. */
    @Test
    void aUserLogsInByTheStrongestMechanismThatIsOffered() throws Exception {
        String verifier = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$Ce3wZiZ+yIBCjltccfRiqM0+XDsLE3qPdkEeZKe3hus=:k3q4nlLsA09ST5FLo9zNmfyXR+Ci1J4KmBK5JRVSxeI=";
        try (Gateway own = Gateway.start("[[user]]\nname = \"ann\"\npassword = { scram-sha-256 = \"" + verifier + "\" }\n")) {
            for (String mechanism : List.of("", "?amqp.saslMechanisms=SCRAM-SHA-256")) {
                JmsConnectionFactory factory = new JmsConnectionFactory(own.tcp() + mechanism);
                try (Connection connection = factory.createConnection("ann", "secret")) {
                    connection.start();
                }
                assertThrows(JMSSecurityException.class, () -> factory.createConnection("ann", "wrong").start());
            }
        }
    }

    @Test
    void whatWasConfirmedIsThereAfterACrash() throws Exception {
        try (Gateway own = Gateway.start()) {
            String topicName = unique();
            try (Connection connection = own.connect(own.tcp(), "c")) {
                Session session = connection.createSession();
                Topic topic = session.createTopic(topicName);
                session.createDurableSubscriber(topic, "sub").close();
                MessageProducer producer = session.createProducer(session.createQueue("q"));
                for (int index = 0; index < 20; index++) {
                    producer.send(session.createTextMessage("m" + index));
                }
                session.createProducer(topic).send(session.createTextMessage("kept"));
                MessageConsumer consumer = session.createConsumer(session.createQueue("q"));
                assertEquals("m0", text(consumer.receive(SOON)));
                // What acknowledges is confirmed by what comes behind it.
                producer.send(session.createTextMessage("m20"));
                consumer.close();
                Session transacted = connection.createSession(Session.SESSION_TRANSACTED);
                transacted.createProducer(transacted.createQueue("q")).send(transacted.createTextMessage("m21"));
                transacted.commit();
                transacted.createProducer(transacted.createQueue("q")).send(transacted.createTextMessage("not committed"));
                own.crash();
            }
            try (Connection connection = own.connect(own.tcp(), "c")) {
                Session session = connection.createSession();
                MessageConsumer consumer = session.createConsumer(session.createQueue("q"));
                for (int index = 1; index <= 21; index++) {
                    assertEquals("m" + index, text(consumer.receive(SOON)));
                }
                assertNull(consumer.receive(100));
                assertEquals("kept", text(session.createDurableSubscriber(session.createTopic(topicName), "sub").receive(SOON)));
            }
        }
    }

    @Test
    void whatAConfirmedCommitSaysIsSoOverACrash() throws Exception {
        try (Gateway own = Gateway.start()) {
            String uri = "failover:(" + own.tcp() + ")?failover.reconnectDelay=20&failover.maxReconnectAttempts=500";
            List<String> confirmed = Collections.synchronizedList(new ArrayList<>());
            List<String> acknowledged = Collections.synchronizedList(new ArrayList<>());
            AtomicBoolean isOver = new AtomicBoolean();
            Thread producing = new Thread(() -> {
                try (Connection connection = own.connect(uri)) {
                    Session session = connection.createSession(Session.SESSION_TRANSACTED);
                    MessageProducer producer = session.createProducer(session.createQueue("q"));
                    for (int batch = 0; !isOver.get(); batch++) {
                        List<String> sent = new ArrayList<>();
                        try {
                            for (int index = 0; index < 5; index++) {
                                sent.add(batch + "." + index);
                                producer.send(session.createTextMessage(batch + "." + index));
                            }
                            session.commit();
                            confirmed.addAll(sent);
                        } catch (TransactionRolledBackException | JmsTransactionInDoubtException unknown) {
                            // Neither is claimed.
                        }
                    }
                } catch (JMSException error) {
                    throw new IllegalStateException(error);
                }
            });
            Thread consuming = new Thread(() -> {
                try (Connection connection = own.connect(uri)) {
                    Session session = connection.createSession(Session.SESSION_TRANSACTED);
                    MessageConsumer consumer = session.createConsumer(session.createQueue("q"));
                    for (Message message; (message = consumer.receive(isOver.get() ? 1500 : SOON)) != null; ) {
                        try {
                            String body = text(message);
                            session.commit();
                            acknowledged.add(body);
                        } catch (TransactionRolledBackException | JmsTransactionInDoubtException unknown) {
                            // It may come again.
                        }
                    }
                } catch (JMSException error) {
                    throw new IllegalStateException(error);
                }
            });
            producing.start();
            consuming.start();
            for (int times = 0; times < 3; times++) {
                Thread.sleep(700);
                own.crash();
            }
            Thread.sleep(700);
            isOver.set(true);
            producing.join();
            consuming.join();
            assertTrue(confirmed.size() > 20 && acknowledged.size() > 20, confirmed.size() + " and " + acknowledged.size());
            Set<String> seen = new HashSet<>(acknowledged);
            assertEquals(acknowledged.size(), seen.size(), "what was acknowledged in a confirmed commit came again");
            // Of a commit that is in doubt the message is gone without having been counted: one for each crash.
            List<String> lost = new ArrayList<>(confirmed);
            lost.removeAll(seen);
            assertTrue(lost.size() <= 3, "lost: " + lost);
        }
    }

    @Test
    void onlyWhoMayReceivesOrSends() throws Exception {
        String rules = """
            [[access]]
            destination = "/queue/private.>"
            subscribe = []
            send = []

            [[access]]
            destination = "/queue/>"
            subscribe = ["*"]
            send = ["*"]
            """;
        try (Gateway own = Gateway.start(rules); Connection connection = own.connect(own.tcp())) {
            Session session = connection.createSession();
            Queue queue = session.createQueue("private.a");
            assertThrows(JMSSecurityException.class, () -> session.createConsumer(queue));
            MessageProducer producer = session.createProducer(queue);
            assertThrows(JMSSecurityException.class, () -> producer.send(session.createTextMessage("x")));
            session.createProducer(session.createQueue("open")).send(session.createTextMessage("x"));
        }
    }

    @Test
    void aConsumerMayLeaveOutWhatItsConnectionPublishes() throws Exception {
        try (Connection connection = gateway.connect(gateway.tcp()); Connection other = gateway.connect(gateway.tcp())) {
            Session session = connection.createSession();
            Topic topic = session.createTopic(unique());
            MessageConsumer consumer = session.createConsumer(topic, null, true);
            session.createProducer(topic).send(session.createTextMessage("own"));
            Session others = other.createSession();
            others.createProducer(topic).send(others.createTextMessage("another's"));
            assertEquals("another's", text(consumer.receive(SOON)));
            assertNull(consumer.receive(100));
        }
    }

    @Test
    void aGroupStaysWithOneConsumer() throws Exception {
        try (Connection connection = gateway.connect(gateway.tcp() + "?jms.prefetchPolicy.all=1")) {
            Session session = connection.createSession();
            Queue queue = session.createQueue(unique());
            List<MessageConsumer> consumers = List.of(session.createConsumer(queue), session.createConsumer(queue));
            MessageProducer producer = session.createProducer(queue);
            for (int index = 0; index < 40; index++) {
                Message message = session.createTextMessage("m" + index);
                message.setStringProperty("JMSXGroupID", "g" + index % 2);
                producer.send(message);
            }
            Map<String, Set<MessageConsumer>> readers = new HashMap<>();
            int count = 0;
            for (long until = System.nanoTime() + 5_000_000_000L; count < 40 && System.nanoTime() < until; ) {
                for (MessageConsumer consumer : consumers) {
                    Message message = consumer.receive(20);
                    if (message != null) {
                        count++;
                        readers.computeIfAbsent(message.getStringProperty("JMSXGroupID"), any -> new HashSet<>()).add(consumer);
                    }
                }
            }
            assertEquals(40, count);
            readers.forEach((group, of) -> assertEquals(1, of.size(), group));
        }
    }

    @Test
    void failoverGoesOnWhereTheGatewayIsStartedAgain() throws Exception {
        try (Gateway own = Gateway.start()) {
            String uri = "failover:(" + own.tcp() + ")?failover.reconnectDelay=50&failover.maxReconnectAttempts=200";
            try (Connection connection = own.connect(uri)) {
                Session session = connection.createSession();
                Queue queue = session.createQueue("q");
                MessageProducer producer = session.createProducer(queue);
                MessageConsumer consumer = session.createConsumer(queue);
                producer.send(session.createTextMessage("before"));
                assertEquals("before", text(consumer.receive(SOON)));
                own.crash();
                producer.send(session.createTextMessage("after"));
                // That the first was acknowledged was not confirmed: it may come again.
                String got = text(consumer.receive(20_000));
                assertEquals("after", got.equals("before") ? text(consumer.receive(SOON)) : got);
            }
        }
    }

    /** Also where the application has not heard of the refusal, since sends in a transaction wait for no answer. */
    @ParameterizedTest
    @ValueSource(strings = {"too large", "forbidden", "too much"})
    void aCommitOfWhatIsNotTakenRollsBack(String why) throws Exception {
        try (Gateway gateway = Gateway.start(); Connection connection = gateway.connect(gateway.tcp())) {
            Session plain = connection.createSession();
            Session session = connection.createSession(Session.SESSION_TRANSACTED);
            Queue orders = plain.createQueue("orders");
            Queue bills = plain.createQueue("bills");
            plain.createProducer(orders).send(plain.createTextMessage("order"));
            MessageConsumer consumer = session.createConsumer(orders);
            assertEquals("order", ((TextMessage) consumer.receive(5000)).getText());
            session.createProducer(bills).send(session.createTextMessage("first"));
            MessageProducer producer = session.createProducer("forbidden".equals(why) ? session.createQueue("DLQ.orders") : bills);
            int size = "too large".equals(why) ? 3_000_000 : 900_000;
            for (int count = 0; count < ("too much".equals(why) ? 6 : 1); count++) {
                BytesMessage message = session.createBytesMessage();
                message.writeBytes(new byte[size]);
                producer.send(message);
            }
            assertThrows(TransactionRolledBackException.class, session::commit);
            assertEquals("order", ((TextMessage) consumer.receive(5000)).getText(), "it was not processed");
            session.commit();
            assertNull(plain.createConsumer(bills).receiveNoWait());
        }
    }
}
