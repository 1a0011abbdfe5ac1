package example;

import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.Topic;
import org.apache.qpid.jms.JmsConnectionFactory;

/** A durable subscription: what is published while this program does not run waits for it. {@code WatchFills end} deletes it. */
public final class WatchFills {
    public static void main(String[] arguments) {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        factory.setClientID("desk-7");
        try (JMSContext context = factory.createContext()) {
            if (arguments.length > 0 && arguments[0].equals("end")) {
                context.unsubscribe("large");
                return;
            }
            Topic fills = context.createTopic("fills.>");
            JMSConsumer consumer = context.createDurableConsumer(fills, "large", "quantity >= 100", false);
            System.out.println("watching");
            for (String fill; (fill = consumer.receiveBody(String.class, 2_000)) != null; ) {
                System.out.println(fill);
            }
        }
    }
}
