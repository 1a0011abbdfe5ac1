package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

import jakarta.jms.BytesMessage;
import jakarta.jms.MapMessage;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageEOFException;
import jakarta.jms.MessageNotWriteableException;
import jakarta.jms.MessageProducer;
import jakarta.jms.ObjectMessage;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.StreamMessage;
import jakarta.jms.TextMessage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Bodies of all types come as they were sent (Jakarta Messaging 3.1, section 3.11). */
class BodiesTest extends Client {
    @Test
    void text() throws Exception {
        Session session = session();
        TextMessage back = assertInstanceOf(TextMessage.class, roundTrip(session, session.createTextMessage("a text")));
        assertEquals("a text", back.getText());
        assertEquals("a text", back.getBody(String.class));
    }

    @Test
    void emptyText() throws Exception {
        Session session = session();
        TextMessage back = assertInstanceOf(TextMessage.class, roundTrip(session, session.createTextMessage("")));
        assertEquals("", back.getText());
    }

    @Test
    void textThatIsNull() throws Exception {
        Session session = session();
        TextMessage back = assertInstanceOf(TextMessage.class, roundTrip(session, session.createTextMessage()));
        assertNull(back.getText());
    }

    @ParameterizedTest
    @ValueSource(strings = {"é ß 中文 עברית", "\uD83D\uDE00 emoji", "line\r\nline\ttab", "a\u0001b\u007f"})
    void textOfAnyCharacters(String text) throws Exception {
        Session session = session();
        assertEquals(text, text(roundTrip(session, session.createTextMessage(text))));
    }

    @Test
    void textWithNul() throws Exception {
        Session session = session();
        assertEquals("a\0b\0", text(roundTrip(session, session.createTextMessage("a\0b\0"))));
    }

    @ParameterizedTest
    @ValueSource(ints = {255, 256, 65_535, 65_536, 300_000})
    void textOfLengthsWhereEncodingsChange(int length) throws Exception {
        Session session = session();
        String text = "x".repeat(length);
        assertEquals(text, text(roundTrip(session, session.createTextMessage(text))));
    }

    @Test
    void bytes() throws Exception {
        Session session = session();
        byte[] all = new byte[256];
        for (int index = 0; index < all.length; index++) {
            all[index] = (byte) index;
        }
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(all);
        BytesMessage back = assertInstanceOf(BytesMessage.class, roundTrip(session, message));
        assertEquals(256, back.getBodyLength());
        assertArrayEquals(all, back.getBody(byte[].class));
    }

    @Test
    void noBytes() throws Exception {
        Session session = session();
        BytesMessage back = assertInstanceOf(BytesMessage.class, roundTrip(session, session.createBytesMessage()));
        assertEquals(0, back.getBodyLength());
        assertThrows(MessageEOFException.class, back::readByte);
    }

    @Test
    void bytesOfEachPrimitive() throws Exception {
        Session session = session();
        BytesMessage message = session.createBytesMessage();
        message.writeBoolean(true);
        message.writeByte(Byte.MIN_VALUE);
        message.writeShort(Short.MIN_VALUE);
        message.writeChar('é');
        message.writeInt(Integer.MIN_VALUE);
        message.writeLong(Long.MIN_VALUE);
        message.writeFloat(1.5f);
        message.writeDouble(-2.25);
        message.writeUTF("ü");
        BytesMessage back = assertInstanceOf(BytesMessage.class, roundTrip(session, message));
        assertTrue(back.readBoolean());
        assertEquals(Byte.MIN_VALUE, back.readByte());
        assertEquals(Short.MIN_VALUE, back.readShort());
        assertEquals('é', back.readChar());
        assertEquals(Integer.MIN_VALUE, back.readInt());
        assertEquals(Long.MIN_VALUE, back.readLong());
        assertEquals(1.5f, back.readFloat());
        assertEquals(-2.25, back.readDouble());
        assertEquals("ü", back.readUTF());
        assertThrows(MessageEOFException.class, back::readByte);
    }

    @Test
    void mapOfEachType() throws Exception {
        Session session = session();
        MapMessage message = session.createMapMessage();
        message.setBoolean("boolean", true);
        message.setByte("byte", (byte) -1);
        message.setShort("short", (short) -300);
        message.setChar("char", '中');
        message.setInt("int", -70_000);
        message.setLong("long", 1L << 40);
        message.setFloat("float", 0.5f);
        message.setDouble("double", 1e300);
        message.setString("string", "value");
        message.setBytes("bytes", new byte[] {0, 1, -1});
        message.setString("null", null);
        MapMessage back = assertInstanceOf(MapMessage.class, roundTrip(session, message));
        assertTrue(back.getBoolean("boolean"));
        assertEquals(-1, back.getByte("byte"));
        assertEquals(-300, back.getShort("short"));
        assertEquals('中', back.getChar("char"));
        assertEquals(-70_000, back.getInt("int"));
        assertEquals(1L << 40, back.getLong("long"));
        assertEquals(0.5f, back.getFloat("float"));
        assertEquals(1e300, back.getDouble("double"));
        assertEquals("value", back.getString("string"));
        assertArrayEquals(new byte[] {0, 1, -1}, back.getBytes("bytes"));
        assertNull(back.getString("null"));
        assertTrue(back.itemExists("null"));
        assertEquals(11, Collections.list(back.getMapNames()).size());
    }

    @Test
    void emptyMap() throws Exception {
        Session session = session();
        MapMessage back = assertInstanceOf(MapMessage.class, roundTrip(session, session.createMapMessage()));
        assertFalse(back.getMapNames().hasMoreElements());
    }

    @Test
    void mapOfManyEntries() throws Exception {
        Session session = session();
        MapMessage message = session.createMapMessage();
        for (int index = 0; index < 2_000; index++) {
            message.setInt("key" + index, index);
        }
        MapMessage back = assertInstanceOf(MapMessage.class, roundTrip(session, message));
        assertEquals(2_000, Collections.list(back.getMapNames()).size());
        assertEquals(1_999, back.getInt("key1999"));
    }

    @Test
    void streamOfEachTypeInOrder() throws Exception {
        Session session = session();
        StreamMessage message = session.createStreamMessage();
        List<Object> values = List.of(true, (byte) 7, (short) 8, 'c', 9, 10L, 1.5f, 2.5, "text");
        for (Object value : values) {
            message.writeObject(value);
        }
        message.writeBytes(new byte[] {1, 2, 3});
        StreamMessage back = assertInstanceOf(StreamMessage.class, roundTrip(session, message));
        List<Object> read = new ArrayList<>();
        for (int index = 0; index < values.size(); index++) {
            read.add(back.readObject());
        }
        assertEquals(values, read);
        assertArrayEquals(new byte[] {1, 2, 3}, (byte[]) back.readObject());
        assertThrows(MessageEOFException.class, back::readObject);
    }

    @Test
    void emptyStream() throws Exception {
        Session session = session();
        StreamMessage back = assertInstanceOf(StreamMessage.class, roundTrip(session, session.createStreamMessage()));
        assertThrows(MessageEOFException.class, back::readObject);
    }

    @Test
    void object() throws Exception {
        Session session = session();
        ArrayList<Object> content = new ArrayList<>(List.of("a", 1, 2.5));
        ObjectMessage back = assertInstanceOf(ObjectMessage.class, roundTrip(session, session.createObjectMessage(content)));
        assertEquals(content, back.getObject());
        assertNotSame(content, back.getObject());
    }

    @Test
    void objectOfAmqpTypes() throws Exception {
        Session session = session();
        ObjectMessage message = session.createObjectMessage();
        message.setBooleanProperty("JMS_AMQP_TYPED_ENCODING", true);
        message.setObject(new ArrayList<>(List.of("a", 1L)));
        ObjectMessage back = assertInstanceOf(ObjectMessage.class, roundTrip(session, message));
        assertEquals(List.of("a", 1L), back.getObject());
    }

    @Test
    void objectThatIsNull() throws Exception {
        Session session = session();
        ObjectMessage back = assertInstanceOf(ObjectMessage.class, roundTrip(session, session.createObjectMessage()));
        assertNull(back.getObject());
    }

    @Test
    void messageWithoutBody() throws Exception {
        Session session = session();
        Message message = session.createMessage();
        message.setStringProperty("only", "this");
        Message back = roundTrip(session, message);
        assertEquals("this", back.getStringProperty("only"));
        assertFalse(back instanceof TextMessage || back instanceof BytesMessage || back instanceof MapMessage
            || back instanceof StreamMessage || back instanceof ObjectMessage, back.getClass().getName());
    }

    @Test
    void whatCameCanBeReadOnly() throws Exception {
        Session session = session();
        Message back = roundTrip(session, session.createTextMessage("fixed"));
        assertThrows(MessageNotWriteableException.class, () -> ((TextMessage) back).setText("other"));
        assertThrows(MessageNotWriteableException.class, () -> back.setIntProperty("more", 1));
        back.clearBody();
        ((TextMessage) back).setText("other");
        assertEquals("other", text(back));
    }

    @Test
    void whatCameCanBeSentOn() throws Exception {
        Session session = session();
        TextMessage message = session.createTextMessage("on its way");
        message.setIntProperty("stop", 1);
        Message first = roundTrip(session, message);
        String id = first.getJMSMessageID();
        Message second = roundTrip(session, first);
        assertEquals("on its way", text(second));
        assertEquals(1, second.getIntProperty("stop"));
        assertFalse(id.equals(second.getJMSMessageID()), "a message that is sent has an id of its own");
    }

    @Test
    void changingWhatWasSentChangesNothing() throws Exception {
        Session session = session();
        Queue queue = queue(session);
        MessageProducer producer = session.createProducer(queue);
        TextMessage message = session.createTextMessage("first");
        producer.send(message);
        message.setText("second");
        producer.send(message);
        MessageConsumer consumer = session.createConsumer(queue);
        expect(consumer, "first", "second");
    }
}
