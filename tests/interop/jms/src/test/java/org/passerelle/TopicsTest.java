package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;

import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.InvalidDestinationException;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Topics and their subscriptions (Jakarta Messaging 3.1, sections 4.2 and 8.3). */
class TopicsTest extends Client {
    private static String name() {
        return unique("sub").replace('.', '-');
    }

    private static void sendNumber(Session session, Topic topic, int n) throws JMSException {
        try (MessageProducer producer = session.createProducer(topic)) {
            TextMessage message = session.createTextMessage("n" + n);
            message.setIntProperty("n", n);
            producer.send(message);
        }
    }

    @Test
    void eachSubscriberGetsEachMessageInOrder() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer same = session.createConsumer(topic);
        MessageConsumer other = session().createConsumer(topic);
        send(session, topic, numbered(100));
        expect(same, numbered(100));
        expect(other, numbered(100));
    }

    @Test
    void whoComesLaterGetsNothingOfBefore() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        send(session, topic, "before");
        MessageConsumer consumer = session.createConsumer(topic);
        send(session, topic, "after");
        expect(consumer, "after");
        nothing(consumer);
    }

    @Test
    void whoHasClosedGetsNothingMore() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer first = session.createConsumer(topic);
        send(session, topic, "one");
        expect(first, "one");
        first.close();
        send(session, topic, "two");
        MessageConsumer second = session.createConsumer(topic);
        send(session, topic, "three");
        expect(second, "three");
    }

    @Test
    void persistentAndNonPersistentKeepOneOrder() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(topic);
        for (int index = 0; index < 40; index++) {
            int mode = index % 2 == 0 ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT;
            producer.send(session.createTextMessage("m" + index), mode, 4, 0);
        }
        expect(consumer, numbered(40));
    }

    @Test
    void noLocalLeavesOutTheConnectionsOwn() throws Exception {
        Connection connection = connect();
        Session session = connection.createSession();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic, null, true);
        MessageConsumer all = connection.createSession().createConsumer(topic);
        send(connection.createSession(), topic, "own");
        send(session(), topic, "other's");
        expect(all, "own", "other's");
        expect(consumer, "other's");
        nothing(consumer);
    }

    @Test
    void noLocalWithASelector() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic, "n > 1", true);
        sendNumber(session, topic, 5);
        Session other = session();
        sendNumber(other, topic, 1);
        sendNumber(other, topic, 2);
        expect(consumer, "n2");
        nothing(consumer);
    }

    @Test
    void aDurableSubscriptionGetsWhatIsSentWhileNobodyListens() throws Exception {
        String client = unique("client");
        String name = name();
        Session sender = session();
        Topic topic = topic(sender);
        Connection first = connectAs(client);
        MessageConsumer consumer = first.createSession().createDurableConsumer(topic, name);
        send(sender, topic, "one");
        expect(consumer, "one");
        first.close();
        send(sender, topic, "two", "three");
        Session session = connectAs(client).createSession();
        MessageConsumer again = session.createDurableConsumer(topic, name);
        send(sender, topic, "four");
        expect(again, "two", "three", "four");
        again.close();
        session.unsubscribe(name);
    }

    @Test
    void whatADurableSubscriberDidNotAcknowledgeComesAgain() throws Exception {
        String client = unique("client");
        String name = name();
        Connection first = connectAs(client);
        Session session = first.createSession(Session.CLIENT_ACKNOWLEDGE);
        Topic topic = topic(session);
        MessageConsumer consumer = session.createDurableConsumer(topic, name);
        send(session, topic, "one", "two");
        Message one = next(consumer);
        one.acknowledge();
        assertEquals("two", nextText(consumer));
        first.close();
        Session again = connectAs(client).createSession();
        MessageConsumer second = again.createDurableConsumer(topic, name);
        Message two = next(second);
        assertEquals("two", text(two));
        assertTrue(two.getJMSRedelivered());
        nothing(second);
        second.close();
        again.unsubscribe(name);
    }

    @Test
    void anUnsubscribedNameStartsEmpty() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic topic = topic(session);
        String name = name();
        session.createDurableConsumer(topic, name).close();
        send(session, topic, "lost");
        session.unsubscribe(name);
        MessageConsumer consumer = session.createDurableConsumer(topic, name);
        send(session, topic, "kept");
        expect(consumer, "kept");
        consumer.close();
        session.unsubscribe(name);
    }

    @Test
    void unsubscribingWhatIsNotThereIsAnError() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        assertThrows(InvalidDestinationException.class, () -> session.unsubscribe(name()));
    }

    @Test
    void unsubscribingWhileSomeoneListensIsAnError() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic topic = topic(session);
        String name = name();
        MessageConsumer consumer = session.createDurableConsumer(topic, name);
        assertThrows(JMSException.class, () -> session.unsubscribe(name));
        send(session, topic, "x");
        expect(consumer, "x");
        consumer.close();
        session.unsubscribe(name);
    }

    @Test
    void aDurableSubscriptionHasOneConsumer() throws Exception {
        Connection connection = connectAs(unique("client"));
        Session session = connection.createSession();
        Topic topic = topic(session);
        String name = name();
        MessageConsumer consumer = session.createDurableConsumer(topic, name);
        assertThrows(JMSException.class, () -> connection.createSession().createDurableConsumer(topic, name));
        send(session, topic, "x");
        expect(consumer, "x");
    }

    @Test
    void anotherSelectorMakesADurableSubscriptionNew() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic topic = topic(session);
        String name = name();
        session.createDurableConsumer(topic, name, "n = 1", false).close();
        sendNumber(session, topic, 1);
        MessageConsumer consumer = session.createDurableConsumer(topic, name, "n = 2", false);
        sendNumber(session, topic, 1);
        sendNumber(session, topic, 2);
        expect(consumer, "n2");
        nothing(consumer);
    }

    @Test
    void anotherTopicMakesADurableSubscriptionNew() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic first = topic(session);
        Topic second = topic(session);
        String name = name();
        session.createDurableConsumer(first, name).close();
        send(session, first, "of the first");
        MessageConsumer consumer = session.createDurableConsumer(second, name);
        send(session, first, "of the first");
        send(session, second, "of the second");
        expect(consumer, "of the second");
        nothing(consumer);
    }

    @Test
    void theSameSelectorKeepsADurableSubscription() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic topic = topic(session);
        String name = name();
        session.createDurableConsumer(topic, name, "n > 1", false).close();
        for (int n = 0; n < 4; n++) {
            sendNumber(session, topic, n);
        }
        MessageConsumer consumer = session.createDurableConsumer(topic, name, "n > 1", false);
        expect(consumer, "n2", "n3");
        nothing(consumer);
    }

    @Test
    void clientsHaveSubscriptionsOfTheirOwn() throws Exception {
        Session one = connectAs(unique("client")).createSession();
        Session other = connectAs(unique("client")).createSession();
        Topic topic = topic(one);
        String name = name();
        MessageConsumer first = one.createDurableConsumer(topic, name);
        MessageConsumer second = other.createDurableConsumer(topic, name);
        send(one, topic, "x");
        expect(first, "x");
        expect(second, "x");
    }

    @Test
    void aDurableSubscriptionWithNoLocal() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createDurableConsumer(topic, name(), null, true);
        send(session, topic, "own");
        send(session(), topic, "other's");
        expect(consumer, "other's");
        nothing(consumer);
    }

    /** 50 messages are shared by two consumers: each of them once. */
    private void shared(Session sender, Topic topic, MessageConsumer one, MessageConsumer other) throws Exception {
        send(sender, topic, numbered(50));
        Set<String> seen = new HashSet<>();
        int[] counts = new int[2];
        long end = System.currentTimeMillis() + SOON;
        for (int turn = 0; seen.size() < 50 && System.currentTimeMillis() < end; turn++) {
            Message message = (turn % 2 == 0 ? one : other).receive(QUIET);
            if (message != null) {
                counts[turn % 2]++;
                assertTrue(seen.add(text(message)), () -> "twice: " + message);
            }
        }
        assertEquals(50, seen.size());
        nothing(one);
        nothing(other);
        assertTrue(counts[0] > 0 && counts[1] > 0, () -> counts[0] + " and " + counts[1]);
    }

    @Test
    void consumersShareASubscription() throws Exception {
        Session one = connectWith("jms.prefetchPolicy.all=10").createSession();
        Session other = connectWith("jms.prefetchPolicy.all=10").createSession();
        Topic topic = topic(one);
        String name = name();
        MessageConsumer all = session().createConsumer(topic);
        shared(one, topic, one.createSharedConsumer(topic, name), other.createSharedConsumer(topic, name));
        expect(all, numbered(50));
    }

    @Test
    void consumersShareASubscriptionWithinAClient() throws Exception {
        Connection connection = connectAs(unique("client"));
        Session one = connection.createSession();
        Session other = connection.createSession();
        Topic topic = topic(one);
        String name = name();
        MessageConsumer first = one.createSharedConsumer(topic, name);
        MessageConsumer second = other.createSharedConsumer(topic, name);
        // Another client's of the same name is another subscription.
        MessageConsumer stranger = connectAs(unique("client")).createSession().createSharedConsumer(topic, name);
        shared(one, topic, first, second);
        expect(stranger, numbered(50));
    }

    @Test
    void aSharedSubscriptionEndsWithItsLastConsumer() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        String name = name();
        session.createSharedConsumer(topic, name).close();
        send(session, topic, "lost");
        MessageConsumer consumer = session.createSharedConsumer(topic, name);
        send(session, topic, "kept");
        expect(consumer, "kept");
        nothing(consumer);
    }

    @Test
    void aSharedSubscriptionWithASelector() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createSharedConsumer(topic, name(), "n > 1");
        sendNumber(session, topic, 1);
        sendNumber(session, topic, 2);
        expect(consumer, "n2");
        nothing(consumer);
    }

    @Test
    void consumersShareADurableSubscription() throws Exception {
        Session one = connectWith("jms.prefetchPolicy.all=10").createSession();
        Session other = connectWith("jms.prefetchPolicy.all=10").createSession();
        Topic topic = topic(one);
        String name = name();
        MessageConsumer first = one.createSharedDurableConsumer(topic, name);
        MessageConsumer second = other.createSharedDurableConsumer(topic, name);
        shared(one, topic, first, second);
        first.close();
        second.close();
        one.unsubscribe(name);
    }

    @Test
    void aSharedDurableSubscriptionLastsWithoutConsumers() throws Exception {
        String name = name();
        Connection first = connect();
        Session session = first.createSession();
        Topic topic = topic(session);
        session.createSharedDurableConsumer(topic, name);
        first.close();
        Session sender = session();
        send(sender, topic, "one", "two");
        MessageConsumer again = sender.createSharedDurableConsumer(topic, name);
        expect(again, "one", "two");
        again.close();
        sender.unsubscribe(name);
        send(sender, topic, "lost");
        MessageConsumer third = sender.createSharedDurableConsumer(topic, name);
        nothing(third);
        third.close();
        sender.unsubscribe(name);
    }

    @Test
    void aSharedDurableSubscriptionOfAClient() throws Exception {
        String client = unique("client");
        String name = name();
        Connection first = connectAs(client);
        Session session = first.createSession();
        Topic topic = topic(session);
        session.createSharedDurableConsumer(topic, name);
        first.close();
        send(session(), topic, "one");
        Session again = connectAs(client).createSession();
        MessageConsumer consumer = again.createSharedDurableConsumer(topic, name);
        expect(consumer, "one");
        consumer.close();
        again.unsubscribe(name);
    }

    @Test
    void aSharedDurableSubscriptionInUseKeepsItsSelector() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        String name = name();
        MessageConsumer consumer = session.createSharedDurableConsumer(topic, name, "n = 1");
        Session other = session();
        assertThrows(JMSException.class, () -> other.createSharedDurableConsumer(topic, name, "n = 2"));
        sendNumber(session, topic, 1);
        expect(consumer, "n1");
    }

    @Test
    void durableAndSharedDurableDoNotMix() throws Exception {
        Connection connection = connectAs(unique("client"));
        Session session = connection.createSession();
        Topic topic = topic(session);
        String name = name();
        MessageConsumer consumer = session.createDurableConsumer(topic, name);
        assertThrows(JMSException.class, () -> connection.createSession().createSharedDurableConsumer(topic, name));
        send(session, topic, "x");
        expect(consumer, "x");
    }

    @Test
    void aSharedConsumersPrefetchGoesToTheOthersWhenItCloses() throws Exception {
        Session one = session();
        Session other = session();
        Topic topic = topic(one);
        String name = name();
        MessageConsumer first = one.createSharedConsumer(topic, name);
        MessageConsumer second = other.createSharedConsumer(topic, name);
        send(one, topic, numbered(20));
        first.close();
        Set<String> seen = new HashSet<>(texts(second, 20));
        assertEquals(20, seen.size());
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aDurableSubscriptionKeepsBothDeliveryModes(boolean persistent) throws Exception {
        // What is not persistent is on its way when send returns, unless it is told to wait.
        Session session = connectWith("jms.forceSyncSend=true&jms.clientID=" + unique("client")).createSession();
        Topic topic = topic(session);
        String name = name();
        session.createDurableConsumer(topic, name).close();
        MessageProducer producer = session.createProducer(topic);
        producer.setDeliveryMode(persistent ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("x"));
        producer.setPriority(9);
        producer.send(session.createTextMessage("urgent"));
        MessageConsumer consumer = session.createDurableConsumer(topic, name);
        expect(consumer, "urgent", "x");
    }

    @Test
    void whatExpiresInADurableSubscriptionDoesNotCome() throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic topic = topic(session);
        String name = name();
        session.createDurableConsumer(topic, name).close();
        MessageProducer producer = session.createProducer(topic);
        producer.setTimeToLive(100);
        producer.send(session.createTextMessage("short-lived"));
        send(session, topic, "kept");
        Thread.sleep(300);
        MessageConsumer consumer = session.createDurableConsumer(topic, name);
        expect(consumer, "kept");
        nothing(consumer);
    }

    @Test
    void aDelayedMessageToATopicComesWhenItIsTime() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(topic);
        producer.setDeliveryDelay(600);
        producer.send(session.createTextMessage("later"));
        assertNull(consumer.receive(QUIET));
        assertNotNull(consumer.receive(SOON));
    }

    @Test
    void whatIsRecoveredOfATopicComesAgain() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Topic topic = topic(session);
        MessageConsumer consumer = session.createConsumer(topic);
        send(session(), topic, numbered(3));
        expect(consumer, "m0", "m1");
        session.recover();
        Message first = next(consumer);
        assertEquals("m0", text(first));
        assertTrue(first.getJMSRedelivered());
        expect(consumer, "m1", "m2");
        first.acknowledge();
        session.recover();
        nothing(consumer);
    }
}
