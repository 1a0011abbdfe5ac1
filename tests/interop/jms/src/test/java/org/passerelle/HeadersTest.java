package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.List;
import java.util.Set;

import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.Destination;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.TemporaryTopic;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The headers of messages (Jakarta Messaging 3.1, section 3.4). */
class HeadersTest extends Client {
    @Test
    void type() throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        message.setJMSType("order/é");
        assertEquals("order/é", roundTrip(session, message).getJMSType());
    }

    @Test
    void noTypeNoCorrelationNoReplyTo() throws Exception {
        Session session = session();
        Message back = roundTrip(session, session.createTextMessage("x"));
        assertNull(back.getJMSType());
        assertNull(back.getJMSCorrelationID());
        assertNull(back.getJMSReplyTo());
    }

    @ParameterizedTest
    @ValueSource(strings = {"application's own", "ID:from-a-provider", "ID:AMQP_ULONG:17",
        "ID:AMQP_UUID:9a1b6a4e-3c1f-4f0a-9a43-1b1d6f2f5a10"})
    void correlation(String correlation) throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        message.setJMSCorrelationID(correlation);
        assertEquals(correlation, roundTrip(session, message).getJMSCorrelationID());
    }

    @Test
    void correlationOfBytes() throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        byte[] bytes = {0, 1, (byte) 0xff, 'a'};
        message.setJMSCorrelationIDAsBytes(bytes);
        assertArrayEquals(bytes, roundTrip(session, message).getJMSCorrelationIDAsBytes());
    }

    @Test
    void destinationOfAQueueAndOfATopic() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer ofQueue = session.createConsumer(queue);
        send(session, queue, "q");
        assertEquals(queue.getQueueName(), assertInstanceOf(Queue.class, next(ofQueue).getJMSDestination()).getQueueName());
        Topic topic = topic(session);
        MessageConsumer ofTopic = session.createConsumer(topic);
        send(session, topic, "t");
        assertEquals(topic.getTopicName(), assertInstanceOf(Topic.class, next(ofTopic).getJMSDestination()).getTopicName());
    }

    private Destination replyTo(Session session, Destination to) throws Exception {
        Message message = session.createTextMessage("x");
        message.setJMSReplyTo(to);
        return roundTrip(session, message).getJMSReplyTo();
    }

    @Test
    void replyToAQueue() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        Destination back = replyTo(session, queue);
        assertFalse(back instanceof TemporaryQueue);
        assertEquals(queue.getQueueName(), assertInstanceOf(Queue.class, back).getQueueName());
    }

    @Test
    void replyToATopic() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        Destination back = replyTo(session, topic);
        assertFalse(back instanceof TemporaryTopic);
        assertEquals(topic.getTopicName(), assertInstanceOf(Topic.class, back).getTopicName());
    }

    @Test
    void replyToATemporaryQueue() throws Exception {
        Session session = session();
        TemporaryQueue queue = session.createTemporaryQueue();
        Destination back = assertInstanceOf(TemporaryQueue.class, replyTo(session, queue));
        send(session, back, "answer");
        expect(session.createConsumer(queue), "answer");
    }

    @Test
    void replyToATemporaryTopic() throws Exception {
        Session session = session();
        TemporaryTopic topic = session.createTemporaryTopic();
        MessageConsumer consumer = session.createConsumer(topic);
        Destination back = assertInstanceOf(TemporaryTopic.class, replyTo(session, topic));
        send(session, back, "answer");
        expect(consumer, "answer");
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 4, 5, 9})
    void priority(int priority) throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setPriority(priority);
        producer.send(session.createTextMessage("x"));
        assertEquals(priority, next(session.createConsumer(queue)).getJMSPriority());
    }

    @Test
    void priorityIsFourUnlessSaid() throws Exception {
        Session session = session();
        assertEquals(4, roundTrip(session, session.createTextMessage("x")).getJMSPriority());
    }

    @Test
    void higherPrioritiesComeFirstAndEqualOnesInOrder() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        for (int priority : new int[] {4, 9, 0, 4, 9, 7}) {
            producer.send(session.createTextMessage(priority + "a"), DeliveryMode.PERSISTENT, priority, 0);
            producer.send(session.createTextMessage(priority + "b"), DeliveryMode.PERSISTENT, priority, 0);
        }
        List<String> order = texts(session.createConsumer(queue), 12);
        assertEquals(List.of("9a", "9b", "9a", "9b", "7a", "7b", "4a", "4b", "4a", "4b", "0a", "0b"), order);
    }

    @Test
    void deliveryModes() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("x"));
        producer.setDeliveryMode(DeliveryMode.PERSISTENT);
        producer.send(session.createTextMessage("y"));
        MessageConsumer consumer = session.createConsumer(queue);
        assertEquals(DeliveryMode.NON_PERSISTENT, next(consumer).getJMSDeliveryMode());
        assertEquals(DeliveryMode.PERSISTENT, next(consumer).getJMSDeliveryMode());
    }

    @Test
    void theArgumentsOfSendOutweighTheProducers() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setPriority(1);
        producer.send(session.createTextMessage("x"), DeliveryMode.NON_PERSISTENT, 8, 60_000);
        Message message = next(session.createConsumer(queue));
        assertEquals(8, message.getJMSPriority());
        assertEquals(DeliveryMode.NON_PERSISTENT, message.getJMSDeliveryMode());
        assertTrue(message.getJMSExpiration() > System.currentTimeMillis());
    }

    @Test
    void timestampIsWhenItWasSent() throws Exception {
        Session session = session();
        long before = System.currentTimeMillis();
        long at = roundTrip(session, session.createTextMessage("x")).getJMSTimestamp();
        assertTrue(before <= at && at <= System.currentTimeMillis(), () -> at + " is not after " + before);
    }

    @Test
    void timestampIsThatOfTheSenderHoweverLongItLies() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        TextMessage message = session.createTextMessage("x");
        session.createProducer(queue).send(message);
        Thread.sleep(300);
        assertEquals(message.getJMSTimestamp(), next(session.createConsumer(queue)).getJMSTimestamp());
    }

    @Test
    void expirationIsTheSendersTimeAndItsTimeToLive() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setTimeToLive(60_000);
        TextMessage message = session.createTextMessage("x");
        producer.send(message);
        Message back = next(session.createConsumer(queue));
        assertEquals(message.getJMSExpiration(), back.getJMSExpiration());
        assertEquals(60_000, back.getJMSExpiration() - back.getJMSTimestamp());
    }

    @Test
    void withoutATimeToLiveItDoesNotExpire() throws Exception {
        Session session = session();
        assertEquals(0, roundTrip(session, session.createTextMessage("x")).getJMSExpiration());
    }

    @Test
    void messageIdsAreTheSendersAndUnique() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        Set<String> sent = new HashSet<>();
        for (int index = 0; index < 20; index++) {
            TextMessage message = session.createTextMessage("x");
            producer.send(message);
            assertTrue(message.getJMSMessageID().startsWith("ID:"), message.getJMSMessageID());
            sent.add(message.getJMSMessageID());
        }
        assertEquals(20, sent.size());
        MessageConsumer consumer = session.createConsumer(queue);
        for (int index = 0; index < 20; index++) {
            assertTrue(sent.remove(next(consumer).getJMSMessageID()));
        }
    }

    @Test
    void withoutMessageIdsAndTimestamps() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setDisableMessageID(true);
        producer.setDisableMessageTimestamp(true);
        producer.send(session.createTextMessage("x"));
        Message back = next(session.createConsumer(queue));
        assertNull(back.getJMSMessageID());
        assertEquals(0, back.getJMSTimestamp());
    }

    @Test
    void aFirstDeliveryIsNotARedelivery() throws Exception {
        Session session = session();
        Message back = roundTrip(session, session.createTextMessage("x"));
        assertFalse(back.getJMSRedelivered());
        assertEquals(1, back.getIntProperty("JMSXDeliveryCount"));
    }

    @Test
    void userIdIsTheConnections() throws Exception {
        Connection connection = connectWith("jms.populateJMSXUserID=true");
        Session session = connection.createSession();
        assertEquals(provider.user, roundTrip(session, session.createTextMessage("x")).getStringProperty("JMSXUserID"));
    }

    @Test
    void withoutUserIdThereIsNone() throws Exception {
        Session session = session();
        assertNull(roundTrip(session, session.createTextMessage("x")).getStringProperty("JMSXUserID"));
    }

    @Test
    void groupIdAndSequence() throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        message.setStringProperty("JMSXGroupID", "group é");
        message.setIntProperty("JMSXGroupSeq", 7);
        Message back = roundTrip(session, message);
        assertEquals("group é", back.getStringProperty("JMSXGroupID"));
        assertEquals(7, back.getIntProperty("JMSXGroupSeq"));
    }

    @Test
    void deliveryTimeIsTheSendersTimeAndTheDelay() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        producer.setDeliveryDelay(400);
        TextMessage message = session.createTextMessage("x");
        producer.send(message);
        assertEquals(400, message.getJMSDeliveryTime() - message.getJMSTimestamp());
        assertEquals(message.getJMSDeliveryTime(), next(session.createConsumer(queue)).getJMSDeliveryTime());
    }

    @Test
    void withoutADelayTheDeliveryTimeIsTheTimestamp() throws Exception {
        Session session = session();
        Message back = roundTrip(session, session.createTextMessage("x"));
        assertEquals(back.getJMSTimestamp(), back.getJMSDeliveryTime());
    }
}
