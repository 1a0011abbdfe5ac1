package org.passerelle;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;

/**
 * A key and its certificate for localhost, in a folder: {@code gw.pem} and {@code gw.key} for the gateway.
 *
 * @param store the same for clients, PKCS #12 with the password {@code secret}
 */
record Keys(Path folder, Path store) {
    static Keys in(Path folder) throws Exception {
        Path keys = folder.resolve("keys.p12");
        Provider.run("keytool", "-genkeypair", "-alias", "gw", "-keyalg", "RSA", "-validity", "90", "-dname", "CN=localhost",
            "-ext", "san=dns:localhost,ip:127.0.0.1", "-storetype", "PKCS12", "-keystore", keys.toString(),
            "-storepass", "secret", "-keypass", "secret");
        KeyStore store = KeyStore.getInstance(keys.toFile(), "secret".toCharArray());
        pem(folder.resolve("gw.pem"), "CERTIFICATE", store.getCertificate("gw").getEncoded());
        pem(folder.resolve("gw.key"), "PRIVATE KEY", store.getKey("gw", "secret".toCharArray()).getEncoded());
        return new Keys(folder, keys);
    }

    private static void pem(Path file, String what, byte[] content) throws IOException {
        String lines = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content);
        Files.writeString(file, "-----BEGIN " + what + "-----\n" + lines + "\n-----END " + what + "-----\n");
    }
}
