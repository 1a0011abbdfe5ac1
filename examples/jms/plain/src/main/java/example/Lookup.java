package example;

import javax.naming.Context;
import javax.naming.InitialContext;
import javax.naming.NamingException;

import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSContext;
import jakarta.jms.Queue;

/** Sends and receives by what {@code jndi.properties} says: {@code Lookup}, or {@code Lookup tls}, {@code websocket}, {@code failover}. */
public final class Lookup {
    public static void main(String[] arguments) throws NamingException {
        Context names = new InitialContext();
        ConnectionFactory factory = (ConnectionFactory) names.lookup(arguments.length > 0 ? arguments[0] : "gateway");
        Queue queue = (Queue) names.lookup("hello");
        try (JMSContext context = factory.createContext()) {
            context.createProducer().send(queue, "hello from Java");
            System.out.println(context.createConsumer(queue).receiveBody(String.class, 5_000));
        }
    }
}
