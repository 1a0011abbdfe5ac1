package example;

import java.util.concurrent.CountDownLatch;

import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSException;
import jakarta.jms.JMSRuntimeException;
import jakarta.jms.Message;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Replies to requests, until it is stopped. */
public final class AnswerQuotes {
    public static void main(String[] arguments) throws InterruptedException {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret", uri);
        try (JMSContext context = factory.createContext()) {
            JMSConsumer requests = context.createConsumer(context.createQueue("quotes"));
            requests.setMessageListener(request -> {
                try {
                    Message reply = context.createTextMessage(request.getBody(String.class) + " 99.5");
                    reply.setJMSCorrelationID(request.getJMSMessageID());
                    context.createProducer().send(request.getJMSReplyTo(), reply);
                } catch (JMSException | JMSRuntimeException error) {
                    // Of who asked and has gone the temporary queue has gone too.
                    System.out.println("no reply: " + error.getMessage());
                }
            });
            System.out.println("answering");
            new CountDownLatch(1).await();
        }
    }
}
