package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import java.lang.reflect.Type;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.Destination;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.messaging.converter.SimpleMessageConverter;
import org.springframework.messaging.simp.stomp.StompFrameHandler;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;

/** The same message, sent by JMS, STOMP and HTTP, is read by the others with all that it has: the table in docs/amqp.md. */
@Timeout(60)
@DisabledIfSystemProperty(named = "provider.tcp", matches = ".+", disabledReason = "it starts a gateway of its own")
class CrossingTest {
    private static Gateway gateway;
    private static Connection jms;
    private static ThreadPoolTaskScheduler scheduler;
    private static StompSession stomp;

    @BeforeAll
    static void start() throws Exception {
        gateway = Gateway.start("");
        jms = new JmsConnectionFactory(gateway.tcp()).createConnection();
        jms.start();
        scheduler = new ThreadPoolTaskScheduler();
        scheduler.initialize();
        WebSocketStompClient client = new WebSocketStompClient(new StandardWebSocketClient());
        client.setMessageConverter(new SimpleMessageConverter());
        client.setTaskScheduler(scheduler);
        String uri = gateway.webSocket().replace("amqpws://", "ws://");
        stomp = client.connectAsync(uri, new StompSessionHandlerAdapter() { }).get(15, TimeUnit.SECONDS);
        stomp.setAutoReceipt(true);
    }

    @AfterAll
    static void stop() throws Exception {
        jms.close();
        // Spring's client ends with it: to have it disconnect fails where Tyrus has ended its executor before.
        gateway.close();
        scheduler.shutdown();
    }

    /** What a reader sees of the message, whatever it speaks. */
    record Seen(
        String type, String colour, String n, String large, String ratio, String ok, String correlation, String replyTo, String priority,
        String expires, String group, String sequence, String persistent, boolean isText, String body) { }

    private static final long EXPIRES = (System.currentTimeMillis() / 1000 + 3600) * 1000;

    private static Seen expected(boolean isText) {
        return new Seen(
            "tick", "déjà vu: red\\", "-3", "5000000000", "0.5", "true", "order-17", "/queue/replies", "7", Long.toString(EXPIRES),
            "a group", "3", "true", isText, "é中x");
    }

    @ParameterizedTest
    @CsvSource({
        "jms, jms, queue", "jms, stomp, queue", "stomp, jms, queue", "stomp, stomp, queue", "http, jms, queue", "http, stomp, queue",
        "jms, stomp, topic", "stomp, jms, topic", "http, jms, topic", "http, stomp, topic",
    })
    void aMessageHasAllThatItsSenderSaid(String from, String to, String kind) throws Exception {
        for (boolean isText : List.of(true, false)) {
            String name = Client.unique("crossing");
            try (Reader reader = to.equals("jms") ? new JmsReader(kind, name) : new StompReader(kind, name)) {
                switch (from) {
                    case "jms" -> sendByJms(kind, name, isText);
                    case "stomp" -> sendByStomp(kind, name, isText);
                    default -> sendByHttp(kind, name, isText);
                }
                assertEquals(expected(isText), reader.next(isText));
            }
        }
    }

    private static void sendByJms(String kind, String name, boolean isText) throws Exception {
        try (Session session = jms.createSession()) {
            Destination to = kind.equals("queue") ? session.createQueue(name) : session.createTopic(name);
            Message message;
            if (isText) {
                message = session.createTextMessage("é中x");
            } else {
                BytesMessage bytes = session.createBytesMessage();
                bytes.writeBytes("é中x".getBytes(StandardCharsets.UTF_8));
                message = bytes;
            }
            message.setJMSType("tick");
            message.setJMSCorrelationID("order-17");
            message.setJMSReplyTo(session.createQueue("replies"));
            message.setStringProperty("JMSXGroupID", "a group");
            message.setIntProperty("JMSXGroupSeq", 3);
            message.setStringProperty("colour", "déjà vu: red\\");
            message.setIntProperty("n", -3);
            message.setLongProperty("large", 5_000_000_000L);
            message.setDoubleProperty("ratio", 0.5);
            message.setBooleanProperty("ok", true);
            // The client counts from the time at which it sends.
            MessageProducer producer = session.createProducer(to);
            producer.send(message, DeliveryMode.PERSISTENT, 7, EXPIRES - System.currentTimeMillis());
        }
    }

    private static void sendByStomp(String kind, String name, boolean isText) throws Exception {
        StompHeaders headers = new StompHeaders();
        headers.setDestination("/" + kind + "/" + name);
        headers.set("type", "tick");
        headers.set("correlation-id", "order-17");
        headers.set("reply-to", "/queue/replies");
        headers.set("JMSXGroupID", "a group");
        headers.set("JMSXGroupSeq", "3");
        headers.set("colour", "déjà vu: red\\");
        headers.set("n", "-3");
        headers.set("large", "5000000000");
        headers.set("ratio", "0.5");
        headers.set("ok", "true");
        headers.set("priority", "7");
        headers.set("expires", Long.toString(EXPIRES));
        headers.set("persistent", "true");
        headers.set("content-type", isText ? "text/plain" : "application/octet-stream");
        CountDownLatch done = new CountDownLatch(1);
        stomp.send(headers, "é中x".getBytes(StandardCharsets.UTF_8)).addReceiptTask(done::countDown);
        if (!done.await(15, TimeUnit.SECONDS)) {
            throw new AssertionError("no RECEIPT");
        }
    }

    private static void sendByHttp(String kind, String name, boolean isText) throws Exception {
        String uri = gateway.webSocket().replace("amqpws://", "http://").replaceAll("/messaging.*", "");
        HttpRequest request = HttpRequest.newBuilder(URI.create(uri + "/" + kind + "s/" + name))
            .header("content-type", isText ? "text/plain" : "application/octet-stream")
            .header("correlation-id", "order-17")
            .header("reply-to", "/queue/replies")
            .header("priority", "7")
            .header("expires", Long.toString(EXPIRES))
            .header("persistent", "true")
            .header("properties", """
                {"type":"tick","JMSXGroupID":"a group","JMSXGroupSeq":3,"colour":"d\\u00e9j\\u00e0 vu: red\\\\",\
                "n":-3,"large":5000000000,"ratio":0.5,"ok":true}""")
            .POST(HttpRequest.BodyPublishers.ofString("é中x"))
            .build();
        HttpResponse<String> response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        assertEquals(204, response.statusCode(), response.body());
    }

    private interface Reader extends AutoCloseable {
        Seen next(boolean isText) throws Exception;
    }

    private static final class JmsReader implements Reader {
        private final Session session;
        private final MessageConsumer consumer;

        JmsReader(String kind, String name) throws Exception {
            session = jms.createSession();
            consumer = session.createConsumer(kind.equals("queue") ? session.createQueue(name) : session.createTopic(name));
        }

        @Override
        public Seen next(boolean expected) throws Exception {
            Message message = consumer.receive(Client.SOON);
            assertNotNull(message, "no message came");
            boolean isText = !(message instanceof BytesMessage);
            String body = isText ? message.getBody(String.class) : new String(message.getBody(byte[].class), StandardCharsets.UTF_8);
            // The conversions of Jakarta Messaging, section 3.5.4: a string is read as the number that it spells.
            assertEquals(-3, message.getIntProperty("n"));
            assertEquals(5_000_000_000L, message.getLongProperty("large"));
            assertEquals(0.5, message.getDoubleProperty("ratio"));
            assertEquals(true, message.getBooleanProperty("ok"));
            return new Seen(
                message.getJMSType(),
                message.getStringProperty("colour"),
                message.getStringProperty("n"),
                message.getStringProperty("large"),
                message.getStringProperty("ratio"),
                message.getStringProperty("ok"),
                message.getJMSCorrelationID(),
                "/queue/" + assertInstanceOf(Queue.class, message.getJMSReplyTo()).getQueueName(),
                Integer.toString(message.getJMSPriority()),
                aboutExpires(message.getJMSExpiration()),
                message.getStringProperty("JMSXGroupID"),
                message.getStringProperty("JMSXGroupSeq"),
                Boolean.toString(message.getJMSDeliveryMode() == DeliveryMode.PERSISTENT),
                isText,
                body);
        }

        @Override
        public void close() throws Exception {
            session.close();
        }
    }

    private static final class StompReader implements Reader, StompFrameHandler {
        private final BlockingQueue<Map.Entry<StompHeaders, byte[]>> frames = new ArrayBlockingQueue<>(10);
        private final StompSession.Subscription subscription;

        StompReader(String kind, String name) throws Exception {
            StompHeaders headers = new StompHeaders();
            headers.setDestination("/" + kind + "/" + name);
            CountDownLatch done = new CountDownLatch(1);
            subscription = stomp.subscribe(headers, this);
            subscription.addReceiptTask(done::countDown);
            if (!done.await(15, TimeUnit.SECONDS)) {
                throw new AssertionError("no RECEIPT");
            }
        }

        @Override
        public Type getPayloadType(StompHeaders headers) {
            return byte[].class;
        }

        @Override
        public void handleFrame(StompHeaders headers, Object payload) {
            frames.add(Map.entry(headers, (byte[]) payload));
        }

        @Override
        public Seen next(boolean isText) throws Exception {
            var frame = frames.poll(Client.SOON, TimeUnit.MILLISECONDS);
            assertNotNull(frame, "no message came");
            StompHeaders headers = frame.getKey();
            byte[] body = frame.getValue();
            assertArrayEquals("é中x".getBytes(StandardCharsets.UTF_8), body);
            // Of a JMS client's message nothing says whether it is text.
            String contentType = headers.getFirst("content-type");
            isText = contentType == null ? isText : contentType.startsWith("text/");
            return new Seen(
                headers.getFirst("type"),
                headers.getFirst("colour"),
                headers.getFirst("n"),
                headers.getFirst("large"),
                headers.getFirst("ratio"),
                headers.getFirst("ok"),
                headers.getFirst("correlation-id"),
                headers.getFirst("reply-to"),
                headers.getFirst("priority"),
                aboutExpires(Long.parseLong(headers.getFirst("expires"))),
                headers.getFirst("JMSXGroupID"),
                headers.getFirst("JMSXGroupSeq"),
                headers.getFirst("persistent"),
                isText,
                new String(body, StandardCharsets.UTF_8));
        }

        @Override
        public void close() {
            subscription.unsubscribe();
        }
    }

    /** A JMS client says how long, not when: what it says may be some milliseconds less. */
    private static String aboutExpires(long expires) {
        return Long.toString(Math.abs(expires - EXPIRES) < 2000 ? EXPIRES : expires);
    }
}
