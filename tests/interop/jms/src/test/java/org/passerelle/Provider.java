package org.passerelle;

import java.io.IOException;
import java.nio.file.Files;
import java.util.concurrent.TimeUnit;

import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import org.apache.qpid.jms.JmsConnectionFactory;

/** The provider under test: the one that the properties name, or else a gateway of its own. */
final class Provider {
    private static final Provider IT = find();

    final String name;
    final String tcp;
    final String webSocket;
    final String tls;
    final String user;
    final String password;
    /** Deliveries of a message before it is a dead letter. */
    final int attempts = 6;
    private final String trust;
    private final String deadLetters;
    private final String kill;
    private final String start;
    private Gateway gateway;

    private Provider(String tcp, String webSocket, String tls, String trust, String deadLetters) {
        this.name = System.getProperty("provider", "passerelle");
        this.tcp = tcp;
        this.webSocket = webSocket;
        this.tls = tls;
        this.trust = trust;
        this.user = System.getProperty("provider.user", "suite");
        this.password = System.getProperty("provider.password", "secret");
        this.deadLetters = deadLetters;
        this.kill = System.getProperty("provider.kill");
        this.start = System.getProperty("provider.start");
    }

    static Provider get() {
        return IT;
    }

    private static Provider find() {
        String tcp = System.getProperty("provider.tcp");
        if (tcp != null) {
            return new Provider(
                tcp,
                System.getProperty("provider.websocket"),
                System.getProperty("provider.tls"),
                System.getProperty("provider.trust"),
                System.getProperty("provider.dead-letters", "DLQ.%s"));
        }
        try {
            return ofGateway();
        } catch (Exception error) {
            error.printStackTrace();
            throw new ExceptionInInitializerError(error);
        }
    }

    private static Provider ofGateway() throws Exception {
        Keys keys = Keys.in(Files.createTempDirectory("passerelle-jms-keys-"));
        int tls = freePort();
        Gateway gateway = Gateway.start("""
            [[listen]]
            address = "127.0.0.1:%d"
            tls = { certificate = "%s/gw.pem", key = "%s/gw.key" }

            [limits]
            message-bytes-max = "24MiB"
            unsent-bytes-max = "32MiB"
            transaction-bytes-max = "64MiB"
            queues-max = 20000

            [memory]
            queues-max-per-principal = 10000

            [[user]]
            name = "suite"
            password = %s
            """.formatted(tls, keys.folder(), keys.folder(), verifier("secret")));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                gateway.close();
            } catch (IOException ignored) {
                // It is gone.
            }
        }));
        Provider provider = new Provider(
            gateway.tcp(), gateway.webSocket(), "amqps://localhost:" + tls, keys.store().toString(), "DLQ.%s");
        provider.gateway = gateway;
        return provider;
    }

    /** What the configuration has of a password. */
    private static String verifier(String password) throws Exception {
        Process process = new ProcessBuilder(System.getenv("PASSERELLE"), "password").start();
        try (var input = process.outputWriter()) {
            input.write(password + "\n");
        }
        String printed = new String(process.getInputStream().readAllBytes());
        return printed.substring(printed.indexOf('{'), printed.lastIndexOf('}') + 1);
    }

    static int freePort() throws IOException {
        try (var socket = new java.net.ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    static void run(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        if (!process.waitFor(60, TimeUnit.SECONDS) || process.exitValue() != 0) {
            throw new IOException("failed: " + String.join(" ", command));
        }
    }

    String deadLetters(String queue) {
        return deadLetters.formatted(queue);
    }

    /** Ends it without a warning, and starts it again. */
    void crash() throws IOException, InterruptedException {
        kill();
        start();
    }

    private void kill() throws IOException, InterruptedException {
        if (gateway == null) {
            run("sh", "-c", kill);
        }
    }

    private void start() throws IOException, InterruptedException {
        if (gateway == null) {
            run("sh", "-c", start);
        } else {
            gateway.crash();
        }
    }

    boolean canCrash() {
        return gateway != null || kill != null;
    }

    /** The URI of a transport: tcp, tls or ws. */
    String uri(String transport) {
        return switch (transport) {
            case "tcp" -> with(tcp, "amqp.saslLayer=true");
            case "ws" -> with(webSocket, "amqp.saslLayer=true");
            case "tls" -> with(tls, "transport.trustStoreType=PKCS12&transport.trustStoreLocation=" + trust
                + "&transport.trustStorePassword=secret");
            default -> throw new IllegalArgumentException(transport);
        };
    }

    String uri() {
        return uri("tcp");
    }

    /** Options of Qpid JMS, such as {@code amqp.traceFrames=true}, are in the property provider.options. */
    static String with(String uri, String options) {
        String more = System.getProperty("provider.options");
        String all = more == null ? options : options + "&" + more;
        return uri + (uri.contains("?") ? "&" : "?") + all;
    }

    JmsConnectionFactory factory(String uri) {
        return new JmsConnectionFactory(user, password, uri);
    }

    Connection connect(String uri) throws JMSException {
        return factory(uri).createConnection();
    }
}
