package fieldstream;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;

import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * The original bytes of a dead letter, encrypted for the centre: fieldstream_schemas/sealing.py tells how. Without a
 * key (job parameter fieldstream.letter-public-key-file) they stay as they are.
 */
public final class Seal extends ScalarFunction {
    private static final int PUBLIC_BYTES = 32;
    private static final byte[] INFO = "fieldstream dead letter".getBytes(StandardCharsets.US_ASCII);

    private transient PublicKey recipient;

    @Override
    public void open(FunctionContext context) throws IOException, GeneralSecurityException {
        String file = context.getJobParameter("fieldstream.letter-public-key-file", "");
        if (!file.isEmpty()) {
            String body = Files.readString(Path.of(file)).replaceAll("-----[A-Z ]+-----", "");
            byte[] encoded = Base64.getMimeDecoder().decode(body);
            recipient = KeyFactory.getInstance("X25519").generatePublic(new X509EncodedKeySpec(encoded));
        }
    }

    @DataTypeHint("BYTES")
    public byte[] eval(byte[] payload) throws GeneralSecurityException {
        if (recipient == null || payload == null) {
            return payload;
        }
        KeyPair fresh = KeyPairGenerator.getInstance("X25519").generateKeyPair();
        KeyAgreement agreement = KeyAgreement.getInstance("X25519");
        agreement.init(fresh.getPrivate());
        agreement.doPhase(recipient, true);
        byte[] publicKey = raw(fresh.getPublic());
        byte[] key = derived(agreement.generateSecret(), joined(publicKey, raw(recipient)));
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, new byte[12]));
        return joined(publicKey, cipher.doFinal(payload));
    }

    /** HKDF-SHA256 (RFC 5869), one block. */
    private static byte[] derived(byte[] shared, byte[] salt) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(salt, "HmacSHA256"));
        mac.init(new SecretKeySpec(mac.doFinal(shared), "HmacSHA256"));
        return mac.doFinal(joined(INFO, new byte[] {1}));
    }

    /** The last 32 bytes of the SubjectPublicKeyInfo are the key (RFC 8410). */
    private static byte[] raw(PublicKey key) {
        byte[] encoded = key.getEncoded();
        return Arrays.copyOfRange(encoded, encoded.length - PUBLIC_BYTES, encoded.length);
    }

    private static byte[] joined(byte[] first, byte[] second) {
        byte[] both = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }
}
