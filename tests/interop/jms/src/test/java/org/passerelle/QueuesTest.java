package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.Destination;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Queues: order, competing consumers, prefetch, expiry, delay (Jakarta Messaging 3.1, chapters 4 and 7). */
class QueuesTest extends Client {
    @Test
    void whatOneSendsComesInOrder() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        send(session, queue, numbered(300));
        expect(session.createConsumer(queue), numbered(300));
    }

    @Test
    void aMessageGoesToOneConsumer() throws Exception {
        Session one = session();
        Session other = session();
        Queue queue = queue(one);
        MessageConsumer first = one.createConsumer(queue);
        MessageConsumer second = other.createConsumer(queue);
        send(one, queue, numbered(100));
        Set<String> seen = new HashSet<>();
        int count = 0;
        // Both are asked in turn, so what one has prefetched is found.
        for (int quiet = 0; quiet < 4; ) {
            Message message = (count + quiet) % 2 == 0 ? first.receive(QUIET) : second.receive(QUIET);
            if (message == null) {
                quiet++;
            } else {
                count++;
                assertTrue(seen.add(text(message)), () -> "twice: " + message);
            }
        }
        assertEquals(100, seen.size());
    }

    @Test
    void competingConsumersAllGetSome() throws Exception {
        Connection connection = connectWith("jms.prefetchPolicy.all=1");
        Session session = connection.createSession();
        Queue queue = queue(session);
        MessageConsumer[] consumers = new MessageConsumer[4];
        for (int index = 0; index < 4; index++) {
            consumers[index] = connection.createSession().createConsumer(queue);
        }
        send(session, queue, numbered(40));
        for (MessageConsumer consumer : consumers) {
            next(consumer);
        }
    }

    @Test
    void aSlowConsumerHoldsOnlyItsPrefetch() throws Exception {
        Session slow = connectWith("jms.prefetchPolicy.all=5").createSession(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(slow);
        MessageConsumer holds = slow.createConsumer(queue);
        Session fast = session();
        send(fast, queue, numbered(50));
        next(holds);
        MessageConsumer consumer = fast.createConsumer(queue);
        // One is being worked at; what stands in for it may have come already.
        List<String> rest = drain(consumer);
        assertTrue(rest.size() == 44 || rest.size() == 45, () -> "it holds " + (50 - rest.size()));
        assertEquals(rest.size(), new HashSet<>(rest).size());
    }

    @Test
    void withoutPrefetchEachReceiveFetchesOne() throws Exception {
        Session session = connectWith("jms.prefetchPolicy.all=0").createSession();
        Queue queue = queue(session);
        MessageConsumer idle = session.createConsumer(queue);
        MessageConsumer busy = session.createConsumer(queue);
        send(session, queue, numbered(10));
        expect(busy, numbered(10));
        assertNull(idle.receiveNoWait());
        send(session, queue, "last");
        assertEquals("last", text(idle.receiveNoWait()));
    }

    @Test
    void withoutPrefetchAReceiveWaitsForWhatComesLater() throws Exception {
        Connection connection = connectWith("jms.prefetchPolicy.all=0");
        Session session = connection.createSession();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        Session sender = session();
        Thread later = new Thread(() -> {
            try {
                Thread.sleep(300);
                send(sender, queue, "late");
            } catch (Exception error) {
                throw new AssertionError(error);
            }
        });
        later.start();
        assertEquals("late", nextText(consumer));
        later.join();
    }

    @Test
    void anEmptyQueueAnswersAtOnce() throws Exception {
        Session session = session();
        MessageConsumer consumer = session.createConsumer(queue(session));
        long before = System.nanoTime();
        for (int index = 0; index < 20; index++) {
            assertNull(consumer.receiveNoWait());
        }
        assertTrue(System.nanoTime() - before < 10_000_000_000L, "a drain must be answered");
    }

    @Test
    void aReceiveWithATimeoutWaitsAndEnds() throws Exception {
        Session session = session();
        MessageConsumer consumer = session.createConsumer(queue(session));
        long before = System.nanoTime();
        assertNull(consumer.receive(500));
        long took = (System.nanoTime() - before) / 1_000_000;
        assertTrue(took >= 450 && took < 10_000, () -> "it took " + took + " ms");
        // It still receives.
        Queue queue = queue(session);
        MessageConsumer other = session.createConsumer(queue);
        assertNull(other.receive(50));
        send(session, queue, "x");
        expect(other, "x");
    }

    @Test
    void aDrainTakesNothingFromTheNextReceive() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        for (int index = 0; index < 30; index++) {
            assertNull(consumer.receiveNoWait());
            send(session, queue, "m" + index);
            assertEquals("m" + index, nextText(consumer));
        }
        assertNull(consumer.receiveNoWait());
    }

    @Test
    void messagesStayUntilSomeoneComes() throws Exception {
        Connection sender = provider.connect(provider.uri());
        Session session = sender.createSession();
        Queue queue = queue(session);
        send(session, queue, "a", "b");
        sender.close();
        expect(session().createConsumer(queue), "a", "b");
    }

    @Test
    void nonPersistentMessagesStayUntilSomeoneComes() throws Exception {
        Connection sender = provider.connect(provider.uri());
        Session session = sender.createSession();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (String text : numbered(200)) {
            producer.send(session.createTextMessage(text));
        }
        sender.close();
        expect(session().createConsumer(queue), numbered(200));
    }

    @Test
    void whatAConsumerPrefetchedIsOthersWhenItCloses() throws Exception {
        Session one = session();
        Queue queue = queue(one);
        MessageConsumer first = one.createConsumer(queue);
        send(one, queue, numbered(50));
        assertEquals("m0", nextText(first));
        first.close();
        Session other = session();
        MessageConsumer consumer = other.createConsumer(queue);
        for (int index = 1; index < 50; index++) {
            Message message = next(consumer);
            assertEquals("m" + index, text(message));
            assertEquals(1, message.getIntProperty("JMSXDeliveryCount"), "it was never delivered to an application");
        }
        assertNull(consumer.receiveNoWait());
    }

    @Test
    void whatHasExpiredDoesNotCome() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(150);
        producer.send(session.createTextMessage("short-lived"));
        producer.setTimeToLive(60_000);
        producer.send(session.createTextMessage("long-lived"));
        Thread.sleep(400);
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "long-lived");
        nothing(consumer);
    }

    @Test
    void whatExpiresWhileItWaitsAtAConsumerDoesNotCome() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(200);
        producer.send(session.createTextMessage("short-lived"));
        Thread.sleep(500);
        send(session, queue, "after");
        expect(consumer, "after");
    }

    @Test
    void aDelayedMessageComesWhenItIsTimeAndHoldsNothingUp() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue);
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryDelay(700);
        long sent = System.currentTimeMillis();
        producer.send(session.createTextMessage("later"));
        send(session, queue, "now");
        expect(consumer, "now");
        nothing(consumer);
        expect(consumer, "later");
        assertTrue(System.currentTimeMillis() - sent >= 690);
    }

    @Test
    void delayedMessagesComeInTheOrderOfTheirTimes() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        // Their times are counted from their sends, which may take long.
        TreeMap<Long, String> times = new TreeMap<>();
        for (int delay : new int[] {900, 300, 600}) {
            producer.setDeliveryDelay(delay);
            TextMessage message = session.createTextMessage("after " + delay);
            producer.send(message);
            times.put(message.getJMSDeliveryTime(), message.getText());
        }
        expect(session.createConsumer(queue), times.values().toArray(String[]::new));
    }

    @Test
    void aQueueAndATopicMayHaveOneName() throws Exception {
        Session session = session();
        String name = unique("both");
        MessageConsumer ofTopic = session.createConsumer(session.createTopic(name));
        send(session, session.createQueue(name), "for the queue");
        assertNull(ofTopic.receive(QUIET));
        send(session, session.createTopic(name), "for the topic");
        expect(ofTopic, "for the topic");
        MessageConsumer ofQueue = session.createConsumer(session.createQueue(name));
        expect(ofQueue, "for the queue");
        assertNull(ofQueue.receiveNoWait());
    }

    @ParameterizedTest
    @ValueSource(strings = {"with space", "ünïcode.中", "a/b/c", "dots.in.a.name", "colon:semi;", "UPPER.lower", "minus-under_score"})
    void namesOfQueues(String name) throws Exception {
        Session session = session();
        Queue queue = session.createQueue(unique(name));
        send(session, queue, "x");
        Message message = next(session.createConsumer(queue));
        assertEquals("x", text(message));
        assertEquals(queue.getQueueName(), ((Queue) message.getJMSDestination()).getQueueName());
    }

    @Test
    void aProducerWithoutADestinationSendsToAny() throws Exception {
        Session session = session();
        MessageProducer producer = session.createProducer(null);
        Queue queue = queue(session);
        Destination topic = topic(session);
        Destination temporary = session.createTemporaryQueue();
        MessageConsumer ofTopic = session.createConsumer(topic);
        for (int index = 0; index < 3; index++) {
            producer.send(queue, session.createTextMessage("q" + index));
            producer.send(topic, session.createTextMessage("t" + index));
            producer.send(temporary, session.createTextMessage("tq" + index));
        }
        expect(session.createConsumer(queue), "q0", "q1", "q2");
        expect(ofTopic, "t0", "t1", "t2");
        expect(session.createConsumer(temporary), "tq0", "tq1", "tq2");
    }

    @Test
    void threadsSendAtTheSameTimeAndNothingIsLost() throws Exception {
        Session reader = session();
        Queue queue = queue(reader);
        Thread[] threads = new Thread[4];
        for (int thread = 0; thread < threads.length; thread++) {
            Session session = session();
            String prefix = thread + "-";
            threads[thread] = new Thread(() -> {
                try {
                    send(session, queue, numbered(prefix, 100));
                } catch (Exception error) {
                    throw new AssertionError(error);
                }
            });
            threads[thread].start();
        }
        MessageConsumer consumer = reader.createConsumer(queue);
        List<String> all = texts(consumer, 400);
        assertEquals(400, new TreeSet<>(all).size());
        for (int thread = 0; thread < threads.length; thread++) {
            String prefix = thread + "-";
            assertEquals(List.of(numbered(prefix, 100)), all.stream().filter(text -> text.startsWith(prefix)).toList());
            threads[thread].join();
        }
    }

    @Test
    void aSenderWithoutAReaderIsNotHeldUpForAThousand() throws Exception {
        Session session = connectWith("jms.forceAsyncSend=true").createSession();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        for (int index = 0; index < 1_500; index++) {
            TextMessage message = session.createTextMessage("m" + index);
            producer.send(message);
        }
        MessageConsumer consumer = session().createConsumer(queue);
        expect(consumer, numbered(1_500));
        assertFalse(consumer.receive(QUIET) != null);
    }
}
