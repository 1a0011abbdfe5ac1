package example;

import java.util.List;

import jakarta.jms.DeliveryMode;
import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.TemporaryQueue;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Requests, whose replies come to a temporary queue. */
public final class AskQuotes {
    public static void main(String[] arguments) {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (JMSContext context = factory.createContext()) {
            TemporaryQueue replies = context.createTemporaryQueue();
            JMSConsumer consumer = context.createConsumer(replies);
            for (String symbol : List.of("ACME", "INIT")) {
                context.createProducer()
                    .setJMSReplyTo(replies)
                    .setDeliveryMode(DeliveryMode.NON_PERSISTENT)
                    .setTimeToLive(5_000)
                    .send(context.createQueue("quotes"), symbol);
                String reply = consumer.receiveBody(String.class, 5_000);
                System.out.println(reply == null ? symbol + ": no reply" : reply);
            }
        }
    }
}
