package example;

import jakarta.jms.ConnectionFactory;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.messaginghub.pooled.jms.JmsPoolConnectionFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;

@SpringBootApplication
public class Application {
    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    /** What Spring Boot makes its JmsTemplate and its listener containers of. */
    @Bean(destroyMethod = "stop")
    JmsPoolConnectionFactory connections(
            @Value("${gateway.uri}") String uri,
            @Value("${gateway.user}") String user,
            @Value("${gateway.password}") String password) {
        ConnectionFactory factory = new JmsConnectionFactory(user, password, uri);
        var pool = new JmsPoolConnectionFactory();
        pool.setConnectionFactory(factory);
        pool.setMaxConnections(2);
        return pool;
    }
}
