package org.passerelle;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.concurrent.TimeUnit;

import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import org.apache.qpid.jms.JmsConnectionFactory;

/** A gateway on a port of its own, with a store, that a test may end and start again. */
final class Gateway implements AutoCloseable {
    private final Path folder;
    private Process process;
    private int port;

    private Gateway(Path folder) {
        this.folder = folder;
    }

    static Gateway start() throws IOException {
        return start("");
    }

    /** @param more TOML behind the gateway's address and store */
    static Gateway start(String more) throws IOException {
        return in(Files.createTempDirectory("passerelle-jms-"), """
            [[listen]]
            address = "127.0.0.1:0"

            [store]
            path = "store"

            %s
            """.formatted(more));
    }

    /**
     * In a folder, which is deleted in the end.
     *
     * @param configuration whose first address has the port 0
     */
    static Gateway in(Path folder, String configuration) throws IOException {
        Gateway gateway = new Gateway(folder);
        gateway.write(configuration);
        gateway.run();
        // One that is started again listens where it did.
        gateway.write(configuration.replaceFirst("127\\.0\\.0\\.1:0", "127.0.0.1:" + gateway.port));
        return gateway;
    }

    private void write(String configuration) throws IOException {
        String threads = System.getenv().getOrDefault("THREADS", "1");
        Files.writeString(folder.resolve("passerelle.toml"), "threads = " + threads + "\n\n" + configuration);
    }

    private void run() throws IOException {
        Path log = folder.resolve("log");
        process = new ProcessBuilder(System.getenv("PASSERELLE"), "serve", "--config", "passerelle.toml")
            .directory(folder.toFile())
            .redirectError(ProcessBuilder.Redirect.appendTo(log.toFile()))
            .start();
        BufferedReader out = process.inputReader();
        for (String line; (line = out.readLine()) != null; ) {
            if (line.startsWith("listening on ")) {
                port = Integer.parseInt(line.replaceFirst("^listening on https?://[^/]*:(\\d+).*$", "$1"));
                Thread rest = new Thread(() -> out.lines().forEach(any -> { }));
                rest.setDaemon(true);
                rest.start();
                return;
            }
        }
        throw new IOException("the gateway did not start: " + Files.readString(log));
    }

    /** Ends it as kill -9 does, and starts it again. */
    void crash() throws IOException, InterruptedException {
        process.destroyForcibly().waitFor();
        run();
    }

    /** The most memory that it has taken, in bytes. */
    long peakMemory() throws IOException {
        String status = Files.readString(Path.of("/proc", String.valueOf(process.pid()), "status"));
        return Long.parseLong(status.replaceFirst("(?s).*VmHWM:\\s*(\\d+) kB.*", "$1")) << 10;
    }

    String tcp() {
        return "amqp://127.0.0.1:" + port;
    }

    String webSocket() {
        return "amqpws://127.0.0.1:" + port + "/messaging";
    }

    Connection connect(String uri) throws JMSException {
        return connect(uri, null);
    }

    Connection connect(String uri, String clientId) throws JMSException {
        Connection connection = new JmsConnectionFactory(uri).createConnection();
        if (clientId != null) {
            connection.setClientID(clientId);
        }
        connection.start();
        return connection;
    }

    @Override
    public void close() throws IOException {
        process.destroyForcibly();
        try {
            process.waitFor(10, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        try (var files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        }
    }
}
