package example;

import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import jakarta.jms.TransactionRolledBackException;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.apache.qpid.jms.JmsTransactionInDoubtException;

/** Takes an order and sends what became of it, both or neither: a transaction for each. */
public final class FillOrders {
    public static void main(String[] arguments) throws JMSException {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (Connection connection = factory.createConnection()) {
            connection.start();
            Session session = connection.createSession(Session.SESSION_TRANSACTED);
            MessageConsumer orders = session.createConsumer(session.createQueue("orders"));
            MessageProducer done = session.createProducer(session.createQueue("done"));
            for (Message order; (order = orders.receive(2_000)) != null; ) {
                try {
                    String text = order.getBody(String.class);
                    if (!text.startsWith("buy ")) {
                        // It comes again, with a higher JMSXDeliveryCount, and is a dead letter in the end.
                        session.rollback();
                        continue;
                    }
                    done.send(session.createTextMessage(text + ": done"));
                    session.commit();
                    System.out.println(text + ": done");
                } catch (TransactionRolledBackException rolledBack) {
                    // Nothing of it was done: the order comes again.
                    System.out.println("rolled back");
                } catch (JmsTransactionInDoubtException inDoubt) {
                    // The connection broke during the commit, so all of it was done, or nothing: if nothing, the order comes again.
                    System.out.println("in doubt");
                }
            }
        }
    }
}
