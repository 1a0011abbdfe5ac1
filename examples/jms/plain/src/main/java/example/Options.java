package example;

import java.util.concurrent.CompletableFuture;

import jakarta.jms.CompletionListener;
import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.Queue;
import org.apache.qpid.jms.JmsConnectionFactory;

/** What a message may have besides its body, and who gets it. */
public final class Options {
    public static void main(String[] arguments) throws JMSException {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (JMSContext context = factory.createContext()) {
            Queue tickets = context.createQueue("tickets");

            // A group: all of it goes to one consumer, in order.
            for (int number = 1; number <= 2; number++) {
                context.createProducer().setProperty("JMSXGroupID", "customer-17").send(tickets, "step " + number);
            }

            // Before others, and dropped if nobody takes it within a minute.
            context.createProducer().setPriority(9).setTimeToLive(60_000).send(tickets, "urgent");

            // Not to be delivered earlier than in a second.
            context.createProducer().setDeliveryDelay(1_000).send(tickets, "later");

            // Without waiting for each reply: many may be on their way at a time.
            var stored = new CompletableFuture<Void>();
            context.createProducer()
                .setProperty("region", "EU")
                .setAsync(new CompletionListener() {
                    @Override
                    public void onCompletion(Message message) {
                        stored.complete(null);
                    }

                    @Override
                    public void onException(Message message, Exception error) {
                        stored.completeExceptionally(error);
                    }
                })
                .send(tickets, "from the EU");
            stored.join();

            // A selector chooses by properties; what it does not choose stays for others.
            try (JMSConsumer european = context.createConsumer(tickets, "region = 'EU'")) {
                System.out.println(european.receiveBody(String.class, 2_000));
            }
            JMSConsumer consumer = context.createConsumer(tickets);
            for (Message ticket; (ticket = consumer.receive(2_000)) != null; ) {
                System.out.println(ticket.getBody(String.class));
            }
        }
    }
}
