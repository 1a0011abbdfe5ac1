package example;

import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Takes orders from a queue, and acknowledges each when it is done with it, until none has come for two seconds. */
public final class TakeOrders {
    public static void main(String[] arguments) throws JMSException {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (JMSContext context = factory.createContext(JMSContext.CLIENT_ACKNOWLEDGE)) {
            JMSConsumer consumer = context.createConsumer(context.createQueue("orders"));
            for (Message message; (message = consumer.receive(2_000)) != null; ) {
                System.out.println(message.getStringProperty("symbol") + ": " + message.getBody(String.class));
                message.acknowledge();
            }
        }
    }
}
