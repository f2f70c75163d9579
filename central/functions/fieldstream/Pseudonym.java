package fieldstream;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.GeneralSecurityException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * HMAC-SHA-256 (RFC 2104) of a personal value under the person's own key, hexadecimal; null for a person who is
 * forgotten. The key file is looked at each second: a change holds from then on, without a restart.
 */
public final class Pseudonym extends ScalarFunction {
    private static final long LOOK_AGAIN_NS = 1_000_000_000L;
    private static final int REMEMBERED = 10_000;

    private transient Path file;
    private transient FileTime changed;
    private transient long lookedAt;
    private transient Keyring keyring;
    private transient Map<String, String> known;

    @Override
    public void open(FunctionContext context) throws IOException, GeneralSecurityException {
        file = Path.of(context.getJobParameter("fieldstream.pseudonym-key-file", "var/secrets/pseudonym.key"));
        known = new HashMap<>();
        read();
    }

    public String eval(String person) throws IOException, GeneralSecurityException {
        if (person == null) {
            return null;
        }
        if (System.nanoTime() - lookedAt > LOOK_AGAIN_NS) {
            read();
        }
        if (known.containsKey(person)) {
            return known.get(person);
        }
        byte[] key = keyring.key(("person\0" + person).getBytes(StandardCharsets.UTF_8));
        String pseudonym = key == null ? null : HexFormat.of().formatHex(key);
        if (known.size() >= REMEMBERED) {
            known.clear();
        }
        known.put(person, pseudonym);
        return pseudonym;
    }

    private void read() throws IOException, GeneralSecurityException {
        lookedAt = System.nanoTime();
        if (keyring != null && !Files.exists(file)) {
            return; // away for a moment: the key that is known goes on
        }
        FileTime now = Files.getLastModifiedTime(file);
        if (!now.equals(changed)) {
            keyring = new Keyring(file);
            known.clear();
            changed = now;
        }
    }
}
