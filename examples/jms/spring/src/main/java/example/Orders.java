package example;

import org.springframework.jms.annotation.JmsListener;
import org.springframework.jms.core.JmsTemplate;
import org.springframework.stereotype.Component;

/** Takes orders, and sends what became of them: in one transaction, which an exception rolls back. */
@Component
public class Orders {
    private final JmsTemplate jms;

    Orders(JmsTemplate jms) {
        this.jms = jms;
    }

    @JmsListener(destination = "orders", concurrency = "1-4")
    void order(String text) {
        jms.convertAndSend("done", text + ": done");
        if (!text.startsWith("buy ")) {
            // Nothing is sent, and the order comes again; in the end it is a dead letter.
            throw new IllegalArgumentException(text);
        }
    }

    /** A request that names a reply queue gets what is returned. */
    @JmsListener(destination = "quotes")
    String quote(String symbol) {
        return symbol + " 99.5";
    }
}
