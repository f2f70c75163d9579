package fieldstream;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.HexFormat;

import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/** HMAC-SHA-256 (RFC 2104) of a personal value, hexadecimal. The key is read from a file and never leaves this. */
public final class Pseudonym extends ScalarFunction {
    private transient Mac mac;

    @Override
    public void open(FunctionContext context) throws IOException, GeneralSecurityException {
        Path file = Path.of(context.getJobParameter("fieldstream.pseudonym-key-file", "var/secrets/pseudonym.key"));
        mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Files.readAllBytes(file), "HmacSHA256"));
    }

    public String eval(String person) {
        return person == null ? null : HexFormat.of().formatHex(mac.doFinal(person.getBytes(StandardCharsets.UTF_8)));
    }
}
