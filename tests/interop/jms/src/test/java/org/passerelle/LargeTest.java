package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Random;

import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Messages of many frames come whole. */
class LargeTest extends Client {
    private static byte[] content(int length) {
        byte[] content = new byte[length];
        new Random(length).nextBytes(content);
        return content;
    }

    private static BytesMessage message(Session session, byte[] content) throws Exception {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(content);
        message.setStringProperty("kept", "yes");
        return message;
    }

    @ParameterizedTest
    @CsvSource({"tcp, 65536", "tcp, 1048576", "tcp, 5000000", "tcp, 20971520", "ws, 1048576", "ws, 20971520", "tls, 1048576", "tls, 20971520"})
    void bytes(String transport, int length) throws Exception {
        Session session = connectTo(provider.uri(transport)).createSession();
        byte[] content = content(length);
        Message back = roundTrip(session, message(session, content));
        assertArrayEquals(content, back.getBody(byte[].class));
        assertEquals("yes", back.getStringProperty("kept"));
    }

    /** In a gateway that allows 100 MiB; from its peer, in its queue and store, and to its peer. */
    @ParameterizedTest
    @ValueSource(ints = {DeliveryMode.NON_PERSISTENT, DeliveryMode.PERSISTENT})
    void oneIsHeldOnce(int mode) throws Exception {
        assumeTrue(System.getenv("PASSERELLE") != null, "the gateway's own memory");
        byte[] content = new byte[100_000_000];
        String limits = """
            [limits]
            message-bytes-max = "100MiB"
            queue-bytes-max = "128MiB"
            transaction-bytes-max = "104MiB"
            unsent-bytes-max = "104MiB"
            """;
        try (Gateway gateway = Gateway.start(limits); Connection connection = gateway.connect(gateway.tcp())) {
            Session session = connection.createSession();
            Queue queue = queue(session);
            MessageProducer producer = session.createProducer(queue);
            producer.setDeliveryMode(mode);
            producer.send(message(session, content));
            Message back = session.createConsumer(queue).receive(60_000);
            assertArrayEquals(content, back.getBody(byte[].class));
            long peak = gateway.peakMemory();
            assertTrue(peak < content.length * 3L / 2, "at most " + peak + " bytes");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "ws"})
    void text(String transport) throws Exception {
        Session session = connectTo(provider.uri(transport)).createSession();
        String text = "é中x".repeat(500_000);
        assertTrue(text.equals(text(roundTrip(session, session.createTextMessage(text)))));
    }

    @Test
    void toSubscribersWithFramesOfTheirOwn() throws Exception {
        Session small = connectWith("amqp.maxFrameSize=2048").createSession();
        Session usual = session();
        Topic topic = topic(small);
        MessageConsumer one = small.createConsumer(topic);
        MessageConsumer other = usual.createConsumer(topic);
        byte[] content = content(800_000);
        usual.createProducer(topic).send(message(usual, content));
        assertArrayEquals(content, next(one).getBody(byte[].class));
        assertArrayEquals(content, next(other).getBody(byte[].class));
    }

    @Test
    void smallOnesBetweenThem() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int index = 0; index < 20; index++) {
            producer.send(message(session, content(index % 2 == 0 ? 400_000 + index : index)));
        }
        MessageConsumer consumer = session.createConsumer(queue);
        for (int index = 0; index < 20; index++) {
            assertArrayEquals(content(index % 2 == 0 ? 400_000 + index : index), next(consumer).getBody(byte[].class));
        }
    }

    @Test
    void chosenBySelectorsAndDeliveredAgain() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        byte[] content = content(700_000);
        BytesMessage message = message(session, content);
        session.createProducer(queue).send(message);
        MessageConsumer consumer = session.createConsumer(queue, "kept = 'yes'");
        next(consumer);
        session.recover();
        Message again = next(consumer);
        assertTrue(again.getJMSRedelivered());
        assertArrayEquals(content, again.getBody(byte[].class));
        again.acknowledge();
    }

    @Test
    void sessionsSendThemAtTheSameTime() throws Exception {
        Connection connection = connect();
        Session reader = connection.createSession();
        Queue queue = queue(reader);
        Thread[] threads = new Thread[3];
        for (int index = 0; index < threads.length; index++) {
            Session session = connection.createSession();
            int length = 900_000 + index;
            threads[index] = new Thread(() -> {
                try {
                    MessageProducer producer = session.createProducer(queue);
                    for (int count = 0; count < 3; count++) {
                        producer.send(message(session, content(length)));
                    }
                } catch (Exception error) {
                    throw new AssertionError(error);
                }
            });
            threads[index].start();
        }
        MessageConsumer consumer = reader.createConsumer(queue);
        for (int count = 0; count < 9; count++) {
            byte[] content = next(consumer).getBody(byte[].class);
            assertArrayEquals(content(content.length), content);
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }
}
