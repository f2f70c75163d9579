package fieldstream;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.table.functions.FunctionContext;

/** Avro schemas: our own from the jar, writers' by id from the cache folder, else from the registry. */
final class Schemas {
    static final int FRAME_BYTES = 5;

    static {
        // Eleven bytes may state a string of 2 GB, which Avro would make room for: an OutOfMemoryError, at each restart
        // again. Flink's copy of Avro reads its limits under this name, when it is first used.
        for (String kind : new String[] {"string", "bytes", "collectionItems"}) {
            System.setProperty(
                    "org.apache.flink.avro.shaded.org.apache.avro.limits." + kind + ".maxLength", "1048576");
        }
    }

    private final Path cache;
    private final String[] registries;
    private final String authorities;
    private final Map<Integer, Schema> byId = new ConcurrentHashMap<>();

    Schemas(FunctionContext context) {
        cache = Path.of(context.getJobParameter("fieldstream.schema-cache", "var/schemas"));
        registries = context.getJobParameter("fieldstream.registry", "").split(",");
        authorities = context.getJobParameter("fieldstream.kafka.ssl.truststore.location", "");
    }

    /** A schema of this project, by its file name in fieldstream_schemas/avro. */
    static Schema own(String file) {
        try (InputStream in = Schemas.class.getResourceAsStream("/avro/" + file)) {
            return new Schema.Parser().parse(new String(in.readAllBytes(), StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new IllegalStateException("the functions' jar lacks avro/" + file, error);
        }
    }

    /** The writer's schema, or null when every registry that answers says that there is none with this id. */
    Schema writer(int id) {
        Schema known = byId.get(id);
        if (known == null) {
            String text = text(id);
            if (text == null) {
                return null;
            }
            known = new Schema.Parser().parse(text);
            byId.put(id, known);
        }
        return known;
    }

    private String text(int id) {
        Path file = cache.resolve(id + ".avsc");
        try {
            if (Files.exists(file)) {
                return Files.readString(file);
            }
            String text = fetch(id);
            if (text != null) {
                Path aside = Files.createTempFile(cache, "schema", null);
                Files.writeString(aside, text);
                Files.move(aside, file, StandardCopyOption.ATOMIC_MOVE);
            }
            return text;
        } catch (IOException error) {
            throw new IllegalStateException("cannot keep schema " + id + " in " + cache, error);
        }
    }

    /** The authorities that Kafka is believed by, and not as a truststore of the JVM: S3's are others. */
    private SSLContext believed() {
        try {
            if (authorities.isEmpty()) {
                return SSLContext.getDefault();
            }
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            try (InputStream in = Files.newInputStream(Path.of(authorities))) {
                for (Certificate one : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
                    store.setCertificateEntry("authority-" + store.size(), one);
                }
            }
            TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(store);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trust.getTrustManagers(), null);
            return context;
        } catch (GeneralSecurityException | IOException error) {
            throw new IllegalStateException("no authorities in " + authorities, error);
        }
    }

    private String fetch(int id) {
        String problems = "";
        boolean unknown = false;
        HttpClient client =
                HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)).sslContext(believed()).build();
        for (String registry : registries) {
            try {
                HttpRequest.Builder request = HttpRequest
                        .newBuilder(URI.create(registry.replaceFirst("//[^/@]*@", "//") + "/schemas/ids/" + id + "/schema"))
                        .timeout(Duration.ofSeconds(3));
                String who = URI.create(registry).getUserInfo();
                if (who != null) {
                    request.header("Authorization", "Basic "
                            + Base64.getEncoder().encodeToString(who.getBytes(StandardCharsets.UTF_8)));
                }
                HttpResponse<String> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() == 200) {
                    return answer.body();
                }
                if (answer.statusCode() == 404) {
                    // Registered at one instance, a schema reaches the next a second later: ask them all.
                    unknown = true;
                    continue;
                }
                problems += registry + ": HTTP " + answer.statusCode() + "; ";
            } catch (IOException | IllegalArgumentException error) {
                problems += registry + ": " + error + "; ";
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted while asking for schema " + id, error);
            }
        }
        if (unknown) {
            return null;
        }
        // Not a verdict on the record: fail the task and let Flink try again.
        throw new IllegalStateException("schema " + id + " is not on disk and no registry answered: " + problems);
    }
}
