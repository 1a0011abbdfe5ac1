package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import jakarta.jms.Connection;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import org.apache.qpid.jms.message.JmsMessage;
import org.junit.jupiter.api.Test;

/** Redelivery and dead letters (Jakarta Messaging 3.1, sections 3.4.7, 3.5.11 and 6.2.11). */
class RedeliveryTest extends Client {
    /** It is not among others' dead letters, even where all are in one queue. */
    private static TextMessage marked(Session session, String mark) throws Exception {
        TextMessage message = session.createTextMessage("poison");
        message.setStringProperty("mark", mark);
        return message;
    }

    private MessageConsumer deadLetters(Queue of, String mark) throws Exception {
        Session session = session();
        return session.createConsumer(session.createQueue(provider.deadLetters(of.getQueueName())), "mark = '" + mark + "'");
    }

    @Test
    void afterSoManyRollbacksAMessageIsADeadLetter() throws Exception {
        Session session = session(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        String mark = unique("mark");
        session.createProducer(queue).send(marked(session, mark));
        send(session, queue, "healthy");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        for (int count = 1; count <= provider.attempts; count++) {
            Message message = next(consumer);
            assertEquals("poison", text(message));
            assertEquals(count, message.getIntProperty("JMSXDeliveryCount"));
            session.rollback();
        }
        expect(consumer, "healthy");
        session.commit();
        Message dead = next(deadLetters(queue, mark));
        assertEquals("poison", text(dead));
        assertEquals(mark, dead.getStringProperty("mark"));
    }

    @Test
    void aRejectedMessageIsADeadLetterAtOnce() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        String mark = unique("mark");
        session.createProducer(queue).send(marked(session, mark));
        MessageConsumer consumer = session.createConsumer(queue);
        Message message = next(consumer);
        message.setIntProperty("JMS_AMQP_ACK_TYPE", 2);
        message.acknowledge();
        assertNull(consumer.receive(QUIET));
        assertEquals("poison", nextText(deadLetters(queue, mark)));
    }

    @Test
    void aReleasedMessageComesAgainAndDoesNotCount() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, "x");
        MessageConsumer consumer = session.createConsumer(queue);
        Message message = next(consumer);
        message.setIntProperty("JMS_AMQP_ACK_TYPE", 3);
        message.acknowledge();
        Message again = next(consumer);
        assertEquals("x", text(again));
        assertEquals(1, again.getIntProperty("JMSXDeliveryCount"));
    }

    @Test
    void aFailedMessageComesAgainAndCounts() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, "x");
        MessageConsumer consumer = session.createConsumer(queue);
        Message message = next(consumer);
        message.setIntProperty("JMS_AMQP_ACK_TYPE", 4);
        message.acknowledge();
        Message again = next(consumer);
        assertEquals("x", text(again));
        assertEquals(2, again.getIntProperty("JMSXDeliveryCount"));
        assertTrue(again.getJMSRedelivered());
    }

    @Test
    void aMessageThatAConsumerCannotTakeDoesNotComeToItAgain() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, "x");
        MessageConsumer consumer = session.createConsumer(queue);
        Message message = next(consumer);
        message.setIntProperty("JMS_AMQP_ACK_TYPE", 5);
        message.acknowledge();
        assertNull(consumer.receive(QUIET));
        assertEquals("x", nextText(session().createConsumer(queue)));
    }

    @Test
    void aListenerThatThrowsGetsItAgain() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        send(session, queue, "x");
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        AtomicInteger calls = new AtomicInteger();
        session.createConsumer(queue).setMessageListener(message -> {
            heard.add("x");
            if (calls.incrementAndGet() < 3) {
                throw new RuntimeException("not yet");
            }
        });
        for (int count = 1; count <= 3; count++) {
            assertEquals("x", heard.poll(SOON, TimeUnit.MILLISECONDS));
        }
        assertNull(heard.poll(QUIET, TimeUnit.MILLISECONDS));
    }

    @Test
    void theClientsOwnLimitOfDeliveries() throws Exception {
        Connection connection = connectWith("jms.redeliveryPolicy.maxRedeliveries=1&jms.redeliveryPolicy.outcome=REJECTED");
        Session session = connection.createSession(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        String mark = unique("mark");
        session.createProducer(queue).send(marked(session, mark));
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        for (int count = 1; count <= 2; count++) {
            assertEquals(count, next(consumer).getIntProperty("JMSXDeliveryCount"));
            session.rollback();
        }
        assertNull(consumer.receive(QUIET));
        session.commit();
        Message dead = next(deadLetters(queue, mark));
        assertTrue(dead instanceof JmsMessage);
        assertEquals(mark, dead.getStringProperty("mark"));
    }
}
