package example;

import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Sends corrected orders in place of those that were dead letters; each is in one queue at any time. */
public final class HandleDeadLetters {
    public static void main(String[] arguments) throws JMSException {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (JMSContext context = factory.createContext(JMSContext.SESSION_TRANSACTED)) {
            JMSConsumer dead = context.createConsumer(context.createQueue("DLQ.orders"));
            for (Message letter; (letter = dead.receive(2_000)) != null; ) {
                String text = letter.getBody(String.class);
                context.createProducer().send(context.createQueue("orders"), "buy " + text);
                context.commit();
                System.out.println("corrected: " + text);
            }
        }
    }
}
