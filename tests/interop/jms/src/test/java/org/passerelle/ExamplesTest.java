package org.passerelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

import jakarta.jms.Connection;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Session;
import jakarta.jms.StreamMessage;
import jakarta.jms.TextMessage;
import org.apache.qpid.jms.JmsConnectionFactory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/** The programs of {@code examples/jms}, built by their own Maven modules, in processes of their own, on the gateway that is configured there. */
@Execution(ExecutionMode.CONCURRENT)
@Timeout(120)
class ExamplesTest {
    private static final Path EXAMPLES = Path.of("../../../examples/jms").toAbsolutePath().normalize();

    /** Programs that begin quickly, and do not do much. */
    private static final String QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m";
    private static Keys keys;

    private final List<Program> programs = new ArrayList<>();
    private Gateway gateway;
    private Map<String, String> environment;

    @BeforeAll
    static void build() throws Exception {
        assumeTrue(System.getProperty("provider.tcp") == null, "they are Passerelle's");
        keys = Keys.in(Files.createTempDirectory("passerelle-jms-keys-"));
        ExamplesTest first = new ExamplesTest();
        first.start();
        try {
            // As a reader starts a program; and what the others have to be started without Maven.
            Program maven = first.maven("plain", "compile", "exec:java", "-Dexec.mainClass=example.Lookup",
                "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:build-classpath", "-Dmdep.outputFile=target/classpath");
            assertEquals(0, maven.end(), maven::said);
            assertTrue(maven.said().contains("hello from Java"), maven::said);
        } finally {
            first.end();
        }
    }

    @BeforeEach
    void start() throws Exception {
        Path folder = Files.createTempDirectory("passerelle-examples-");
        for (String file : List.of("gw.pem", "gw.key")) {
            Files.copy(keys.folder().resolve(file), folder.resolve(file));
        }
        int tls = Provider.freePort();
        gateway = Gateway.in(folder, Files.readString(EXAMPLES.resolve("passerelle.toml"))
            .replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8443", "127.0.0.1:" + tls));
        environment = Map.of("GATEWAY", gateway.tcp(), "GATEWAY_WEBSOCKET", gateway.webSocket(),
            "GATEWAY_TLS", "amqps://localhost:" + tls, "TRUST", keys.store().toString(),
            "MAVEN_OPTS", QUICK);
    }

    @AfterEach
    void end() throws IOException {
        programs.forEach(Program::kill);
        gateway.close();
    }

    @Test
    void aQueue() throws Exception {
        assertEquals(List.of("sent"), run("SendOrders"));
        assertEquals(List.of("ACME: buy 10 ACME", "INIT: buy 10 INIT", "ACME: buy 10 ACME"), run("TakeOrders"));
    }

    @Test
    void aDurableSubscription() throws Exception {
        assertEquals(List.of("watching"), run("WatchFills"));
        run("PublishFills");
        assertEquals(List.of("watching", "500 ACME at 99.6"), run("WatchFills"));
        run("PublishFills");
        assertEquals(List.of(), run("WatchFills", "end"));
        assertEquals(List.of("watching"), run("WatchFills"));
    }

    @Test
    void transactionsAndDeadLetters() throws Exception {
        run("SendOrders");
        send("orders", "10 INIT");
        assertEquals(List.of("buy 10 ACME: done", "buy 10 INIT: done", "buy 10 ACME: done"), run("FillOrders"));
        assertEquals(List.of("corrected: 10 INIT"), run("HandleDeadLetters"));
        assertEquals(List.of("buy 10 INIT: done"), run("FillOrders"));
        assertEquals(List.of("buy 10 ACME: done", "buy 10 INIT: done", "buy 10 ACME: done", "buy 10 INIT: done"), take("done", 4));
        assertEquals(List.of(), run("HandleDeadLetters"));
    }

    @Test
    void requestsAndReplies() throws Exception {
        Program answers = start("AnswerQuotes");
        assertEquals("answering", answers.line());
        assertEquals(List.of("ACME 99.5", "INIT 99.5"), run("AskQuotes"));
    }

    @Test
    void aWorkerThatOutlivesTheGateway() throws Exception {
        Program worker = start("Worker");
        assertEquals("working", worker.line());
        send("jobs", "1");
        assertEquals("job 1", worker.line());
        gateway.crash();
        send("jobs", "2");
        String next = worker.line();
        // It may have lost the connection before its commit.
        assertEquals("job 2", next.equals("job 1") ? worker.line() : next);
        // What it cannot do is a dead letter.
        try (Connection connection = connect()) {
            Session session = connection.createSession();
            StreamMessage noText = session.createStreamMessage();
            noText.writeInt(3);
            session.createProducer(session.createQueue("jobs")).send(noText);
            assertNotNull(session.createConsumer(session.createQueue("DLQ.jobs")).receive(Client.SOON));
        }
    }

    @Test
    void options() throws Exception {
        assertEquals(List.of("from the EU", "urgent", "step 1", "step 2", "later"), run("Options"));
    }

    @Test
    void namesOfJndi() throws Exception {
        for (String name : List.of("tls", "websocket", "failover")) {
            assertEquals(List.of("hello from Java"), run("Lookup", name));
        }
    }

    @Test
    void spring() throws Exception {
        maven("spring", "compile", "spring-boot:run");
        send("orders", "buy 1", "2", "buy 3");
        assertEquals(Set.of("buy 1: done", "buy 3: done"), Set.copyOf(take("done", 2)));
        assertEquals(List.of("2"), take("DLQ.orders", 1));
        assertEquals(List.of("ACME 99.5", "INIT 99.5"), run("AskQuotes"));
        try (Connection connection = connect()) {
            Session session = connection.createSession();
            // What the failed attempts sent was rolled back with them.
            assertNull(session.createConsumer(session.createQueue("done")).receive(Client.QUIET));
        }
    }

    /** Only that it can be built: the server that it is for is not here. */
    @Test
    void jakartaEe() throws Exception {
        Program maven = maven("jakarta-ee", "package");
        assertEquals(0, maven.end(), maven::said);
    }

    private Program maven(String module, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of("mvn", "--batch-mode", "--quiet"));
        command.addAll(List.of(arguments));
        return keep(new Program(EXAMPLES.resolve(module), environment, command));
    }

    /** A program of {@code plain}. */
    private Program start(String name, String... arguments) throws IOException {
        String classpath = Files.readString(EXAMPLES.resolve("plain/target/classpath"));
        List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java"));
        command.addAll(List.of(QUICK.split(" ")));
        command.addAll(List.of("-cp", "target/classes" + File.pathSeparator + classpath, "example." + name));
        command.addAll(List.of(arguments));
        return keep(new Program(EXAMPLES.resolve("plain"), environment, command));
    }

    private synchronized Program keep(Program program) {
        programs.add(program);
        return program;
    }

    /** One that ends by itself, and what it printed. */
    private List<String> run(String name, String... arguments) throws Exception {
        Program program = start(name, arguments);
        assertEquals(0, program.end(), program::said);
        return program.lines();
    }

    private Connection connect() throws Exception {
        Connection connection = new JmsConnectionFactory("ann", "secret", gateway.tcp()).createConnection();
        connection.start();
        return connection;
    }

    private void send(String queue, String... texts) throws Exception {
        try (Connection connection = connect()) {
            Session session = connection.createSession();
            Client.send(session, session.createQueue(queue), texts);
        }
    }

    private List<String> take(String queue, int count) throws Exception {
        try (Connection connection = connect()) {
            Session session = connection.createSession();
            MessageConsumer consumer = session.createConsumer(session.createQueue(queue));
            List<String> texts = new ArrayList<>();
            for (int index = 0; index < count; index++) {
                TextMessage message = (TextMessage) consumer.receive(60_000);
                assertTrue(message != null, () -> queue + " had " + texts + "\n" + programs.stream().map(Program::said).toList());
                texts.add(message.getText());
            }
            return texts;
        }
    }

    /** A process, and what it prints. */
    private static final class Program {
        private final Process process;
        private final Path errors;
        private final BlockingQueue<String> out = new LinkedBlockingQueue<>();
        private final List<String> all = new ArrayList<>();
        private final Thread reader;

        Program(Path folder, Map<String, String> environment, List<String> command) throws IOException {
            errors = Files.createTempFile("passerelle-example-", ".log");
            errors.toFile().deleteOnExit();
            ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile()).redirectError(errors.toFile());
            builder.environment().putAll(environment);
            process = builder.start();
            reader = new Thread(() -> process.inputReader().lines().forEach(line -> {
                synchronized (all) {
                    all.add(line);
                }
                out.add(line);
            }));
            reader.setDaemon(true);
            reader.start();
        }

        /** The next line that it prints. */
        String line() throws InterruptedException {
            String line = out.poll(30, TimeUnit.SECONDS);
            assertTrue(line != null, this::said);
            return line;
        }

        int end() throws InterruptedException {
            assertTrue(process.waitFor(100, TimeUnit.SECONDS), this::said);
            reader.join();
            return process.exitValue();
        }

        List<String> lines() {
            synchronized (all) {
                return List.copyOf(all);
            }
        }

        String said() {
            try {
                return String.join("\n", lines()) + "\n" + Files.readString(errors);
            } catch (IOException gone) {
                return gone.toString();
            }
        }

        /** With what it started. */
        void kill() {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
    }
}
