package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

import jakarta.jms.Connection;
import jakarta.jms.Destination;
import jakarta.jms.IllegalStateException;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.QueueRequestor;
import jakarta.jms.QueueSession;
import jakarta.jms.Session;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.TemporaryTopic;
import jakarta.jms.TextMessage;
import jakarta.jms.TopicRequestor;
import jakarta.jms.TopicSession;
import org.junit.jupiter.api.Test;

/** Temporary destinations, and requests with their replies (Jakarta Messaging 3.1, sections 6.2.2 and 4.4). */
class TemporariesTest extends Client {
    @Test
    void aTemporaryQueueKeepsWhatIsSent() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        send(session(), queue, numbered(10));
        expect(session.createConsumer(queue), numbered(10));
    }

    @Test
    void aTemporaryTopicGoesToAllWhoListen() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        TemporaryTopic topic = session.createTemporaryTopic();
        MessageConsumer one = session.createConsumer(topic);
        MessageConsumer other = connection.createSession().createConsumer(topic);
        send(session(), topic, "x", "y");
        expect(one, "x", "y");
        expect(other, "x", "y");
    }

    @Test
    void namesAreUnique() throws Exception {
        Session session = session();
        Session other = session();
        Set<String> names = new HashSet<>();
        for (int count = 0; count < 20; count++) {
            names.add(session.createTemporaryQueue().getQueueName());
            names.add(other.createTemporaryQueue().getQueueName());
        }
        assertEquals(40, names.size());
        assertNotEquals(session.createTemporaryTopic().getTopicName(), session.createTemporaryTopic().getTopicName());
    }

    @Test
    void onlyTheConnectionThatMadeItConsumes() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        Session other = session();
        assertThrows(JMSException.class, () -> other.createConsumer(queue));
        // And not by its name either.
        Queue named = other.createQueue(queue.getQueueName());
        send(session, queue, "mine");
        try {
            MessageConsumer thief = other.createConsumer(named);
            assertNull(thief.receive(QUIET));
        } catch (JMSException refused) {
            // So it should be.
        }
        expect(session.createConsumer(queue), "mine");
    }

    @Test
    void allSessionsOfTheConnectionConsume() throws Exception {
        Connection connection = connect();
        TemporaryQueue queue = connection.createSession().createTemporaryQueue();
        MessageConsumer consumer = connection.createSession().createConsumer(queue);
        send(session(), queue, "x");
        expect(consumer, "x");
    }

    @Test
    void itOutlivesTheSessionThatMadeIt() throws Exception {
        Connection connection = connect();
        Session maker = connection.createSession();
        TemporaryQueue queue = maker.createTemporaryQueue();
        maker.close();
        Session session = connection.createSession();
        send(session, queue, "x");
        expect(session.createConsumer(queue), "x");
    }

    @Test
    void itEndsWithItsConnection() throws Exception {
        Connection connection = connect();
        TemporaryQueue queue = connection.createSession().createTemporaryQueue();
        Session other = session();
        send(other, queue, "x");
        connection.close();
        assertThrows(JMSException.class, () -> {
            // The end of a connection may be heard a little later.
            for (int count = 0; count < 50; count++) {
                send(other, queue, "y");
                Thread.sleep(50);
            }
        });
    }

    @Test
    void whatIsDeletedTakesNothingMore() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        send(session, queue, "x");
        queue.delete();
        assertThrows(JMSException.class, () -> session.createConsumer(queue));
        Session other = session();
        assertThrows(JMSException.class, () -> send(other, queue, "y"));
    }

    @Test
    void itIsNotDeletedWhileSomeoneListens() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(queue);
        assertThrows(IllegalStateException.class, queue::delete);
        send(session, queue, "x");
        expect(consumer, "x");
        consumer.close();
        queue.delete();
    }

    @Test
    void aTemporaryTopicIsDeleted() throws Exception {
        Session session = session();
        TemporaryTopic topic = session.createTemporaryTopic();
        MessageConsumer consumer = session.createConsumer(topic);
        send(session, topic, "x");
        expect(consumer, "x");
        consumer.close();
        topic.delete();
        assertThrows(JMSException.class, () -> session.createConsumer(topic));
    }

    @Test
    void aTemporaryQueueWithSelectorsPrioritiesAndDelays() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageProducer producer = session.createProducer(queue);
        for (int priority : new int[] {1, 9, 5}) {
            TextMessage message = session.createTextMessage("p" + priority);
            message.setIntProperty("n", priority);
            producer.setPriority(priority);
            producer.send(message);
        }
        expect(session.createConsumer(queue, "n = 5"), "p5");
        expect(session.createConsumer(queue), "p9", "p1");
    }

    @Test
    void requestsAndReplies() throws Exception {
        Session server = session();
        Queue service = queue(server);
        MessageProducer answers = server.createProducer(null);
        server.createConsumer(service).setMessageListener(request -> {
            try {
                Message reply = server.createTextMessage("re: " + text(request));
                reply.setJMSCorrelationID(request.getJMSMessageID());
                answers.send(request.getJMSReplyTo(), reply);
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
        Session client = session();
        TemporaryQueue replies = client.createTemporaryQueue();
        MessageConsumer consumer = client.createConsumer(replies);
        MessageProducer producer = client.createProducer(service);
        for (int index = 0; index < 30; index++) {
            TextMessage request = client.createTextMessage("r" + index);
            request.setJMSReplyTo(replies);
            producer.send(request);
            Message reply = next(consumer);
            assertEquals("re: r" + index, text(reply));
            assertEquals(request.getJMSMessageID(), reply.getJMSCorrelationID());
            assertInstanceOf(TemporaryQueue.class, reply.getJMSDestination());
        }
    }

    @Test
    void queueRequestor() throws Exception {
        Session server = session();
        Queue service = queue(server);
        answer(server, service);
        var connection = factory().createQueueConnection();
        keep(connection);
        connection.start();
        QueueSession session = connection.createQueueSession(false, Session.AUTO_ACKNOWLEDGE);
        QueueRequestor requestor = new QueueRequestor(session, service);
        assertEquals("re: hello", text(requestor.request(session.createTextMessage("hello"))));
    }

    @Test
    void topicRequestor() throws Exception {
        Session server = session();
        var service = topic(server);
        answer(server, service);
        var connection = factory().createTopicConnection();
        keep(connection);
        connection.start();
        TopicSession session = connection.createTopicSession(false, Session.AUTO_ACKNOWLEDGE);
        TopicRequestor requestor = new TopicRequestor(session, service);
        assertEquals("re: hello", text(requestor.request(session.createTextMessage("hello"))));
    }

    private static void answer(Session server, Destination service) throws JMSException {
        MessageProducer answers = server.createProducer(null);
        server.createConsumer(service).setMessageListener(request -> {
            try {
                answers.send(request.getJMSReplyTo(), server.createTextMessage("re: " + text(request)));
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
    }

    @Test
    void manyTemporaryQueuesAtOnce() throws Exception {
        Session session = session();
        List<TemporaryQueue> queues = new ArrayList<>();
        for (int index = 0; index < 60; index++) {
            queues.add(session.createTemporaryQueue());
        }
        MessageProducer producer = session.createProducer(null);
        for (int index = 0; index < 60; index++) {
            producer.send(queues.get(index), session.createTextMessage("m" + index));
        }
        for (int index = 0; index < 60; index++) {
            try (MessageConsumer consumer = session.createConsumer(queues.get(index))) {
                assertEquals("m" + index, nextText(consumer));
            }
        }
    }
}
