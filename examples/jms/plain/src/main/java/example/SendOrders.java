package example;

import java.util.List;

import jakarta.jms.JMSContext;
import jakarta.jms.Queue;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Sends orders to a queue: {@code send} returns once the gateway has stored them. */
public final class SendOrders {
    public static void main(String[] arguments) {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (JMSContext context = factory.createContext()) {
            Queue orders = context.createQueue("orders");
            for (String symbol : List.of("ACME", "INIT", "ACME")) {
                context.createProducer().setProperty("symbol", symbol).send(orders, "buy 10 " + symbol);
            }
        }
        System.out.println("sent");
    }
}
