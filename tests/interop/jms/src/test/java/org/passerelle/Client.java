package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;

import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/** What every case has: connections to the provider, which end with it, and names that no other case uses. */
@Execution(ExecutionMode.CONCURRENT)
@ExtendWith(Differences.class)
@Timeout(60)
abstract class Client {
    /** How long what must come may take. */
    static final long SOON = 15_000;
    /** How long one waits for what must not come. */
    static final long QUIET = 250;

    private static final String RUN = UUID.randomUUID().toString().substring(0, 8);
    private static final AtomicInteger NAMES = new AtomicInteger();

    final Provider provider = Provider.get();
    private final Deque<Connection> connections = new ArrayDeque<>();

    @AfterEach
    void closeAll() throws JMSException {
        while (!connections.isEmpty()) {
            connections.pop().close();
        }
    }

    static String unique(String what) {
        return what + "." + RUN + "." + NAMES.incrementAndGet();
    }

    /** Closes it with the case. */
    synchronized Connection keep(Connection connection) {
        connections.push(connection);
        return connection;
    }

    /** A connection that was started. */
    Connection connect() throws JMSException {
        return connectTo(provider.uri());
    }

    Connection connectTo(String uri) throws JMSException {
        Connection connection = keep(provider.connect(uri));
        connection.start();
        return connection;
    }

    /** One with options of Qpid JMS. */
    Connection connectWith(String options) throws JMSException {
        return connectTo(Provider.with(provider.uri(), options));
    }

    Connection connectAs(String clientId) throws JMSException {
        Connection connection = keep(provider.connect(provider.uri()));
        connection.setClientID(clientId);
        connection.start();
        return connection;
    }

    JmsConnectionFactory factory() {
        return provider.factory(provider.uri());
    }

    Session session() throws JMSException {
        return connect().createSession();
    }

    Session session(int mode) throws JMSException {
        return connect().createSession(mode);
    }

    static Queue queue(Session session) throws JMSException {
        return session.createQueue(unique("queue"));
    }

    static Topic topic(Session session) throws JMSException {
        return session.createTopic(unique("topic"));
    }

    static void send(Session session, jakarta.jms.Destination to, String... texts) throws JMSException {
        try (MessageProducer producer = session.createProducer(to)) {
            for (String text : texts) {
                producer.send(session.createTextMessage(text));
            }
        }
    }

    /** The next message, which must come. */
    static Message next(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(SOON);
        assertNotNull(message, "no message came");
        return message;
    }

    static String nextText(MessageConsumer consumer) throws JMSException {
        return text(next(consumer));
    }

    static String text(Message message) throws JMSException {
        return assertInstanceOf(TextMessage.class, message).getText();
    }

    static void expect(MessageConsumer consumer, String... texts) throws JMSException {
        for (String text : texts) {
            assertEquals(text, nextText(consumer));
        }
    }

    static List<String> texts(MessageConsumer consumer, int count) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (int index = 0; index < count; index++) {
            texts.add(nextText(consumer));
        }
        return texts;
    }

    /** Nothing comes, and nothing is there. */
    static void nothing(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(QUIET);
        assertNull(message, () -> "there is a message: " + message);
    }

    /** What a queue has now, taken from it. */
    static List<String> drain(MessageConsumer consumer) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (Message message; (message = consumer.receiveNoWait()) != null; ) {
            texts.add(text(message));
        }
        return texts;
    }

    /** Sends it and takes it again. */
    static Message roundTrip(Session session, Message message) throws JMSException {
        Queue queue = queue(session);
        try (MessageProducer producer = session.createProducer(queue);
            MessageConsumer consumer = session.createConsumer(queue)) {
            producer.send(message);
            return next(consumer);
        }
    }

    static String[] numbered(int count) {
        return numbered("m", count);
    }

    static String[] numbered(String prefix, int count) {
        String[] texts = new String[count];
        for (int index = 0; index < count; index++) {
            texts[index] = prefix + index;
        }
        return texts;
    }
}
