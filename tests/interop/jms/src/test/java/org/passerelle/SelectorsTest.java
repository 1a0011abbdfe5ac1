package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;

import jakarta.jms.DeliveryMode;
import jakarta.jms.InvalidSelectorException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Message selectors (Jakarta Messaging 3.1, section 3.8). */
class SelectorsTest extends Client {
    /** What the selectors are about. */
    private static Message subject(Session session) throws Exception {
        TextMessage message = session.createTextMessage("subject");
        message.setJMSType("order");
        message.setJMSCorrelationID("c-1");
        message.setStringProperty("region", "EU");
        message.setStringProperty("quoted", "it's");
        message.setStringProperty("under", "a_c");
        message.setStringProperty("digits", "3");
        message.setIntProperty("n", 3);
        message.setLongProperty("big", 5_000_000_000L);
        message.setDoubleProperty("d", 2.5);
        message.setFloatProperty("f", 0.5f);
        message.setByteProperty("b", (byte) -7);
        message.setShortProperty("s", (short) 300);
        message.setBooleanProperty("yes", true);
        message.setBooleanProperty("no", false);
        return message;
    }

    private void check(String selector, boolean chosen) throws Exception {
        // So it is there when send returns.
        Session session = connectWith("jms.forceSyncSend=true").createSession();
        Queue queue = queue(session);
        MessageConsumer consumer = session.createConsumer(queue, selector);
        try (MessageProducer producer = session.createProducer(queue)) {
            producer.send(subject(session), DeliveryMode.NON_PERSISTENT, 7, 0);
        }
        if (chosen) {
            expect(consumer, "subject");
        } else {
            assertNull(consumer.receiveNoWait(), selector);
            // It is there for who wants it.
            expect(session.createConsumer(queue), "subject");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "region = 'EU'", "region <> 'US'", "n = 3", "n >= 3", "n <= 3", "n > 2", "n < 4", "n <> 4", "3 = n", "n = 3.0", "n > 2.5",
        "big = 5000000000", "big > n", "d = 2.5", "d > n - 1", "f = 0.5", "b = -7", "b < 0", "s = 300", "yes = TRUE",
        "yes", "NOT no", "no = FALSE", "yes <> no", "n BETWEEN 1 AND 3", "n NOT BETWEEN 4 AND 9", "region IN ('US', 'EU')",
        "region NOT IN ('US')", "region LIKE 'E_'", "region LIKE '%U'", "region LIKE 'EU'", "region NOT LIKE 'U%'",
        "under LIKE 'a!_c' ESCAPE '!'", "under LIKE 'abc' OR under LIKE '_!_%' ESCAPE '!'", "missing IS NULL", "region IS NOT NULL",
        "quoted = 'it''s'", "n + 1 = 4", "n - 1 = 2", "n * 2 = 6", "n / 2 = 1.5 OR n / 2 = 1", "-n = -3", "+n = 3", "(n + 1) * 2 = 8",
        "n + 1 * 2 = 5", "region = 'EU' AND n = 3", "region = 'US' OR n = 3", "NOT (region = 'US')", "NOT region = 'US' AND yes",
        "region = 'EU' OR region = 'US' AND n = 99", "missing = 1 OR n = 3", "n=3 and region='EU'",
        "JMSType = 'order'", "JMSCorrelationID = 'c-1'", "JMSPriority = 7", "JMSPriority > 4", "JMSDeliveryMode = 'NON_PERSISTENT'",
        "JMSMessageID LIKE 'ID:%'", "JMSTimestamp > 0", "missing IS NULL AND JMSXGroupID IS NULL", "n = 0x3", "n = 3L", "d < 1e3"})
    void chooses(String selector) throws Exception {
        check(selector, true);
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "region = 'US'", "region <> 'EU'", "region = 'eu'", "n = 4", "n > 3", "n < 3", "n <> 3", "yes = FALSE", "no", "NOT yes",
        "n BETWEEN 4 AND 9", "n NOT BETWEEN 1 AND 5", "region IN ('US', 'UK')", "region NOT IN ('EU')", "region LIKE '_'",
        "region LIKE 'e%'", "region NOT LIKE 'E%'", "under LIKE 'a!%c' ESCAPE '!'", "region IS NULL", "missing IS NOT NULL",
        "missing = 1", "missing <> 1", "NOT (missing = 1)", "missing > 1 AND n = 3", "missing LIKE '%'", "missing NOT LIKE 'x'",
        "missing IN ('a')", "missing NOT IN ('a')", "missing BETWEEN 1 AND 2", "digits = 3", "digits > 2", "n = '3'",
        "n + 1 = 3", "region = 'EU' AND n = 4", "JMSType = 'other'", "JMSPriority < 5", "JMSDeliveryMode = 'PERSISTENT'", "quoted = 'its'"})
    void doesNotChoose(String selector) throws Exception {
        check(selector, false);
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "region =", "= 3", "region = 'EU", "(n = 3", "n = 3)", "n IN ()", "n BETWEEN 1", "region LIKE 3", "AND", "n == 3", "n IS 3",
        "region LIKE 'a' ESCAPE 'ab'", "NOT", "n = 3 AND", "1n = 3", "n ! 3"})
    void whatIsNoSelectorIsRefused(String selector) throws Exception {
        Session session = session();
        Queue queue = queue(session);
        assertThrows(InvalidSelectorException.class, () -> session.createConsumer(queue, selector));
        // The session goes on.
        send(session, queue, "x");
        expect(session.createConsumer(queue), "x");
    }

    @ParameterizedTest
    @ValueSource(strings = {"topic", "durable", "shared", "shared durable", "browser"})
    void whatIsNoSelectorIsRefusedWhereverItIsGiven(String where) throws Exception {
        Session session = connectAs(unique("client")).createSession();
        Topic topic = topic(session);
        Queue queue = queue(session);
        String name = unique("s").replace('.', '-');
        String bad = "n = ";
        assertThrows(InvalidSelectorException.class, () -> {
            switch (where) {
                case "topic" -> session.createConsumer(topic, bad);
                case "durable" -> session.createDurableConsumer(topic, name, bad, false);
                case "shared" -> session.createSharedConsumer(topic, name, bad);
                case "shared durable" -> session.createSharedDurableConsumer(topic, name, bad);
                default -> session.createBrowser(queue, bad).getEnumeration();
            }
        });
    }

    @Test
    void anEmptySelectorIsNone() throws Exception {
        check("", true);
    }

    @Test
    void consumersOfAQueueShareItByTheirSelectors() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageConsumer even = session.createConsumer(queue, "n IN ('0', '2', '4', '6', '8')");
        MessageConsumer odd = session.createConsumer(queue, "n IN ('1', '3', '5', '7', '9')");
        MessageProducer producer = session.createProducer(queue);
        for (int index = 0; index < 10; index++) {
            TextMessage message = session.createTextMessage("m" + index);
            message.setStringProperty("n", String.valueOf(index));
            producer.send(message);
        }
        expect(odd, "m1", "m3", "m5", "m7", "m9");
        expect(even, "m0", "m2", "m4", "m6", "m8");
    }

    @Test
    void whatNoSelectorChoosesHoldsNothingUp() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        for (int index = 0; index < 50; index++) {
            producer.send(session.createTextMessage("other"));
        }
        TextMessage wanted = session.createTextMessage("wanted");
        wanted.setIntProperty("n", 1);
        producer.send(wanted);
        expect(session.createConsumer(queue, "n = 1"), "wanted");
        assertEquals(50, drain(session.createConsumer(queue)).size());
    }

    @Test
    void subscribersOfATopicChooseForThemselves() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer cheap = session.createConsumer(topic, "price < 10");
        MessageConsumer dear = session.createConsumer(topic, "price >= 10");
        MessageConsumer all = session.createConsumer(topic);
        MessageProducer producer = session.createProducer(topic);
        for (int price : new int[] {5, 15, 9, 10}) {
            TextMessage message = session.createTextMessage("p" + price);
            message.setIntProperty("price", price);
            producer.send(message);
        }
        expect(all, "p5", "p15", "p9", "p10");
        expect(cheap, "p5", "p9");
        expect(dear, "p15", "p10");
        nothing(cheap);
        nothing(dear);
    }

    @Test
    void groupsAndDeliveryCountsCanBeSelected() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        for (String group : List.of("a", "b")) {
            TextMessage message = session.createTextMessage(group);
            message.setStringProperty("JMSXGroupID", group);
            producer.send(message);
        }
        expect(session.createConsumer(queue, "JMSXGroupID = 'b'"), "b");
        expect(session.createConsumer(queue, "JMSXGroupID = 'a'"), "a");
    }

    @Test
    void aMessageIdSelectsOne() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        TextMessage second = null;
        for (String text : numbered(3)) {
            TextMessage message = session.createTextMessage(text);
            producer.send(message);
            second = text.equals("m1") ? message : second;
        }
        MessageConsumer consumer = session.createConsumer(queue, "JMSMessageID = '" + second.getJMSMessageID() + "'");
        expect(consumer, "m1");
        assertNull(consumer.receiveNoWait());
    }

    @Test
    void aCorrelationIdSelectsAReply() throws Exception {
        Session session = session();
        Queue replies = queue(session);
        MessageProducer producer = session.createProducer(replies);
        for (String id : List.of("r-1", "r-2", "r-3")) {
            TextMessage message = session.createTextMessage("for " + id);
            message.setJMSCorrelationID(id);
            producer.send(message);
        }
        expect(session.createConsumer(replies, "JMSCorrelationID = 'r-2'"), "for r-2");
        expect(session.createConsumer(replies, "JMSCorrelationID = 'r-1'"), "for r-1");
    }
}
