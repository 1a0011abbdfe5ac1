package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Collections;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Stream;

import jakarta.jms.Message;
import jakarta.jms.MessageFormatException;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Properties keep their types (Jakarta Messaging 3.1, section 3.5). */
class PropertiesTest extends Client {
    static Stream<Object> values() {
        return Stream.of(true, false, Byte.MIN_VALUE, (byte) 0, Byte.MAX_VALUE, Short.MIN_VALUE, Short.MAX_VALUE, 0,
            -1, 127, 128, Integer.MIN_VALUE, Integer.MAX_VALUE, 0L, -1L, 127L, 128L, Long.MIN_VALUE, Long.MAX_VALUE, 0.1f,
            Float.MAX_VALUE, Float.NEGATIVE_INFINITY, Float.NaN, 0.1, Double.MIN_VALUE, Double.POSITIVE_INFINITY, "", "text", "é中\uD83D\uDE00",
            "x".repeat(300), "17", "true");
    }

    @ParameterizedTest
    @MethodSource("values")
    void valuesKeepTheirTypes(Object value) throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        message.setObjectProperty("value", value);
        assertEquals(value, roundTrip(session, message).getObjectProperty("value"));
    }

    @Test
    void aValueThatIsNull() throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        message.setStringProperty("nothing", null);
        Message back = roundTrip(session, message);
        assertNull(back.getStringProperty("nothing"));
        assertTrue(back.propertyExists("nothing"));
        assertFalse(back.propertyExists("other"));
    }

    /** What each type can be read as (the table of section 3.5.4). */
    static Stream<Arguments> conversions() {
        return Stream.of(
            Arguments.of(true, "boolean string"),
            Arguments.of((byte) 1, "byte short int long string"),
            Arguments.of((short) 1, "short int long string"),
            Arguments.of(1, "int long string"),
            Arguments.of(1L, "long string"),
            Arguments.of(1.5f, "float double string"),
            Arguments.of(1.5, "double string"),
            Arguments.of("1", "boolean byte short int long float double string"));
    }

    @ParameterizedTest
    @MethodSource("conversions")
    void conversionsOfWhatCame(Object value, String readable) throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        message.setObjectProperty("p", value);
        Message back = roundTrip(session, message);
        Set<String> can = Set.of(readable.split(" "));
        for (String type : "boolean byte short int long float double string".split(" ")) {
            if (can.contains(type)) {
                read(back, type);
            } else {
                assertThrows(MessageFormatException.class, () -> read(back, type), type);
            }
        }
        assertEquals(value.toString(), back.getStringProperty("p"));
    }

    private static Object read(Message message, String type) throws Exception {
        return switch (type) {
            case "boolean" -> message.getBooleanProperty("p");
            case "byte" -> message.getByteProperty("p");
            case "short" -> message.getShortProperty("p");
            case "int" -> message.getIntProperty("p");
            case "long" -> message.getLongProperty("p");
            case "float" -> message.getFloatProperty("p");
            case "double" -> message.getDoubleProperty("p");
            default -> message.getStringProperty("p");
        };
    }

    @Test
    void allNamesAreThereAndNoOthers() throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        Set<String> names = Set.of("a", "b_2", "$c", "_d", "JMS_VENDOR_x", "ünïcode", "a_very_long_name_" + "x".repeat(200));
        for (String name : names) {
            message.setIntProperty(name, 1);
        }
        Set<String> back = new HashSet<>();
        Collections.list(roundTrip(session, message).getPropertyNames()).forEach(name -> back.add((String) name));
        back.remove("JMSXDeliveryCount");
        assertEquals(names, back);
    }

    @Test
    void manyProperties() throws Exception {
        Session session = session();
        Message message = session.createTextMessage("x");
        for (int index = 0; index < 300; index++) {
            message.setStringProperty("p" + index, "value " + index);
        }
        Message back = roundTrip(session, message);
        for (int index = 0; index < 300; index++) {
            assertEquals("value " + index, back.getStringProperty("p" + index));
        }
    }

    @Test
    void theyAreTheSameForAllSubscribersOfATopic() throws Exception {
        Session session = session();
        Topic topic = topic(session);
        MessageConsumer one = session.createConsumer(topic);
        MessageConsumer other = session().createConsumer(topic);
        Message message = session.createTextMessage("x");
        message.setLongProperty("n", 5_000_000_000L);
        message.setFloatProperty("f", 0.25f);
        session.createProducer(topic).send(message);
        for (MessageConsumer consumer : new MessageConsumer[] {one, other}) {
            Message back = next(consumer);
            assertEquals(5_000_000_000L, back.getObjectProperty("n"));
            assertEquals(0.25f, back.getObjectProperty("f"));
        }
    }

    @Test
    void clearedPropertiesAreNotSent() throws Exception {
        Session session = session();
        Message message = session.createTextMessage("body");
        message.setStringProperty("before", "x");
        message.clearProperties();
        message.setStringProperty("after", "y");
        Message back = roundTrip(session, message);
        assertFalse(back.propertyExists("before"));
        assertEquals("y", back.getStringProperty("after"));
        assertEquals("body", text(back));
    }

    @Test
    void theyAreKeptWhenAMessageIsDeliveredAgain() throws Exception {
        Session session = session(Session.CLIENT_ACKNOWLEDGE);
        Queue queue = queue(session);
        TextMessage message = session.createTextMessage("x");
        message.setShortProperty("s", (short) 12);
        message.setJMSType("kind");
        message.setJMSCorrelationID("c");
        session.createProducer(queue).send(message);
        MessageConsumer consumer = session.createConsumer(queue);
        next(consumer);
        session.recover();
        Message again = next(consumer);
        assertTrue(again.getJMSRedelivered());
        assertEquals((short) 12, again.getObjectProperty("s"));
        assertEquals("kind", again.getJMSType());
        assertEquals("c", again.getJMSCorrelationID());
        assertEquals(message.getJMSMessageID(), again.getJMSMessageID());
        assertEquals(message.getJMSTimestamp(), again.getJMSTimestamp());
    }
}
