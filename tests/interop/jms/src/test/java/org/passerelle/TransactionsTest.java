package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;

import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Local transactions (Jakarta Messaging 3.1, section 6.2.7). */
class TransactionsTest extends Client {
    private Session transacted() throws Exception {
        return session(Session.SESSION_TRANSACTED);
    }

    @Test
    void whatIsSentComesAfterTheCommit() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        MessageConsumer consumer = session().createConsumer(queue);
        send(session, queue, numbered(20));
        nothing(consumer);
        session.commit();
        expect(consumer, numbered(20));
    }

    @Test
    void whatIsSentAndRolledBackNeverComes() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        MessageConsumer consumer = session().createConsumer(queue);
        send(session, queue, "dropped");
        session.rollback();
        send(session, queue, "kept");
        session.commit();
        expect(consumer, "kept");
        nothing(consumer);
    }

    @Test
    void whatIsReceivedIsGoneAfterTheCommit() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        send(session(), queue, numbered(5));
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "m0", "m1");
        session.commit();
        expect(consumer, "m2");
        connection.close();
        assertEquals(List.of("m2", "m3", "m4"), drain(session().createConsumer(queue)));
    }

    @Test
    void whatIsReceivedAndRolledBackComesAgainInOrder() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        send(session(), queue, numbered(6));
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "m0", "m1", "m2");
        session.rollback();
        for (int index = 0; index < 6; index++) {
            Message message = next(consumer);
            assertEquals("m" + index, text(message));
            assertEquals(index < 3, message.getJMSRedelivered(), text(message));
        }
        session.commit();
        assertNull(consumer.receiveNoWait());
    }

    @Test
    void rollingBackCountsTheDeliveries() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        send(session(), queue, "x");
        MessageConsumer consumer = session.createConsumer(queue);
        for (int count = 1; count <= 4; count++) {
            assertEquals(count, next(consumer).getIntProperty("JMSXDeliveryCount"));
            session.rollback();
        }
        assertEquals(5, next(consumer).getIntProperty("JMSXDeliveryCount"));
        session.commit();
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void sendsAndReceiptsAreDecidedTogether(boolean commit) throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.SESSION_TRANSACTED);
        Queue from = queue(session);
        Queue to = queue(session);
        send(session(), from, numbered(10));
        MessageConsumer consumer = session.createConsumer(from);
        MessageProducer producer = session.createProducer(to);
        for (int index = 0; index < 10; index++) {
            producer.send(session.createTextMessage("moved " + nextText(consumer)));
        }
        if (commit) {
            session.commit();
        } else {
            session.rollback();
        }
        connection.close();
        List<String> left = drain(session().createConsumer(from));
        List<String> moved = drain(session().createConsumer(to));
        assertEquals(commit ? List.of() : List.of(numbered(10)), left);
        assertEquals(commit ? List.of(numbered("moved m", 10)) : List.of(), moved);
    }

    @Test
    void aTransactionSpansDestinations() throws Exception {
        Session session = transacted();
        Queue one = queue(session);
        Queue other = queue(session);
        Topic topic = topic(session);
        Session reader = session();
        MessageConsumer ofOne = reader.createConsumer(one);
        MessageConsumer ofOther = reader.createConsumer(other);
        MessageConsumer ofTopic = reader.createConsumer(topic);
        send(session, one, "a");
        send(session, topic, "b");
        send(session, other, "c");
        nothing(ofOne);
        nothing(ofOther);
        nothing(ofTopic);
        session.commit();
        expect(ofOne, "a");
        expect(ofOther, "c");
        expect(ofTopic, "b");
    }

    @Test
    void aRolledBackPublicationReachesNoSubscriber() throws Exception {
        Session session = transacted();
        Topic topic = topic(session);
        MessageConsumer consumer = session().createConsumer(topic);
        send(session, topic, "dropped");
        session.rollback();
        send(session, topic, "kept");
        session.commit();
        expect(consumer, "kept");
        nothing(consumer);
    }

    @Test
    void sessionsOfAConnectionCommitByThemselves() throws Exception {
        Connection connection = connect();
        Session one = connection.createSession(Session.SESSION_TRANSACTED);
        Session other = connection.createSession(Session.SESSION_TRANSACTED);
        Queue queue = queue(one);
        send(one, queue, "of one");
        send(other, queue, "of the other");
        MessageConsumer consumer = connection.createSession().createConsumer(queue);
        other.commit();
        expect(consumer, "of the other");
        nothing(consumer);
        one.commit();
        expect(consumer, "of one");
    }

    @Test
    void oneSessionsRollbackLeavesTheOthersAlone() throws Exception {
        Connection connection = connect();
        Session one = connection.createSession(Session.SESSION_TRANSACTED);
        Session other = connection.createSession(Session.SESSION_TRANSACTED);
        Queue queue = queue(one);
        send(one, queue, "of one");
        send(other, queue, "of the other");
        one.rollback();
        other.commit();
        MessageConsumer consumer = connection.createSession().createConsumer(queue);
        expect(consumer, "of the other");
        nothing(consumer);
    }

    @Test
    void closingASessionRollsBack() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.SESSION_TRANSACTED);
        Queue from = queue(session);
        Queue to = queue(session);
        send(connection.createSession(), from, "x");
        expect(session.createConsumer(from), "x");
        send(session, to, "y");
        session.close();
        Session reader = connection.createSession();
        Message again = next(reader.createConsumer(from));
        assertEquals("x", text(again));
        assertTrue(again.getJMSRedelivered());
        nothing(reader.createConsumer(to));
    }

    @Test
    void losingTheConnectionRollsBack() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession(Session.SESSION_TRANSACTED);
        Queue from = queue(session);
        Queue to = queue(session);
        Session reader = session();
        send(reader, from, "x");
        expect(session.createConsumer(from), "x");
        send(session, to, "y");
        connection.close();
        expect(reader.createConsumer(from), "x");
        nothing(reader.createConsumer(to));
    }

    @Test
    void aConsumerThatClosedStillHasItsPartInTheTransaction() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        send(session(), queue, "x", "y");
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "x");
        consumer.close();
        session.commit();
        assertEquals(List.of("y"), drain(session().createConsumer(queue)));
    }

    @Test
    void aConsumerThatClosedStillRollsBack() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        send(session(), queue, "x");
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "x");
        consumer.close();
        session.rollback();
        Message again = next(session().createConsumer(queue));
        assertEquals("x", text(again));
        assertTrue(again.getJMSRedelivered());
    }

    @Test
    void nothingToCommitIsNoError() throws Exception {
        Session session = transacted();
        for (int count = 0; count < 20; count++) {
            session.commit();
            session.rollback();
        }
        Queue queue = queue(session);
        send(session, queue, "x");
        session.commit();
        expect(session.createConsumer(queue), "x");
        session.commit();
    }

    @Test
    void manyTransactionsOfASession() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        List<String> expected = new ArrayList<>();
        for (int index = 0; index < 100; index++) {
            producer.send(session.createTextMessage("m" + index));
            if (index % 2 == 0) {
                session.commit();
                expected.add("m" + index);
            } else {
                session.rollback();
            }
        }
        assertEquals(expected, drain(session().createConsumer(queue)));
    }

    @Test
    void aTransactionOfThreeThousandMessages() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        send(session, queue, numbered(3_000));
        MessageConsumer other = session().createConsumer(queue);
        nothing(other);
        other.close();
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, numbered(3_000));
        session.commit();
        assertNull(consumer.receiveNoWait());
    }

    @Test
    void aTransactionOfMoreThanThePrefetch() throws Exception {
        Session session = connectWith("jms.prefetchPolicy.all=10").createSession(Session.SESSION_TRANSACTED);
        Queue queue = queue(session);
        send(session(), queue, numbered(100));
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, numbered(100));
        session.rollback();
        expect(consumer, numbered(100));
        session.commit();
        assertNull(consumer.receiveNoWait());
    }

    @Test
    void aTransactionOfLargeMessages() throws Exception {
        Session session = transacted();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        for (int index = 0; index < 8; index++) {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(new byte[300_000 + index]);
            producer.send(message);
        }
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        for (int index = 0; index < 8; index++) {
            assertEquals(300_000 + index, ((BytesMessage) next(consumer)).getBodyLength());
        }
        session.commit();
    }

    @Test
    void aDurableSubscriptionInATransaction() throws Exception {
        Session session = connectAs(unique("client")).createSession(Session.SESSION_TRANSACTED);
        Topic topic = topic(session);
        MessageConsumer consumer = session.createDurableConsumer(topic, "in-a-transaction");
        send(session(), topic, "x", "y");
        expect(consumer, "x");
        session.rollback();
        expect(consumer, "x", "y");
        session.commit();
        assertNull(consumer.receiveNoWait());
        consumer.close();
        session.unsubscribe("in-a-transaction");
    }

    @Test
    void aProducerWithoutADestinationInATransaction() throws Exception {
        Session session = transacted();
        Queue one = queue(session);
        Queue other = queue(session);
        MessageProducer producer = session.createProducer(null);
        producer.send(one, session.createTextMessage("a"));
        producer.send(other, session.createTextMessage("b"));
        session.rollback();
        producer.send(one, session.createTextMessage("c"));
        producer.send(other, session.createTextMessage("d"));
        session.commit();
        Session reader = session();
        assertEquals(List.of("c"), drain(reader.createConsumer(one)));
        assertEquals(List.of("d"), drain(reader.createConsumer(other)));
    }

    @Test
    void aTemporaryQueueInATransaction() throws Exception {
        Session session = transacted();
        Queue replies = session.createTemporaryQueue();
        send(session, replies, "x");
        session.commit();
        MessageConsumer consumer = session.createConsumer(replies);
        expect(consumer, "x");
        session.rollback();
        expect(consumer, "x");
        session.commit();
        assertNull(consumer.receiveNoWait());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void whatIsReceivedOfATopicAndRolledBackComesAgain(boolean isTemporary) throws Exception {
        Session session = transacted();
        Topic topic = isTemporary ? session.createTemporaryTopic() : topic(session);
        MessageConsumer consumer = session.createConsumer(topic);
        send(session(), topic, numbered(4));
        expect(consumer, "m0", "m1");
        session.rollback();
        for (int index = 0; index < 4; index++) {
            Message message = next(consumer);
            assertEquals("m" + index, text(message));
            assertEquals(index < 2, message.getJMSRedelivered(), text(message));
            if (index == 0) {
                session.commit();
            }
        }
        session.rollback();
        expect(consumer, "m1", "m2", "m3");
        session.commit();
        nothing(consumer);
    }

    @Test
    void aMessageOfATopicIsRolledBackAsOftenAsQueuesDeliver() throws Exception {
        Session session = transacted();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic);
        send(session(), topic, "bad", "good");
        for (int attempt = 1; attempt <= 6; attempt++) {
            Message message = next(consumer);
            assertEquals("bad", text(message));
            assertEquals(attempt, message.getIntProperty("JMSXDeliveryCount"));
            session.rollback();
        }
        expect(consumer, "good");
        session.commit();
        nothing(consumer);
    }
}
