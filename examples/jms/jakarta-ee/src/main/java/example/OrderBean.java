package example;

import jakarta.annotation.Resource;
import jakarta.ejb.ActivationConfigProperty;
import jakarta.ejb.MessageDriven;
import jakarta.ejb.TransactionManagement;
import jakarta.ejb.TransactionManagementType;
import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageListener;
import jakarta.jms.Queue;

/**
 * Takes orders, and sends what became of them. Without transactions of the server, which would be distributed ones; and the
 * resource adapter acknowledges an order also where this throws, so what cannot be done is put aside here.
 */
@TransactionManagement(TransactionManagementType.BEAN)
@MessageDriven(activationConfig = {
    @ActivationConfigProperty(propertyName = "connectionFactory", propertyValue = "java:global/gateway/connections"),
    @ActivationConfigProperty(propertyName = "destinationType", propertyValue = "jakarta.jms.Queue"),
    @ActivationConfigProperty(propertyName = "destination", propertyValue = "java:global/gateway/orders"),
    @ActivationConfigProperty(propertyName = "user", propertyValue = "ann"),
    @ActivationConfigProperty(propertyName = "password", propertyValue = "secret"),
    @ActivationConfigProperty(propertyName = "maxSession", propertyValue = "4"),
})
public class OrderBean implements MessageListener {
    @Resource(lookup = "java:/jms/gateway")
    private ConnectionFactory gateway;

    @Resource(lookup = "java:global/gateway/done")
    private Queue done;

    @Resource(lookup = "java:global/gateway/failed")
    private Queue failed;

    @Override
    public void onMessage(Message order) {
        try (JMSContext context = gateway.createContext()) {
            try {
                String text = order.getBody(String.class);
                context.createProducer().send(done, text + ": done");
            } catch (JMSException notText) {
                context.createProducer().send(failed, order);
            }
        }
    }
}
