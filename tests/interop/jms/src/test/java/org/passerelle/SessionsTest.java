package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;

import jakarta.jms.Connection;
import jakarta.jms.IllegalStateException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The modes of acknowledgement (Jakarta Messaging 3.1, section 6.2.9 and on). */
class SessionsTest extends Client {
    /** Of Qpid JMS: each message is acknowledged by itself. */
    private static final int INDIVIDUAL = 101;

    /** What is there for somebody else. */
    private List<String> rest(Queue queue) throws Exception {
        return drain(session().createConsumer(queue));
    }

    @ParameterizedTest
    @ValueSource(ints = {Session.AUTO_ACKNOWLEDGE, Session.DUPS_OK_ACKNOWLEDGE})
    void whatReceiveReturnedIsAcknowledged(int mode) throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(mode);
        Queue queue = queue(session);
        send(session, queue, numbered(10));
        expect(session.createConsumer(queue), "m0", "m1", "m2");
        connection.close();
        assertEquals(List.of("m3", "m4", "m5", "m6", "m7", "m8", "m9"), rest(queue));
    }

    @Test
    void withClientAcknowledgeWhatIsNotAcknowledgedComesAgain() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, numbered(4));
        expect(session.createConsumer(queue), "m0", "m1");
        connection.close();
        Session other = session();
        MessageConsumer consumer = other.createConsumer(queue);
        for (int index = 0; index < 4; index++) {
            Message message = next(consumer);
            assertEquals("m" + index, text(message));
            assertEquals(index < 2, message.getJMSRedelivered(), text(message));
        }
    }

    @Test
    void acknowledgingOneAcknowledgesAllOfTheSession() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        Queue second = queue(session);
        send(session, queue, numbered(3));
        send(session, second, "other");
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "m0", "m1");
        Message last = next(session.createConsumer(second));
        last.acknowledge();
        connection.close();
        assertEquals(List.of("m2"), rest(queue));
        assertEquals(List.of(), rest(second));
    }

    @Test
    void acknowledgingInOneSessionLeavesTheOthersAlone() throws Exception {
        Connection connection = connect();
        Session one = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
        Session other = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
        Queue first = queue(one);
        Queue second = queue(one);
        send(one, first, "a");
        send(one, second, "b");
        Message a = next(one.createConsumer(first));
        next(other.createConsumer(second));
        a.acknowledge();
        connection.close();
        assertEquals(List.of(), rest(first));
        assertEquals(List.of("b"), rest(second));
    }

    @Test
    void individualAcknowledgementIsOfOneMessage() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(INDIVIDUAL);
        Queue queue = queue(session);
        send(session, queue, numbered(5));
        MessageConsumer consumer = session.createConsumer(queue);
        List<Message> messages = new ArrayList<>();
        for (int index = 0; index < 5; index++) {
            messages.add(next(consumer));
        }
        messages.get(3).acknowledge();
        messages.get(1).acknowledge();
        connection.close();
        assertEquals(List.of("m0", "m2", "m4"), rest(queue));
    }

    @Test
    void recoverDeliversAgainInOrder() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, numbered(5));
        MessageConsumer consumer = session.createConsumer(queue);
        next(consumer).acknowledge();
        expect(consumer, "m1", "m2");
        session.recover();
        for (int index = 1; index < 5; index++) {
            Message message = next(consumer);
            assertEquals("m" + index, text(message));
            assertEquals(index < 3, message.getJMSRedelivered(), text(message));
            assertEquals(index < 3 ? 2 : 1, message.getIntProperty("JMSXDeliveryCount"), text(message));
        }
    }

    @Test
    void recoverCountsEachTime() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, "x");
        MessageConsumer consumer = session.createConsumer(queue);
        for (int count = 1; count <= 4; count++) {
            Message message = next(consumer);
            assertEquals(count, message.getIntProperty("JMSXDeliveryCount"));
            assertEquals(count > 1, message.getJMSRedelivered());
            if (count < 4) {
                session.recover();
            } else {
                message.acknowledge();
            }
        }
        assertEquals(List.of(), rest(queue));
    }

    @Test
    void recoverOfATransactedSessionIsAnError() throws Exception {
        Session session = session(Session.SESSION_TRANSACTED);
        assertThrows(IllegalStateException.class, session::recover);
        assertThrows(IllegalStateException.class, session()::commit);
        assertThrows(IllegalStateException.class, session()::rollback);
    }

    @Test
    void closingAConsumerDoesNotAcknowledge() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, "x", "y");
        MessageConsumer first = session.createConsumer(queue);
        Message message = next(first);
        first.close();
        message.acknowledge();
        assertEquals(List.of("y"), rest(queue));
    }

    @Test
    void closingASessionReturnsWhatIsNotAcknowledged() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        send(session, queue, "x", "y");
        next(session.createConsumer(queue));
        session.close();
        expect(connection.createSession().createConsumer(queue), "x", "y");
    }

    @Test
    void aSessionThatIsClosedDoesNothingMore() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        MessageConsumer consumer = session.createConsumer(queue);
        session.close();
        session.close();
        assertThrows(IllegalStateException.class, () -> session.createConsumer(queue));
        assertThrows(IllegalStateException.class, () -> producer.send(null));
        assertThrows(IllegalStateException.class, consumer::receiveNoWait);
    }

    @Test
    void topicsAreAcknowledgedToo() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic);
        send(session, topic, numbered(1_200));
        // More than is prefetched, so what is acknowledged must make room.
        for (int index = 0; index < 1_200; index++) {
            Message message = next(consumer);
            assertEquals("m" + index, text(message));
            if (index % 100 == 99) {
                message.acknowledge();
            }
        }
    }

    @Test
    void manySessionsOfAConnection() throws Exception {
        Connection connection = connect();
        List<Session> sessions = new ArrayList<>();
        Queue queue = queue(connection.createSession());
        for (int index = 0; index < 100; index++) {
            Session session = connection.createSession();
            sessions.add(session);
            send(session, queue, "m" + index);
        }
        expect(sessions.get(99).createConsumer(queue), numbered(100));
    }

    @Test
    void manyLinksOfASession() throws Exception {
        Session session = session();
        String name = unique("many");
        List<MessageConsumer> consumers = new ArrayList<>();
        List<MessageProducer> producers = new ArrayList<>();
        for (int index = 0; index < 150; index++) {
            Queue queue = session.createQueue(name + "." + index);
            consumers.add(session.createConsumer(queue));
            producers.add(session.createProducer(queue));
        }
        for (int index = 0; index < 150; index++) {
            producers.get(index).send(session.createTextMessage("m" + index));
        }
        for (int index = 0; index < 150; index++) {
            assertEquals("m" + index, nextText(consumers.get(index)));
        }
    }

    @Test
    void linksAndSessionsComeAndGo() throws Exception {
        Connection connection = connect();
        Session sender = connection.createSession();
        Queue queue = queue(sender);
        for (int index = 0; index < 150; index++) {
            Session session = connection.createSession(index % 3 == 0 ? Session.SESSION_TRANSACTED : Session.AUTO_ACKNOWLEDGE);
            send(sender, queue, "m" + index);
            MessageConsumer consumer = session.createConsumer(queue);
            assertEquals("m" + index, nextText(consumer));
            if (session.getTransacted()) {
                session.commit();
            }
            session.close();
        }
        assertEquals(List.of(), rest(queue));
    }

    @Test
    void modesAreWhatWasAskedFor() throws Exception {
        Connection connection = connect();
        for (int mode : new int[] {Session.AUTO_ACKNOWLEDGE, Session.CLIENT_ACKNOWLEDGE, Session.DUPS_OK_ACKNOWLEDGE}) {
            Session session = connection.createSession(mode);
            assertEquals(mode, session.getAcknowledgeMode());
            assertFalse(session.getTransacted());
        }
        assertTrue(connection.createSession(Session.SESSION_TRANSACTED).getTransacted());
        assertNull(connection.createSession().getMessageListener());
    }
}
