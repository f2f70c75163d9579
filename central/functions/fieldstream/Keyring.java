package fieldstream;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** The key that can forget: privacy/keyring.py tells how it works. Here its newest generation makes keys. */
final class Keyring {
    private static final int DEPTH = 48;

    private final Mac mac;
    private byte[] index;
    private final Map<String, byte[]> nodes = new HashMap<>();

    Keyring(Path file) throws IOException, GeneralSecurityException {
        mac = Mac.getInstance("HmacSHA256");
        List<String> lines = Files.readAllLines(file);
        if (lines.size() == 1 && !lines.get(0).strip().contains(" ")) {
            byte[] secret = HexFormat.of().parseHex(lines.get(0).strip());
            index = hmac(secret, "index".getBytes(StandardCharsets.US_ASCII));
            nodes.put("", hmac(secret, "key".getBytes(StandardCharsets.US_ASCII)));
            return;
        }
        for (String line : lines) {
            String[] words = line.strip().split(" +");
            if (words[0].equals("index")) {
                index = HexFormat.of().parseHex(words[1]);
            } else if (words[0].equals("key")) {
                for (String word : Arrays.asList(words).subList(1, words.length)) {
                    int colon = word.indexOf(':');
                    nodes.put(word.substring(0, colon), HexFormat.of().parseHex(word.substring(colon + 1)));
                }
                break; // older generations only find what was made before
            }
        }
        if (index == null) {
            throw new IOException(file + " is no key file: openssl rand -hex 32");
        }
    }

    /** The name's key; null once it is forgotten. */
    byte[] key(byte[] name) throws GeneralSecurityException {
        byte[] digest = hmac(index, name);
        StringBuilder way = new StringBuilder(DEPTH);
        for (int bit = 0; bit < DEPTH; bit++) {
            way.append((digest[bit / 8] >> (7 - bit % 8) & 1) == 1 ? '1' : '0');
        }
        for (int length = 0; length <= DEPTH; length++) {
            byte[] node = nodes.get(way.substring(0, length));
            if (node != null) {
                for (int at = length; at < DEPTH; at++) {
                    node = hmac(node, new byte[] {(byte) (way.charAt(at) - '0')});
                }
                return hmac(node, name);
            }
        }
        return null;
    }

    private byte[] hmac(byte[] key, byte[] text) throws GeneralSecurityException {
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text);
    }
}
