import java.nio.charset.StandardCharsets;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.filter.BooleanExpression;
import org.apache.activemq.filter.MessageEvaluationContext;
import org.apache.activemq.selector.SelectorParser;

/** What ActiveMQ says of selectors, a line each: true, false, unknown, throws or refused. */
public class Selectors {
  /** As the message in crates/selector/tests/tables.rs, as far as JMS lets one set it. */
  static ActiveMQMessage message() throws Exception {
    ActiveMQMessage message = new ActiveMQTextMessage();
    message.setJMSPriority(4);
    message.setJMSDeliveryMode(2);
    message.setJMSTimestamp(1700000000000L);
    message.setJMSType("car");
    message.setMessageId(new MessageId("ID:1"));
    Object[] properties = {
      "age", 17, "big", Long.MAX_VALUE, "low", Long.MIN_VALUE, "weight", 2500.5, "nan", Double.NaN,
      "ratio", 0.1f, "single", 16777216f, "yes", true, "no", false, "color", "blue", "country", "UK",
      "name", "lose", "loose", "loose", "phone", "12993", "short", "123", "wrong", "1234",
      "underscored", "_foo", "bar", "bar", "percent", "100%", "bang", "a!b", "quoted", "it's",
      "empty", "", "two", "2", "umlaut", "Gr\u00f6\u00dfe \u20ac", "face", "\uD83D\uDE00", "$price", 5,
      "_x", 1, "gr\u00f6\u00dfe", 42, "\u65e5\u672c", "jp", "a1", "digit", "\u20acuro$_9", 9,
      "e\u030b", "combining", "order", 1, "likely", 2, "note", 3, "inner", 4, "island", 5,
      "JMSXGroupID", "g", "JMS_vendor", 7,
    };
    for (int i = 0; i < properties.length; i += 2) {
      message.setObjectProperty((String) properties[i], properties[i + 1]);
    }
    return message;
  }

  static String value(String selector, ActiveMQMessage message) {
    BooleanExpression expression;
    try {
      expression = SelectorParser.parse(selector);
    } catch (Throwable refused) {
      return "refused";
    }
    MessageEvaluationContext context = new MessageEvaluationContext();
    context.setMessageReference(message);
    try {
      Object value = expression.evaluate(context);
      return value == null ? "unknown" : value.toString();
    } catch (Throwable thrown) {
      return "throws";
    }
  }

  public static void main(String[] arguments) throws Exception {
    ActiveMQMessage message = message();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      out.println(value(line, message));
    }
  }
}
