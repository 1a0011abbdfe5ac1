package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageListener;
import jakarta.jms.Session;
import org.junit.jupiter.api.Test;
import org.springframework.jms.connection.CachingConnectionFactory;
import org.springframework.jms.core.JmsTemplate;
import org.springframework.jms.listener.DefaultMessageListenerContainer;

/** Spring's classes for JMS. */
class SpringTest extends Client {
    @Test
    void jmsTemplate() throws Exception {
        CachingConnectionFactory factory = new CachingConnectionFactory(factory());
        try {
            JmsTemplate template = new JmsTemplate(factory);
            template.setReceiveTimeout(SOON);
            String queue = unique("spring");
            template.convertAndSend(queue, "hello", message -> {
                message.setIntProperty("n", 7);
                return message;
            });
            assertEquals("hello", template.receiveSelectedAndConvert(queue, "n = 7"));
            template.convertAndSend(queue + ".other", "seen");
            String seen = template.browse(queue + ".other",
                (session, browser) -> text((Message) browser.getEnumeration().nextElement()));
            assertEquals("seen", seen);
            // A request, which is answered to a temporary queue.
            Session server = session();
            server.createConsumer(server.createQueue(queue + ".service")).setMessageListener(request -> {
                try {
                    server.createProducer(request.getJMSReplyTo()).send(server.createTextMessage("re: " + text(request)));
                } catch (JMSException error) {
                    throw new AssertionError(error);
                }
            });
            var reply = template.sendAndReceive(queue + ".service", session -> session.createTextMessage("ask"));
            assertEquals("re: ask", text(reply));
            template.setReceiveTimeout(QUIET);
            assertNull(template.receive(queue));
        } finally {
            factory.destroy();
        }
    }

    @Test
    void defaultMessageListenerContainer() throws Exception {
        String queue = unique("spring");
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        AtomicBoolean failed = new AtomicBoolean();
        DefaultMessageListenerContainer container = new DefaultMessageListenerContainer();
        container.setConnectionFactory(factory());
        container.setDestinationName(queue);
        container.setConcurrency("2-4");
        container.setSessionTransacted(true);
        container.setReceiveTimeout(200);
        container.setErrorHandler(error -> { });
        container.setMessageListener((MessageListener) message -> {
            try {
                String text = text(message);
                // What a listener throws rolls its transaction back, so it comes again.
                if (text.equals("m7") && failed.compareAndSet(false, true)) {
                    throw new IllegalStateException("once");
                }
                heard.add(text);
            } catch (JMSException error) {
                throw new AssertionError(error);
            }
        });
        container.afterPropertiesSet();
        container.start();
        try {
            Session session = session();
            send(session, session.createQueue(queue), numbered(50));
            Set<String> seen = new HashSet<>();
            for (int count = 0; count < 50; count++) {
                seen.add(heard.poll(SOON, TimeUnit.MILLISECONDS));
            }
            assertEquals(Set.of(numbered(50)), seen);
            assertEquals(true, failed.get());
            assertNull(heard.poll(QUIET, TimeUnit.MILLISECONDS));
        } finally {
            container.shutdown();
        }
    }
}
