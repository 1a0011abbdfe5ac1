package org.passerelle;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

import org.junit.jupiter.api.extension.AfterTestExecutionCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.TestExecutionExceptionHandler;
import org.opentest4j.TestAbortedException;

/**
 * The list of what a provider is known to do otherwise: a case that is on it fails, or is an error. It is the file
 * {@code differences/PROVIDER.txt}, with {@code Class.method} or {@code Class.method[arguments]}, a colon, and why. One that
 * begins with {@code sometimes} is of a case that may pass, since it depends on time.
 */
final class Differences implements TestExecutionExceptionHandler, AfterTestExecutionCallback {
    private static final String SOMETIMES = "sometimes ";
    private static final Set<String> MAY_PASS = new HashSet<>();
    private static final Map<String, String> LISTED = read();

    private static Map<String, String> read() {
        Map<String, String> listed = new HashMap<>();
        String file = "/differences/" + System.getProperty("provider", "passerelle") + ".txt";
        try (var stream = Differences.class.getResourceAsStream(file)) {
            if (stream == null) {
                return listed;
            }
            var lines = new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8)).lines().toList();
            for (String line : lines) {
                if (!line.isBlank() && !line.startsWith("#")) {
                    int colon = line.indexOf(": ");
                    boolean may = line.startsWith(SOMETIMES);
                    String name = line.substring(may ? SOMETIMES.length() : 0, colon);
                    listed.put(name, line.substring(colon + 2));
                    if (may) {
                        MAY_PASS.add(name);
                    }
                }
            }
            return listed;
        } catch (IOException error) {
            throw new ExceptionInInitializerError(error);
        }
    }

    /** What the list calls a case. */
    private static String listed(ExtensionContext context) {
        String method = context.getRequiredTestClass().getSimpleName() + "." + context.getRequiredTestMethod().getName();
        String arguments = context.getDisplayName().replaceFirst("^\\[\\d+] ", "");
        String one = method + "[" + arguments + "]";
        return LISTED.containsKey(one) ? one : LISTED.containsKey(method) ? method : null;
    }

    @Override
    public void handleTestExecutionException(ExtensionContext context, Throwable failure) throws Throwable {
        String name = listed(context);
        if (name == null || failure instanceof TestAbortedException) {
            throw failure;
        }
        throw new TestAbortedException("known: " + LISTED.get(name), failure);
    }

    @Override
    public void afterTestExecution(ExtensionContext context) {
        String name = listed(context);
        if (name != null && !MAY_PASS.contains(name) && context.getExecutionException().isEmpty()) {
            throw new AssertionError("it passes, so it is no longer a difference: " + LISTED.get(name));
        }
    }
}
