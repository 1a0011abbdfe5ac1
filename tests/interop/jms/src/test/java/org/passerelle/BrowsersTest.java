package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.util.ArrayList;
import java.util.Enumeration;
import java.util.List;

import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.QueueBrowser;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import org.junit.jupiter.api.Test;

/** Looking at a queue (Jakarta Messaging 3.1, section 4.1.6). */
class BrowsersTest extends Client {
    private static List<String> look(QueueBrowser browser) throws Exception {
        List<String> texts = new ArrayList<>();
        Enumeration<?> messages = browser.getEnumeration();
        while (messages.hasMoreElements()) {
            texts.add(text((Message) messages.nextElement()));
        }
        return texts;
    }

    @Test
    void itShowsAllInOrderAndTakesNothing() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        send(session, queue, numbered(50));
        QueueBrowser browser = session.createBrowser(queue);
        assertEquals(List.of(numbered(50)), look(browser));
        browser.close();
        Message first = next(session.createConsumer(queue));
        assertEquals("m0", text(first));
        assertFalse(first.getJMSRedelivered());
        assertEquals(1, first.getIntProperty("JMSXDeliveryCount"));
    }

    @Test
    void anEmptyQueueShowsNothing() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        QueueBrowser browser = session.createBrowser(queue);
        assertFalse(browser.getEnumeration().hasMoreElements());
        send(session, queue, "x");
        assertEquals(List.of("x"), look(browser));
    }

    @Test
    void itShowsMoreThanItPrefetches() throws Exception {
        Session session = connectWith("jms.prefetchPolicy.queueBrowserPrefetch=7").createSession();
        Queue queue = queue(session);
        send(session, queue, numbered(100));
        assertEquals(List.of(numbered(100)), look(session.createBrowser(queue)));
    }

    @Test
    void eachEnumerationIsNew() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        send(session, queue, "a", "b");
        QueueBrowser browser = session.createBrowser(queue);
        assertEquals(List.of("a", "b"), look(browser));
        try (MessageConsumer consumer = session.createConsumer(queue)) {
            expect(consumer, "a");
        }
        send(session, queue, "c");
        assertEquals(List.of("b", "c"), look(browser));
    }

    @Test
    void withASelector() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        for (int index = 0; index < 10; index++) {
            TextMessage message = session.createTextMessage("m" + index);
            message.setIntProperty("n", index);
            producer.send(message);
        }
        QueueBrowser browser = session.createBrowser(queue, "n >= 7");
        assertEquals("n >= 7", browser.getMessageSelector());
        assertEquals(List.of("m7", "m8", "m9"), look(browser));
    }

    @Test
    void itShowsByPriority() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        for (int priority : new int[] {2, 8, 5}) {
            producer.setPriority(priority);
            producer.send(session.createTextMessage("p" + priority));
        }
        assertEquals(List.of("p8", "p5", "p2"), look(session.createBrowser(queue)));
    }

    @Test
    void whatHasExpiredOrIsDelayedIsNotShown() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(100);
        producer.send(session.createTextMessage("expired"));
        producer.setTimeToLive(0);
        producer.setDeliveryDelay(60_000);
        producer.send(session.createTextMessage("delayed"));
        producer.setDeliveryDelay(0);
        producer.send(session.createTextMessage("shown"));
        Thread.sleep(300);
        assertEquals(List.of("shown"), look(session.createBrowser(queue)));
    }

    @Test
    void itShowsNothingThatIsNotCommitted() throws Exception {
        Session session = session(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        send(session, queue, "x");
        QueueBrowser browser = session().createBrowser(queue);
        assertEquals(List.of(), look(browser));
        session.commit();
        assertEquals(List.of("x"), look(browser));
    }

    @Test
    void ofATransactedSession() throws Exception {
        Session session = session(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        send(session, queue, "x");
        session.commit();
        assertEquals(List.of("x"), look(session.createBrowser(queue)));
        session.rollback();
        MessageConsumer consumer = session.createConsumer(queue);
        Message message = next(consumer);
        assertFalse(message.getJMSRedelivered());
        session.commit();
    }

    @Test
    void ofATemporaryQueue() throws Exception {
        Session session = session();
        Queue queue = session.createTemporaryQueue();
        send(session, queue, "x");
        assertEquals(List.of("x"), look(session.createBrowser(queue)));
        expect(session.createConsumer(queue), "x");
    }
}
