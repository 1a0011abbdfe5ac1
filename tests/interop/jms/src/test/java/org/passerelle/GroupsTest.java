package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import org.junit.jupiter.api.Test;

/** JMSXGroupID and JMSXGroupSeq (Jakarta Messaging 3.1, section 3.5.11): a group has one consumer, in order. */
class GroupsTest extends Client {
    private static void sendGroups(Session session, Queue queue, int groups, int each) throws Exception {
        try (MessageProducer producer = session.createProducer(queue)) {
            for (int index = 0; index < groups * each; index++) {
                TextMessage message = session.createTextMessage("m" + index);
                message.setStringProperty("JMSXGroupID", "g" + index % groups);
                message.setIntProperty("JMSXGroupSeq", index / groups + 1);
                producer.send(message);
            }
        }
    }

    /** All that consumers get, in turn. */
    private static Map<Integer, List<Message>> collect(int count, MessageConsumer... consumers) throws Exception {
        Map<Integer, List<Message>> all = new HashMap<>();
        long until = System.currentTimeMillis() + SOON;
        for (int got = 0, turn = 0; got < count && System.currentTimeMillis() < until; turn++) {
            Message message = consumers[turn % consumers.length].receive(50);
            if (message != null) {
                got++;
                all.computeIfAbsent(turn % consumers.length, any -> new ArrayList<>()).add(message);
            }
        }
        assertEquals(count, all.values().stream().mapToInt(List::size).sum());
        return all;
    }

    @Test
    void aGroupHasOneConsumerAndItsOrder() throws Exception {
        Session one = session();
        Session other = session();
        Queue queue = queue(one);
        MessageConsumer first = one.createConsumer(queue);
        MessageConsumer second = other.createConsumer(queue);
        sendGroups(one, queue, 10, 10);
        Map<String, Integer> owners = new HashMap<>();
        Map<String, Integer> last = new HashMap<>();
        for (var entry : collect(100, first, second).entrySet()) {
            for (Message message : entry.getValue()) {
                String group = message.getStringProperty("JMSXGroupID");
                Integer owner = owners.putIfAbsent(group, entry.getKey());
                assertTrue(owner == null || owner.equals(entry.getKey()), () -> group + " has two consumers");
                int sequence = message.getIntProperty("JMSXGroupSeq");
                assertEquals(last.getOrDefault(group, 0) + 1, sequence, group);
                last.put(group, sequence);
            }
        }
        assertEquals(10, owners.size());
    }

    @Test
    void groupsAreDividedAmongConsumers() throws Exception {
        Session one = connectWith("jms.prefetchPolicy.all=20").createSession();
        Session other = connectWith("jms.prefetchPolicy.all=20").createSession();
        Queue queue = queue(one);
        MessageConsumer first = one.createConsumer(queue);
        MessageConsumer second = other.createConsumer(queue);
        sendGroups(one, queue, 20, 3);
        assertEquals(Set.of(0, 1), collect(60, first, second).keySet());
    }

    @Test
    void aGroupGoesToAnotherWhenItsConsumerCloses() throws Exception {
        Session one = session();
        Session other = session();
        Queue queue = queue(one);
        MessageConsumer first = one.createConsumer(queue);
        sendGroups(one, queue, 1, 5);
        assertEquals("m0", nextText(first));
        MessageConsumer second = other.createConsumer(queue);
        first.close();
        expect(second, "m1", "m2", "m3", "m4");
    }

    @Test
    void messagesWithoutAGroupGoToAny() throws Exception {
        Session one = connectWith("jms.prefetchPolicy.all=5").createSession();
        Session other = connectWith("jms.prefetchPolicy.all=5").createSession();
        Queue queue = queue(one);
        MessageConsumer first = one.createConsumer(queue);
        MessageConsumer second = other.createConsumer(queue);
        sendGroups(one, queue, 1, 3);
        send(one, queue, numbered("free", 40));
        Set<Integer> owners = new HashSet<>();
        Set<Integer> ofGroup = new HashSet<>();
        for (var entry : collect(43, first, second).entrySet()) {
            for (Message message : entry.getValue()) {
                (message.propertyExists("JMSXGroupID") ? ofGroup : owners).add(entry.getKey());
            }
        }
        assertEquals(2, owners.size());
        assertEquals(1, ofGroup.size());
    }
}
