package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.Topic;
import jakarta.jms.TransactionRolledBackException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.api.parallel.Isolated;

/** What is so after the provider was killed and started again; nothing else runs meanwhile. */
@Isolated
@Execution(ExecutionMode.SAME_THREAD)
@Timeout(90)
class RestartTest extends Client {
    @BeforeEach
    void thereIsACommand() {
        assumeTrue(provider.canCrash(), "no command starts the provider again");
    }

    private String failover() {
        return "failover:(" + provider.uri() + ")?failover.reconnectDelay=50&failover.maxReconnectDelay=500&failover.maxReconnectAttempts=200";
    }

    @Test
    void persistentMessagesAndDurableSubscriptionsAreThere() throws Exception {
        String client = unique("client");
        Session session = connectAs(client).createSession();
        Queue queue = queue(session);
        Topic topic = topic(session);
        session.createDurableConsumer(topic, "kept").close();
        send(session, queue, numbered(20));
        send(session, topic, numbered(5));
        provider.crash();
        Session again = connectAs(client).createSession();
        assertEquals(Set.of(numbered(20)), new HashSet<>(texts(again.createConsumer(queue), 20)));
        MessageConsumer consumer = again.createDurableConsumer(topic, "kept");
        assertEquals(Set.of(numbered(5)), new HashSet<>(texts(consumer, 5)));
        consumer.close();
        again.unsubscribe("kept");
    }

    @Test
    void committedIsThereAndTheRestIsNot() throws Exception {
        Session session = connect().createSession(Session.SESSION_TRANSACTED);
        Queue from = queue(session);
        Queue to = queue(session);
        send(session, from, "a", "b");
        session.commit();
        MessageConsumer consumer = session.createConsumer(from);
        expect(consumer, "a");
        send(session, to, "done a");
        session.commit();
        expect(consumer, "b");
        send(session, to, "done b");
        provider.crash();
        Session again = session();
        assertEquals(List.of("b"), drain(again.createConsumer(from)));
        assertEquals(List.of("done a"), drain(again.createConsumer(to)));
    }

    @Test
    void failoverGoesOn() throws Exception {
        Connection connection = connectTo(failover());
        Session session = connection.createSession();
        Queue queue = queue(session);
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        connection.createSession().createConsumer(queue).setMessageListener(message -> {
            try {
                heard.add(text(message));
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
        MessageProducer producer = session.createProducer(queue);
        Set<String> sent = new HashSet<>();
        Thread crash = new Thread(() -> {
            try {
                Thread.sleep(150);
                provider.crash();
            } catch (Exception error) {
                throw new AssertionError(error);
            }
        });
        crash.start();
        for (int index = 0; crash.isAlive() || index < 200; index++) {
            producer.send(session.createTextMessage("m" + index));
            sent.add("m" + index);
        }
        crash.join();
        producer.send(session.createTextMessage("last"));
        sent.add("last");
        Set<String> got = new HashSet<>();
        while (got.size() < sent.size()) {
            String text = heard.poll(SOON, TimeUnit.MILLISECONDS);
            assertTrue(text != null, () -> sent.size() - got.size() + " of what was confirmed is lost");
            got.add(text);
        }
        assertEquals(sent, got);
    }

    @Test
    void failoverRollsATransactionBack() throws Exception {
        Connection connection = connectTo(failover());
        Session session = connection.createSession(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.send(session.createTextMessage("in doubt"));
        provider.crash();
        boolean committed = true;
        try {
            producer.send(session.createTextMessage("after"));
            session.commit();
        } catch (TransactionRolledBackException expected) {
            committed = false;
        }
        assertEquals(false, committed);
        // The connection goes on, and with it what nobody doubts.
        Session anew = connection.createSession(Session.SESSION_TRANSACTED);
        send(anew, queue, "anew");
        anew.commit();
        assertEquals(List.of("anew"), drain(session().createConsumer(queue)));
    }
}
