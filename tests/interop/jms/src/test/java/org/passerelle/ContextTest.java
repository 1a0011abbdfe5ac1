package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import jakarta.jms.CompletionListener;
import jakarta.jms.DeliveryMode;
import jakarta.jms.IllegalStateRuntimeException;
import jakarta.jms.InvalidClientIDRuntimeException;
import jakarta.jms.InvalidSelectorRuntimeException;
import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSRuntimeException;
import jakarta.jms.JMSSecurityRuntimeException;
import jakarta.jms.Message;
import jakarta.jms.Queue;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.Topic;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.junit.jupiter.api.Test;

/** The simplified API (Jakarta Messaging 3.1, section 2.8). */
class ContextTest extends Client {
    private JMSContext context() {
        return factory().createContext();
    }

    @Test
    void sendsAndReceives() {
        try (JMSContext context = context()) {
            Queue queue = context.createQueue(unique("queue"));
            context.createProducer().send(queue, "a text");
            assertEquals("a text", context.createConsumer(queue).receiveBody(String.class, SOON));
        }
    }

    @Test
    void bodiesOfAllTypes() {
        try (JMSContext context = context()) {
            Queue queue = context.createQueue(unique("queue"));
            context.createProducer().send(queue, new byte[] {1, 2}).send(queue, Map.of("k", 7)).send(queue, (java.io.Serializable) List.of("o"));
            JMSConsumer consumer = context.createConsumer(queue);
            assertEquals(2, consumer.receiveBody(byte[].class, SOON).length);
            assertEquals(7, consumer.receiveBody(Map.class, SOON).get("k"));
            assertEquals(List.of("o"), consumer.receiveBody(List.class, SOON));
            assertNull(consumer.receiveBodyNoWait(String.class));
        }
    }

    @Test
    void whatTheProducerWasTold() throws Exception {
        try (JMSContext context = context()) {
            Queue queue = context.createQueue(unique("queue"));
            Queue replies = context.createQueue(unique("queue"));
            context.createProducer().setPriority(8).setDeliveryMode(DeliveryMode.NON_PERSISTENT).setTimeToLive(60_000)
                .setJMSCorrelationID("c").setJMSType("t").setJMSReplyTo(replies)
                .setProperty("n", 5).setProperty("s", "x").setProperty("flag", true).send(queue, "body");
            Message message = context.createConsumer(queue).receive(SOON);
            assertEquals(8, message.getJMSPriority());
            assertEquals(DeliveryMode.NON_PERSISTENT, message.getJMSDeliveryMode());
            assertTrue(message.getJMSExpiration() > 0);
            assertEquals("c", message.getJMSCorrelationID());
            assertEquals("t", message.getJMSType());
            assertEquals(replies.getQueueName(), ((Queue) message.getJMSReplyTo()).getQueueName());
            assertEquals(5, message.getIntProperty("n"));
            assertEquals("x", message.getStringProperty("s"));
            assertTrue(message.getBooleanProperty("flag"));
        }
    }

    @Test
    void transacted() {
        try (JMSContext context = factory().createContext(JMSContext.SESSION_TRANSACTED); JMSContext other = context()) {
            Queue queue = context.createQueue(unique("queue"));
            JMSConsumer consumer = other.createConsumer(queue);
            context.createProducer().send(queue, "dropped");
            context.rollback();
            context.createProducer().send(queue, "kept");
            assertNull(consumer.receiveBody(String.class, QUIET));
            context.commit();
            assertEquals("kept", consumer.receiveBody(String.class, SOON));
        }
    }

    @Test
    void clientAcknowledge() throws Exception {
        Queue queue;
        try (JMSContext context = factory().createContext(JMSContext.CLIENT_ACKNOWLEDGE)) {
            queue = context.createQueue(unique("queue"));
            context.createProducer().send(queue, "a").send(queue, "b").send(queue, "c");
            JMSConsumer consumer = context.createConsumer(queue);
            assertNotNull(consumer.receive(SOON));
            context.acknowledge();
            assertNotNull(consumer.receive(SOON));
            context.recover();
            Message again = consumer.receive(SOON);
            assertEquals("b", again.getBody(String.class));
            assertTrue(again.getJMSRedelivered());
        }
        try (JMSContext context = context()) {
            JMSConsumer consumer = context.createConsumer(queue);
            assertEquals("b", consumer.receiveBody(String.class, SOON));
            assertEquals("c", consumer.receiveBody(String.class, SOON));
        }
    }

    @Test
    void aContextOfAContextSharesTheConnection() {
        try (JMSContext context = context()) {
            context.setClientID(unique("client"));
            JMSContext second = context.createContext(JMSContext.AUTO_ACKNOWLEDGE);
            assertEquals(context.getClientID(), second.getClientID());
            TemporaryQueue queue = context.createTemporaryQueue();
            context.createProducer().send(queue, "x");
            assertEquals("x", second.createConsumer(queue).receiveBody(String.class, SOON));
            second.close();
            context.createProducer().send(queue, "y");
            assertEquals("y", context.createConsumer(queue).receiveBody(String.class, SOON));
        }
    }

    @Test
    void withoutAutoStartNothingComes() {
        try (JMSContext context = context()) {
            context.setAutoStart(false);
            Queue queue = context.createQueue(unique("queue"));
            JMSConsumer consumer = context.createConsumer(queue);
            context.createProducer().send(queue, "x");
            assertNull(consumer.receive(QUIET));
            context.start();
            assertEquals("x", consumer.receiveBody(String.class, SOON));
        }
    }

    @Test
    void aListener() throws Exception {
        try (JMSContext context = context(); JMSContext sender = context()) {
            Topic topic = context.createTopic(unique("topic"));
            BlockingQueue<Message> heard = new LinkedBlockingQueue<>();
            context.createConsumer(topic).setMessageListener(heard::add);
            sender.createProducer().send(topic, "x");
            assertEquals("x", heard.poll(SOON, TimeUnit.MILLISECONDS).getBody(String.class));
        }
    }

    @Test
    void asynchronousSends() throws Exception {
        try (JMSContext context = context()) {
            Queue queue = context.createQueue(unique("queue"));
            BlockingQueue<String> told = new LinkedBlockingQueue<>();
            var producer = context.createProducer().setAsync(new CompletionListener() {
                @Override
                public void onCompletion(Message message) {
                    told.add("sent");
                }

                @Override
                public void onException(Message message, Exception error) {
                    told.add(error.toString());
                }
            });
            for (String text : numbered(20)) {
                producer.send(queue, text);
            }
            for (int count = 0; count < 20; count++) {
                assertEquals("sent", told.poll(SOON, TimeUnit.MILLISECONDS));
            }
            JMSConsumer consumer = context.createConsumer(queue);
            for (String text : numbered(20)) {
                assertEquals(text, consumer.receiveBody(String.class, SOON));
            }
        }
    }

    @Test
    void durableAndSharedSubscriptions() {
        String client = unique("client");
        try (JMSContext context = context()) {
            context.setClientID(client);
            Topic topic = context.createTopic(unique("topic"));
            context.createDurableConsumer(topic, "durable").close();
            JMSConsumer shared = context.createSharedConsumer(topic, "shared");
            context.createSharedDurableConsumer(topic, "both").close();
            context.createProducer().send(topic, "x");
            JMSConsumer durable = context.createDurableConsumer(topic, "durable");
            JMSConsumer both = context.createSharedDurableConsumer(topic, "both");
            for (JMSConsumer consumer : List.of(shared, durable, both)) {
                assertEquals("x", consumer.receiveBody(String.class, SOON));
                consumer.close();
            }
            context.unsubscribe("durable");
            context.unsubscribe("both");
            assertThrows(JMSRuntimeException.class, () -> context.unsubscribe("both"));
        }
    }

    @Test
    void aBrowser() throws Exception {
        try (JMSContext context = context()) {
            Queue queue = context.createQueue(unique("queue"));
            context.createProducer().send(queue, "a").send(queue, "b");
            var messages = context.createBrowser(queue).getEnumeration();
            assertEquals("a", ((Message) messages.nextElement()).getBody(String.class));
            assertEquals("b", ((Message) messages.nextElement()).getBody(String.class));
            assertEquals(false, messages.hasMoreElements());
            assertEquals("a", context.createConsumer(queue).receiveBody(String.class, SOON));
        }
    }

    @Test
    void aDelay() {
        try (JMSContext context = context()) {
            Queue queue = context.createQueue(unique("queue"));
            long before = System.currentTimeMillis();
            context.createProducer().setDeliveryDelay(500).send(queue, "later");
            assertEquals("later", context.createConsumer(queue).receiveBody(String.class, SOON));
            assertTrue(System.currentTimeMillis() - before >= 490);
        }
    }

    @Test
    void refusals() {
        assertThrows(JMSSecurityRuntimeException.class,
            () -> new JmsConnectionFactory(provider.user, "wrong", provider.uri()).createContext().start());
        try (JMSContext context = context()) {
            Queue queue = context.createQueue(unique("queue"));
            assertThrows(InvalidSelectorRuntimeException.class, () -> context.createConsumer(queue, "n ="));
            assertThrows(IllegalStateRuntimeException.class, context::commit);
            context.createProducer().send(queue, "x");
            assertEquals("x", context.createConsumer(queue).receiveBody(String.class, SOON));
        }
        String client = unique("client");
        try (JMSContext context = context(); JMSContext other = context()) {
            context.setClientID(client);
            assertThrows(InvalidClientIDRuntimeException.class, () -> other.setClientID(client));
        }
    }
}
