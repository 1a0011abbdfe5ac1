import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Pattern;
import org.apache.qpid.jms.JmsConnectionFactory;

/** Loads a JMS provider by Qpid JMS: takes a plan and orders from the standard input, as bench/src/plan.rs has them. */
public final class Load {
    private final String plan;
    private final JmsConnectionFactory factory;
    private final byte[] body;
    private volatile Window window;
    private Connection connection;
    private int sessions;

    private Load(String plan) {
        this.plan = plan;
        String options = "?transport.sharedEventLoopThreads=1";
        factory = new JmsConnectionFactory("amqp://" + text(plan, "address") + options);
        body = new byte[number(plan, "bytes").orElseThrow().intValue()];
    }

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        var load = new Load(lines.readLine());
        Exchange exchange;
        try {
            exchange = load.exchange();
        } catch (Exception error) {
            fail(error);
            return;
        }
        System.out.println("\"Ready\"");
        for (String order; (order = lines.readLine()) != null; ) {
            try {
                System.out.println(load.obey(exchange, order));
            } catch (Exception error) {
                fail(error);
                return;
            }
        }
        // There are threads that nobody ends.
        System.exit(0);
    }

    private static void fail(Exception error) {
        error.printStackTrace();
        System.out.println("{\"Failed\":\"" + String.valueOf(error).replaceAll("[\"\\\\\\p{Cntrl}]", " ") + "\"}");
        System.exit(0);
    }

    /** What is done from when a window opens until all that was sent has come. */
    private interface Exchange {
        void run(Window window) throws Exception;
    }

    private Exchange exchange() throws Exception {
        var producers = number(plan, "producers");
        if (producers.isPresent()) {
            return confirm(producers.get().intValue());
        }
        var subscribers = number(plan, "subscribers");
        if (subscribers.isPresent()) {
            return fanOut(subscribers.get().intValue(), number(plan, "burst").orElseThrow().intValue());
        }
        return request();
    }

    /** A session of a connection that has up to 16. */
    private Session session() throws Exception {
        if (sessions++ % SESSIONS_EACH == 0) {
            connection = factory.createConnection();
            connection.start();
        }
        return connection.createSession(Session.AUTO_ACKNOWLEDGE);
    }

    private BytesMessage message(Session session) throws Exception {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        return message;
    }

    /** Each producer sends a persistent message, and the next when send returns; a consumer takes all. */
    private Exchange confirm(int count) throws Exception {
        var room = new Semaphore(UNREAD_MAX);
        Session consuming = session();
        MessageConsumer consumer = consuming.createConsumer(consuming.createQueue("jms.confirmed"));
        consumer.setMessageListener(message -> room.release());
        List<Session> sessions = new ArrayList<>();
        List<MessageProducer> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Session session = session();
            sessions.add(session);
            all.add(session.createProducer(session.createQueue("jms.confirmed")));
        }
        return window -> {
            List<Thread> threads = new ArrayList<>();
            var failure = new Exception[1];
            for (int i = 0; i < count; i++) {
                Session session = sessions.get(i);
                MessageProducer producer = all.get(i);
                threads.add(new Thread(() -> {
                    try {
                        while (window.isOpen()) {
                            if (!room.tryAcquire(20, TimeUnit.SECONDS)) {
                                throw new IllegalStateException("the consumer gets nothing");
                            }
                            Message message = message(session);
                            long began = System.nanoTime();
                            producer.send(message);
                            window.came(1, began);
                        }
                    } catch (Exception error) {
                        failure[0] = error;
                    }
                }));
            }
            threads.forEach(Thread::start);
            window.pass();
            for (Thread thread : threads) {
                thread.join();
            }
            if (failure[0] != null) {
                throw failure[0];
            }
            await(() -> room.availablePermits() == UNREAD_MAX);
        };
    }

    /** One publishes to many; as many at once as it is told, or when each is due. */
    private Exchange fanOut(int count, int burst) throws Exception {
        var left = new AtomicLong();
        var done = new Semaphore(0);
        var due = new AtomicLongArray(1 << 20);
        List<int[]> seen = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Session session = session();
            var mine = new int[1];
            seen.add(mine);
            session.createConsumer(session.createTopic("jms.prices")).setMessageListener(message -> {
                Window now = window;
                now.came(1, now.perSecond > 0 ? due.get(mine[0]++) : 0);
                if (left.decrementAndGet() == 0) {
                    done.release();
                }
            });
        }
        Session session = session();
        MessageProducer producer = session.createProducer(session.createTopic("jms.prices"));
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        return window -> {
            seen.forEach(mine -> mine[0] = 0);
            Thread passing = start(window::pass);
            long began = System.nanoTime();
            for (int sent = 0; window.isOpen(); sent++) {
                if (window.perSecond > 0) {
                    long at = began + (long) (sent * 1e9 / window.perSecond);
                    due.set(sent, at);
                    while (System.nanoTime() < at) {
                        LockSupport.parkNanos(at - System.nanoTime());
                    }
                    left.addAndGet(count);
                    producer.send(message(session));
                    continue;
                }
                left.set((long) count * burst);
                for (int i = 0; i < burst; i++) {
                    producer.send(message(session));
                }
                if (!done.tryAcquire(20, TimeUnit.SECONDS)) {
                    throw new IllegalStateException(left + " messages never came");
                }
            }
            passing.join();
            await(() -> left.get() == 0);
            done.drainPermits();
        };
    }

    /** A request to a queue, whose reply goes to a temporary one. */
    private Exchange request() throws Exception {
        Session responding = session();
        MessageProducer replies = responding.createProducer(null);
        replies.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        responding.createConsumer(responding.createQueue("jms.requests")).setMessageListener(request -> {
            try {
                BytesMessage reply = message(responding);
                reply.setJMSCorrelationID(request.getJMSMessageID());
                replies.send(request.getJMSReplyTo(), reply);
            } catch (Exception error) {
                fail(error);
            }
        });
        Session session = session();
        var replyTo = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(replyTo);
        MessageProducer producer = session.createProducer(session.createQueue("jms.requests"));
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        return window -> {
            Thread passing = start(window::pass);
            while (window.isOpen()) {
                Message message = message(session);
                message.setJMSReplyTo(replyTo);
                long began = System.nanoTime();
                producer.send(message);
                if (consumer.receive(20_000) == null) {
                    throw new IllegalStateException("a reply never came");
                }
                window.came(1, began);
            }
            passing.join();
        };
    }

    private String obey(Exchange exchange, String order) throws Exception {
        window = new Window(order, processes());
        exchange.run(window);
        return window.shown();
    }

    private List<Long> processes() {
        List<Long> all = new ArrayList<>();
        var matcher = Pattern.compile("\"processes\":\\[(\\d+)").matcher(plan);
        if (matcher.find()) {
            var process = ProcessHandle.of(Long.parseLong(matcher.group(1))).orElseThrow();
            all.add(process.pid());
            process.descendants().forEach(child -> all.add(child.pid()));
        }
        return all;
    }

    /** A warm-up, then the time in which one counts. */
    private static final class Window {
        final double perSecond;
        private final long warmMs;
        private final long ms;
        private final List<Long> processes;
        private final AtomicLong messages = new AtomicLong();
        private final AtomicLongArray latencies = new AtomicLongArray(BUCKETS);
        private volatile boolean isOpen = true;
        private volatile boolean counts;
        private long elapsedNs;
        private long cpuNs;

        Window(String order, List<Long> processes) {
            warmMs = number(order, "warm_ms").orElseThrow().longValue();
            ms = number(order, "ms").orElseThrow().longValue();
            perSecond = number(order, "per_second").orElse(0.0);
            this.processes = processes;
        }

        boolean isOpen() {
            return isOpen;
        }

        void pass() {
            try {
                Thread.sleep(warmMs);
                long began = System.nanoTime();
                long cpu = cpuNs(processes);
                counts = true;
                Thread.sleep(ms);
                counts = false;
                cpuNs = cpuNs(processes) - cpu;
                elapsedNs = System.nanoTime() - began;
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            } finally {
                isOpen = false;
            }
        }

        /** Messages have come; the time is when they should have been sent, or 0. */
        void came(int count, long beganNs) {
            if (!counts) {
                return;
            }
            messages.addAndGet(count);
            if (beganNs != 0) {
                latencies.incrementAndGet(bucket((System.nanoTime() - beganNs) / 1000));
            }
        }

        /** 64 buckets for each power of two. */
        private static int bucket(long us) {
            if (us < 128) {
                return (int) Math.max(0, us);
            }
            int shift = 63 - Long.numberOfLeadingZeros(us) - 6;
            return (int) Math.min(BUCKETS - 1, shift * 64L + (us >> shift));
        }

        private static long us(int bucket) {
            if (bucket < 128) {
                return bucket;
            }
            int shift = bucket / 64 - 1;
            return (long) (bucket - shift * 64) << shift;
        }

        private long at(double quantile) {
            long all = 0;
            for (int i = 0; i < BUCKETS; i++) {
                all += latencies.get(i);
            }
            long rest = (long) Math.ceil(all * quantile);
            for (int i = 0; i < BUCKETS; i++) {
                rest -= latencies.get(i);
                if (rest <= 0) {
                    return us(i);
                }
            }
            return us(BUCKETS - 1);
        }

        String shown() {
            boolean any = false;
            for (int i = 0; i < BUCKETS; i++) {
                any |= latencies.get(i) > 0;
            }
            String latency = any
                    ? String.format("{\"p50_us\":%d,\"p99_us\":%d,\"p999_us\":%d,\"max_us\":%d}", at(0.5), at(0.99), at(0.999), at(1))
                    : "null";
            return String.format(
                    "{\"Round\":{\"messages\":%d,\"bytes\":0,\"elapsed_ns\":%d,\"cpu_ns\":%d,\"latency\":%s}}",
                    messages.get(), elapsedNs, cpuNs, latency);
        }
    }

    /** CPU time of all threads of these processes. */
    private static long cpuNs(List<Long> processes) {
        long sum = 0;
        for (long process : processes) {
            try (var tasks = Files.list(Path.of("/proc/" + process + "/task"))) {
                for (Path task : (Iterable<Path>) tasks::iterator) {
                    sum += Long.parseLong(Files.readString(task.resolve("schedstat")).split(" ")[0]);
                }
            } catch (IOException gone) {
                // A thread has ended meanwhile.
            }
        }
        return sum;
    }

    private static Thread start(Runnable work) {
        var thread = new Thread(work);
        thread.start();
        return thread;
    }

    private interface Condition {
        boolean holds();
    }

    private static void await(Condition condition) throws InterruptedException {
        for (int i = 0; !condition.holds(); i++) {
            if (i == 20_000) {
                throw new IllegalStateException("messages never came");
            }
            Thread.sleep(1);
        }
    }

    private static Optional<Double> number(String json, String key) {
        var matcher = Pattern.compile("\"" + key + "\":([\\d.]+)").matcher(json);
        return matcher.find() ? Optional.of(Double.valueOf(matcher.group(1))) : Optional.empty();
    }

    private static String text(String json, String key) {
        var matcher = Pattern.compile("\"" + key + "\":\"([^\"]*)\"").matcher(json);
        if (!matcher.find()) {
            throw new IllegalArgumentException(key);
        }
        return matcher.group(1);
    }

    private static final int SESSIONS_EACH = 16;
    private static final int BUCKETS = 64 * 32;
    /** As many as the light load lets wait. */
    private static final int UNREAD_MAX = 1000;
}
