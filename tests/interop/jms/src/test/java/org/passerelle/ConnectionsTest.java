package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import javax.naming.Context;
import javax.naming.InitialContext;

import jakarta.jms.Connection;
import jakarta.jms.ConnectionFactory;
import jakarta.jms.Destination;
import jakarta.jms.IllegalStateException;
import jakarta.jms.InvalidClientIDException;
import jakarta.jms.JMSException;
import jakarta.jms.JMSSecurityException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.Topic;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Connections: log-in, client ids, start and stop, closing, JNDI (Jakarta Messaging 3.1, section 6.1). */
class ConnectionsTest extends Client {
    @Test
    void plain() throws Exception {
        Connection connection = keep(new JmsConnectionFactory(
            provider.user, provider.password, Provider.with(provider.tcp, "amqp.saslMechanisms=PLAIN")).createConnection());
        connection.start();
        Session session = connection.createSession();
        assertEquals("x", text(roundTrip(session, session.createTextMessage("x"))));
    }

    @Test
    void anonymous() throws Exception {
        Connection connection = keep(new JmsConnectionFactory(
            Provider.with(provider.tcp, "amqp.saslMechanisms=ANONYMOUS")).createConnection());
        connection.start();
        Session session = connection.createSession();
        assertEquals("x", text(roundTrip(session, session.createTextMessage("x"))));
    }

    @Test
    void withoutSasl() throws Exception {
        Connection connection = keep(new JmsConnectionFactory(Provider.with(provider.tcp, "amqp.saslLayer=false")).createConnection());
        connection.start();
        Session session = connection.createSession();
        assertEquals("x", text(roundTrip(session, session.createTextMessage("x"))));
    }

    @ParameterizedTest
    @ValueSource(strings = {"tcp", "tls", "ws"})
    void aWrongPassword(String transport) throws Exception {
        ConnectionFactory factory = new JmsConnectionFactory(provider.user, "wrong", provider.uri(transport));
        try (Connection connection = factory.createConnection()) {
            assertThrows(JMSSecurityException.class, connection::start);
        } catch (JMSSecurityException expected) {
            // Qpid JMS connects when a connection is made.
        }
        assertThrows(JMSSecurityException.class, () -> {
            try (Connection connection = factory.createConnection()) {
                connection.start();
            }
        });
    }

    @Test
    void anUnknownUser() {
        ConnectionFactory factory = new JmsConnectionFactory(unique("user"), "secret", provider.uri());
        assertThrows(JMSSecurityException.class, () -> {
            try (Connection connection = factory.createConnection()) {
                connection.start();
            }
        });
    }

    @Test
    void aClientIdIsOneConnections() throws Exception {
        String client = unique("client");
        Connection first = connectAs(client);
        assertThrows(InvalidClientIDException.class, () -> connectAs(client));
        // The first one goes on, and once it has ended another may have the name.
        Session session = first.createSession();
        assertEquals("x", text(roundTrip(session, session.createTextMessage("x"))));
        first.close();
        Connection again = connectAs(client);
        assertEquals(client, again.getClientID());
    }

    @Test
    void aClientIdIsSetBeforeAllElse() throws Exception {
        Connection connection = connect();
        connection.createSession();
        assertThrows(IllegalStateException.class, () -> connection.setClientID("late"));
    }

    @Test
    void aClientIdOfTheUri() throws Exception {
        String client = unique("client");
        Connection connection = connectWith("jms.clientID=" + client);
        assertEquals(client, connection.getClientID());
        assertThrows(InvalidClientIDException.class, () -> connectAs(client));
    }

    @Test
    void nothingComesBeforeTheStart() throws Exception {
        Connection connection = keep(provider.connect(provider.uri()));
        Session session = connection.createSession();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, queue, "x");
        assertNull(consumer.receive(QUIET));
        connection.start();
        expect(consumer, "x");
    }

    @Test
    void nothingComesWhileItIsStopped() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        send(session, queue, "a");
        expect(consumer, "a");
        for (String text : numbered(5)) {
            connection.stop();
            // Sending is not stopped.
            send(session, queue, text);
            assertNull(consumer.receive(50));
            connection.start();
            expect(consumer, text);
        }
    }

    @Test
    void aStoppedListenerHearsNothing() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        Queue queue = queue(session);
        var heard = new java.util.concurrent.LinkedBlockingQueue<Message>();
        session.createConsumer(queue).setMessageListener(heard::add);
        connection.stop();
        send(session(), queue, "x");
        assertNull(heard.poll(QUIET, TimeUnit.MILLISECONDS));
        connection.start();
        assertNotNull(heard.poll(SOON, TimeUnit.MILLISECONDS));
    }

    @Test
    void aClosedConnectionDoesNothingMore() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        MessageConsumer consumer = session.createConsumer(queue(session));
        connection.close();
        connection.close();
        assertThrows(IllegalStateException.class, connection::createSession);
        assertThrows(IllegalStateException.class, connection::start);
        assertThrows(IllegalStateException.class, () -> session.createTextMessage("x"));
        assertThrows(IllegalStateException.class, consumer::receive);
    }

    @Test
    void closingEndsAReceiveThatWaits() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        MessageConsumer consumer = session.createConsumer(queue(session));
        CountDownLatch ended = new CountDownLatch(1);
        Thread waiting = new Thread(() -> {
            try {
                if (consumer.receive() == null) {
                    ended.countDown();
                }
            } catch (JMSException error) {
                ended.countDown();
            }
        });
        waiting.start();
        Thread.sleep(100);
        connection.close();
        assertTrue(ended.await(SOON, TimeUnit.MILLISECONDS));
    }

    @Test
    void aClosedProducerSendsNothing() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.send(session.createTextMessage("x"));
        producer.close();
        producer.close();
        assertThrows(IllegalStateException.class, () -> producer.send(session.createTextMessage("y")));
        assertEquals(java.util.List.of("x"), drain(session.createConsumer(queue)));
    }

    @Test
    void itSaysWhatItIs() throws Exception {
        Connection connection = connect();
        assertEquals(3, connection.getMetaData().getJMSMajorVersion());
        assertFalse(connection.getMetaData().getProviderVersion().isEmpty());
    }

    @Test
    void manyConnectionsAtOnce() throws Exception {
        Queue queue = queue(connect().createSession());
        for (int index = 0; index < 40; index++) {
            Session session = session();
            send(session, queue, "m" + index);
        }
        expect(session().createConsumer(queue), numbered(40));
    }

    @Test
    void connectionsComeAndGo() throws Exception {
        String client = unique("client");
        for (int index = 0; index < 20; index++) {
            try (Connection connection = provider.connect(provider.uri())) {
                connection.setClientID(client);
                connection.start();
                Session session = connection.createSession();
                assertEquals("m" + index, text(roundTrip(session, session.createTextMessage("m" + index))));
            }
        }
    }

    @Test
    void anIdleConnectionIsKept() throws Exception {
        Connection connection = connectWith("amqp.idleTimeout=2000");
        Session session = connection.createSession();
        CountDownLatch failed = new CountDownLatch(1);
        connection.setExceptionListener(error -> failed.countDown());
        assertFalse(failed.await(5, TimeUnit.SECONDS), "it ended");
        assertEquals("x", text(roundTrip(session, session.createTextMessage("x"))));
    }

    @ParameterizedTest
    @ValueSource(ints = {512, 1_024, 4_096})
    void smallFrames(int frame) throws Exception {
        Connection connection = connectWith("amqp.maxFrameSize=" + frame);
        Session session = connection.createSession();
        String text = "0123456789".repeat(5_000);
        assertEquals(text, text(roundTrip(session, session.createTextMessage(text))));
    }

    @Test
    void jndi() throws Exception {
        Properties environment = new Properties();
        String queue = unique("jndi");
        String topic = unique("jndi");
        environment.put(Context.INITIAL_CONTEXT_FACTORY, "org.apache.qpid.jms.jndi.JmsInitialContextFactory");
        environment.put("connectionfactory.provider", provider.uri());
        environment.put("property.connectionfactory.provider.username", provider.user);
        environment.put("property.connectionfactory.provider.password", provider.password);
        environment.put("queue.orders", queue);
        environment.put("topic.prices", topic);
        Context context = new InitialContext(environment);
        ConnectionFactory factory = (ConnectionFactory) context.lookup("provider");
        Connection connection = keep(factory.createConnection());
        connection.start();
        Session session = connection.createSession();
        Destination orders = (Destination) context.lookup("orders");
        Destination prices = (Destination) context.lookup("prices");
        MessageConsumer ofPrices = session.createConsumer(prices);
        send(session, orders, "order");
        send(session, prices, "price");
        expect(session().createConsumer(session.createQueue(queue)), "order");
        expect(ofPrices, "price");
        assertEquals(queue, ((Queue) context.lookup("dynamicQueues/" + queue)).getQueueName());
        assertEquals(topic, ((Topic) context.lookup("dynamicTopics/" + topic)).getTopicName());
    }
}
