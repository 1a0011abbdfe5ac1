package example;

import java.util.concurrent.CountDownLatch;

import jakarta.jms.JMSConsumer;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSException;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Works on what comes, also after the gateway was away: with a failover URI the client connects again and goes on. */
public final class Worker {
    public static void main(String[] arguments) throws InterruptedException {
        String uri = System.getenv().getOrDefault("GATEWAY", "amqp://127.0.0.1:8080");
        var factory = new JmsConnectionFactory("ann", "secret",
            "failover:(" + uri + ")?failover.reconnectDelay=100&failover.maxReconnectDelay=5000"
                + "&jms.prefetchPolicy.queuePrefetch=10");
        try (JMSContext context = factory.createContext(JMSContext.SESSION_TRANSACTED)) {
            // What is the end of the connection: the failover has given up, or the login is refused.
            context.setExceptionListener(error -> {
                System.out.println("failed: " + error.getMessage());
                System.exit(1);
            });
            JMSConsumer jobs = context.createConsumer(context.createQueue("jobs"));
            jobs.setMessageListener(job -> {
                try {
                    System.out.println("job " + job.getBody(String.class));
                    context.commit();
                } catch (JMSException | RuntimeException failed) {
                    // The job comes again, and is a dead letter in the end.
                    context.rollback();
                }
            });
            System.out.println("working");
            new CountDownLatch(1).await();
        }
    }
}
