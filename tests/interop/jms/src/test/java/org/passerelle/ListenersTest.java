package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import jakarta.jms.CompletionListener;
import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;

/** Message listeners, and sending without waiting (Jakarta Messaging 3.1, sections 8.7 and 7.3). */
class ListenersTest extends Client {
    private static final class Heard {
        final BlockingQueue<String> texts = new LinkedBlockingQueue<>();

        void hear(Message message) {
            try {
                texts.add(text(message));
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        }

        void expect(String... expected) throws InterruptedException {
            for (String text : expected) {
                assertEquals(text, texts.poll(SOON, TimeUnit.MILLISECONDS));
            }
        }

        void nothing() throws InterruptedException {
            assertNull(texts.poll(QUIET, TimeUnit.MILLISECONDS));
        }
    }

    /** Counts what was sent, in the order in which it is told. */
    private static final class Completions implements CompletionListener {
        final List<String> told = new ArrayList<>();
        final BlockingQueue<Exception> failures = new LinkedBlockingQueue<>();
        private final CountDownLatch all;

        Completions(int count) {
            all = new CountDownLatch(count);
        }

        @Override
        public synchronized void onCompletion(Message message) {
            try {
                told.add(text(message));
            } catch (JMSException error) {
                failures.add(error);
            }
            all.countDown();
        }

        @Override
        public void onException(Message message, Exception exception) {
            failures.add(exception);
            all.countDown();
        }

        void await() throws InterruptedException {
            assertTrue(all.await(SOON, TimeUnit.MILLISECONDS), () -> all.getCount() + " were not told");
        }
    }

    @Test
    void aListenerHearsAllInOrder() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        Heard heard = new Heard();
        session.createConsumer(queue).setMessageListener(heard::hear);
        send(session(), queue, numbered(200));
        heard.expect(numbered(200));
        heard.nothing();
    }

    @Test
    void aListenerHearsWhatWasThereBefore() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        send(session, queue, "a", "b");
        Heard heard = new Heard();
        session.createConsumer(queue).setMessageListener(heard::hear);
        heard.expect("a", "b");
    }

    @Test
    void listenersOfASessionAreCalledOneByOne() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        Queue one = queue(session);
        Queue other = queue(session);
        List<String> overlaps = new ArrayList<>();
        BlockingQueue<String> done = new LinkedBlockingQueue<>();
        Object[] inside = new Object[1];
        for (Queue queue : List.of(one, other)) {
            session.createConsumer(queue).setMessageListener(message -> {
                if (inside[0] != null) {
                    overlaps.add(message.toString());
                }
                inside[0] = message;
                try {
                    Thread.sleep(5);
                } catch (InterruptedException error) {
                    Thread.currentThread().interrupt();
                }
                inside[0] = null;
                done.add("done");
            });
        }
        Session sender = session();
        send(sender, one, numbered(20));
        send(sender, other, numbered(20));
        for (int count = 0; count < 40; count++) {
            assertNotNull(done.poll(SOON, TimeUnit.MILLISECONDS));
        }
        assertEquals(List.of(), overlaps);
    }

    @Test
    void aListenerOfATransactedSessionCommits() throws Exception {
        Session session = session(Session.SESSION_TRANSACTED);
        Queue from = queue(session);
        Queue to = queue(session);
        MessageProducer producer = session.createProducer(to);
        session.createConsumer(from).setMessageListener(message -> {
            try {
                producer.send(session.createTextMessage("re: " + text(message)));
                if (text(message).equals("m1") && !message.getJMSRedelivered()) {
                    session.rollback();
                } else {
                    session.commit();
                }
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
        Session reader = session();
        send(reader, from, numbered(3));
        MessageConsumer consumer = reader.createConsumer(to);
        // What was rolled back may come after what was on its way then.
        assertEquals(Set.of("re: m0", "re: m1", "re: m2"), Set.copyOf(texts(consumer, 3)));
        nothing(consumer);
    }

    @Test
    void aListenerOfATopicThatThrowsIsCalledAgain() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        List<String> heard = new CopyOnWriteArrayList<>();
        CountDownLatch isAgain = new CountDownLatch(3);
        session.createConsumer(topic).setMessageListener(message -> {
            try {
                heard.add(text(message));
                isAgain.countDown();
                if (heard.size() == 1) {
                    throw new IllegalStateException("the listener fails on purpose");
                }
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
        send(session(), topic, "x", "y");
        assertTrue(isAgain.await(SOON, TimeUnit.MILLISECONDS));
        Thread.sleep(QUIET);
        assertEquals(List.of("x", "x", "y"), heard.stream().sorted().toList());
    }

    @Test
    void aSlowListenerOfATemporaryTopicHearsAll() throws Exception {
        Session session = session();
        Topic topic = session.createTemporaryTopic();
        Heard heard = new Heard();
        CountDownLatch isSent = new CountDownLatch(1);
        session.createConsumer(topic).setMessageListener(message -> {
            try {
                assertTrue(isSent.await(SOON, TimeUnit.MILLISECONDS));
            } catch (InterruptedException error) {
                throw new AssertionError(error);
            }
            heard.hear(message);
        });
        send(session(), topic, numbered(5000));
        isSent.countDown();
        heard.expect(numbered(5000));
        heard.nothing();
    }

    @Test
    void aListenerAcknowledges() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        session.createConsumer(queue).setMessageListener(message -> {
            try {
                if (text(message).equals("m4")) {
                    message.acknowledge();
                }
                heard.add(text(message));
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
        Session other = session();
        send(other, queue, numbered(7));
        for (String text : numbered(7)) {
            assertEquals(text, heard.poll(SOON, TimeUnit.MILLISECONDS));
        }
        connection.close();
        assertEquals(List.of("m5", "m6"), drain(other.createConsumer(queue)));
    }

    @Test
    void receivingBesideAListenerIsAnError() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        Heard heard = new Heard();
        consumer.setMessageListener(heard::hear);
        assertThrows(jakarta.jms.IllegalStateException.class, () -> consumer.receive(10));
        send(session(), queue, "x");
        heard.expect("x");
    }

    @Test
    void aListenerTakenAwayLeavesTheRestToReceive() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        Heard heard = new Heard();
        consumer.setMessageListener(heard::hear);
        Session sender = session();
        send(sender, queue, "for the listener");
        heard.expect("for the listener");
        consumer.setMessageListener(null);
        send(sender, queue, "for receive");
        expect(consumer, "for receive");
        heard.nothing();
    }

    @Test
    void aListenerMayCloseItsConsumer() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        Heard heard = new Heard();
        consumer.setMessageListener(message -> {
            heard.hear(message);
            try {
                consumer.close();
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
        Session other = session();
        send(other, queue, "x", "y");
        heard.expect("x");
        heard.nothing();
        expect(other.createConsumer(queue), "y");
    }

    @Test
    void listenersOfManySessionsShareAQueue() throws Exception {
        Connection connection = connectWith("jms.prefetchPolicy.all=5");
        Queue queue = queue(connection.createSession());
        BlockingQueue<String> all = new LinkedBlockingQueue<>();
        List<Heard> each = new ArrayList<>();
        for (int index = 0; index < 4; index++) {
            Heard heard = new Heard();
            each.add(heard);
            connection.createSession().createConsumer(queue).setMessageListener(message -> {
                heard.hear(message);
                all.add("one");
            });
        }
        send(session(), queue, numbered(80));
        for (int count = 0; count < 80; count++) {
            assertNotNull(all.poll(SOON, TimeUnit.MILLISECONDS));
        }
        assertEquals(80, each.stream().flatMap(heard -> heard.texts.stream()).distinct().count());
        assertTrue(each.stream().noneMatch(heard -> heard.texts.isEmpty()));
    }

    @Test
    void whatIsSentWithoutWaitingCompletesInOrder() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        Completions completions = new Completions(200);
        for (String text : numbered(200)) {
            producer.send(session.createTextMessage(text), completions);
        }
        completions.await();
        assertEquals(List.of(numbered(200)), completions.told);
        expect(session.createConsumer(queue), numbered(200));
    }

    @Test
    void nonPersistentOnesCompleteToo() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(null);
        Completions completions = new Completions(50);
        for (String text : numbered(50)) {
            producer.send(topic, session.createTextMessage(text), DeliveryMode.NON_PERSISTENT, 4, 0, completions);
        }
        completions.await();
        assertEquals(List.of(numbered(50)), completions.told);
        expect(consumer, numbered(50));
    }

    @Test
    void inATransactionTheyCompleteBeforeTheCommitReturns() throws Exception {
        Session session = session(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        Completions completions = new Completions(30);
        for (String text : numbered(30)) {
            producer.send(session.createTextMessage(text), completions);
        }
        session.commit();
        completions.await();
        assertEquals(List.of(numbered(30)), completions.told);
        expect(session().createConsumer(queue), numbered(30));
    }

    @Test
    void closingWaitsForWhatIsNotComplete() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        Completions completions = new Completions(100);
        for (String text : numbered(100)) {
            producer.send(session.createTextMessage(text), completions);
        }
        session.close();
        assertEquals(100, completions.told.size());
        assertTrue(completions.failures.isEmpty());
    }

    @Test
    void aFailureIsToldToTheListener() throws Exception {
        Connection owner = connect();
        Queue temporary = owner.createSession().createTemporaryQueue();
        Session session = session();
        MessageProducer producer = session.createProducer(temporary);
        producer.send(session.createTextMessage("while it is there"));
        owner.close();
        for (int count = 0; count < 50; count++) {
            Completions completions = new Completions(1);
            try {
                producer.send(session.createTextMessage("x"), completions);
            } catch (JMSException gone) {
                return;
            }
            completions.await();
            if (!completions.failures.isEmpty()) {
                return;
            }
            Thread.sleep(50);
        }
        throw new AssertionError("nobody was told that the queue is gone");
    }
}
