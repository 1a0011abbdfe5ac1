package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import jakarta.jms.Connection;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What must be so over each transport: TCP, TLS and WebSocket. */
class TransportsTest extends Client {
    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void aThousandMessages(String transport) throws Exception {
        Session session = connectTo(provider.uri(transport)).createSession();
        Queue queue = queue(session);
        send(session, queue, numbered(1_000));
        expect(session.createConsumer(queue), numbered(1_000));
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void topicsBetweenTransports(String transport) throws Exception {
        Session session = connectTo(provider.uri(transport)).createSession();
        Topic topic = topic(session);
        MessageConsumer tcp = session().createConsumer(topic);
        MessageConsumer same = session.createConsumer(topic);
        send(session, topic, "a");
        send(session(), topic, "b");
        expect(tcp, "a", "b");
        expect(same, "a", "b");
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void transactions(String transport) throws Exception {
        Session session = connectTo(provider.uri(transport)).createSession(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        send(session, queue, "dropped");
        session.rollback();
        send(session, queue, "kept");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "kept");
        session.rollback();
        expect(consumer, "kept");
        session.commit();
        assertNull(consumer.receiveNoWait());
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void acknowledgementAndRecovery(String transport) throws Exception {
        Session session = connectTo(provider.uri(transport)).createSession(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, "a", "b");
        MessageConsumer consumer = session.createConsumer(queue);
        next(consumer).acknowledge();
        assertEquals("b", nextText(consumer));
        session.recover();
        Message again = next(consumer);
        assertEquals("b", text(again));
        assertTrue(again.getJMSRedelivered());
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void requestsAndReplies(String transport) throws Exception {
        Session server = session();
        Queue service = queue(server);
        MessageProducer answers = server.createProducer(null);
        server.createConsumer(service).setMessageListener(request -> {
            try {
                answers.send(request.getJMSReplyTo(), server.createTextMessage("re: " + text(request)));
            } catch (jakarta.jms.JMSException error) {
                throw new AssertionError(error);
            }
        });
        Session client = connectTo(provider.uri(transport)).createSession();
        TemporaryQueue replies = client.createTemporaryQueue();
        MessageConsumer consumer = client.createConsumer(replies);
        for (int index = 0; index < 10; index++) {
            TextMessage request = client.createTextMessage("r" + index);
            request.setJMSReplyTo(replies);
            send(client, service, request);
            assertEquals("re: r" + index, nextText(consumer));
        }
    }

    private static void send(Session session, Queue queue, Message message) throws Exception {
        try (MessageProducer producer = session.createProducer(queue)) {
            producer.send(message);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void durableSubscriptions(String transport) throws Exception {
        String client = unique("client");
        Connection first = keep(provider.connect(provider.uri(transport)));
        first.setClientID(client);
        Session session = first.createSession();
        Topic topic = topic(session);
        session.createDurableConsumer(topic, "over-transports");
        first.close();
        send(session(), topic, "x");
        Session again = connectAs(client).createSession();
        MessageConsumer consumer = again.createDurableConsumer(topic, "over-transports");
        expect(consumer, "x");
        consumer.close();
        again.unsubscribe("over-transports");
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void listenersWhileOthersSend(String transport) throws Exception {
        Connection connection = connectTo(provider.uri(transport));
        Session session = connection.createSession();
        Queue queue = queue(session);
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        session.createConsumer(queue).setMessageListener(message -> {
            try {
                heard.add(text(message));
            } catch (jakarta.jms.JMSException error) {
                throw new AssertionError(error);
            }
        });
        send(connection.createSession(), queue, numbered(100));
        for (String text : numbered(100)) {
            assertEquals(text, heard.poll(SOON, TimeUnit.MILLISECONDS));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void emptyQueuesAnswerAndAnIdleConnectionIsKept(String transport) throws Exception {
        Connection connection = connectTo(Provider.with(provider.uri(transport), "amqp.idleTimeout=3000"));
        Session session = connection.createSession();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        assertNull(consumer.receiveNoWait());
        assertNull(consumer.receive(5_000));
        send(session, queue, "x");
        expect(consumer, "x");
        assertEquals(List.of(), drain(consumer));
    }

    @ParameterizedTest
    @ValueSource(strings = {"amqps"})
    void aCertificateThatIsNotTrusted(String scheme) {
        String uri = provider.tls.replace("amqps", scheme);
        assertThrows(jakarta.jms.JMSException.class,
            () -> new JmsConnectionFactory(provider.user, provider.password, uri).createConnection().start());
    }
}
