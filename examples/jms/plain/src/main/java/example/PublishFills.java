package example;

import jakarta.jms.JMSContext;
import jakarta.jms.Topic;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Publishes to a topic. */
public final class PublishFills {
    public static void main(String[] arguments) {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (JMSContext context = factory.createContext()) {
            Topic fills = context.createTopic("fills.eu");
            context.createProducer().setProperty("quantity", 10).send(fills, "10 ACME at 99.5");
            context.createProducer().setProperty("quantity", 500).send(fills, "500 ACME at 99.6");
        }
        System.out.println("published");
    }
}
