package fieldstream;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;

import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.DecoderFactory;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Topic `assets` as a table in memory, one per class loader, followed by a daemon thread: a change is effective at
 * the next reading. The first reading waits until the table has caught up with the topic's end.
 */
final class AssetTable {
    private static final Logger LOG = LoggerFactory.getLogger(AssetTable.class);
    private static final String TOPIC = "assets";
    private static final StringData EMPTY = StringData.fromString("");
    private static final RowData UNKNOWN = GenericRowData.of(EMPTY, EMPTY, EMPTY, EMPTY, null, null, null, null, null);
    private static AssetTable shared;

    private final Map<String, RowData> rows = new ConcurrentHashMap<>();
    private final CountDownLatch caughtUp = new CountDownLatch(1);
    private final Properties kafka;
    private final Schemas schemas;
    private final Schema ours = Schemas.own("asset.avsc");

    static synchronized AssetTable shared(Properties kafka, Schemas schemas) {
        if (shared == null) {
            shared = new AssetTable(kafka, schemas);
            Thread thread = new Thread(shared::followForEver, "asset-table");
            thread.setDaemon(true);
            thread.start();
        }
        return shared;
    }

    private AssetTable(Properties kafka, Schemas schemas) {
        this.kafka = kafka;
        this.schemas = schemas;
    }

    RowData get(String key) {
        try {
            caughtUp.await();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while the asset table was being read", error);
        }
        return rows.getOrDefault(key, UNKNOWN);
    }

    private void followForEver() {
        while (true) {
            try {
                follow();
            } catch (RuntimeException error) {
                LOG.warn("reading topic {} failed; trying again in 1 s", TOPIC, error);
            }
            try {
                Thread.sleep(1000);
            } catch (InterruptedException stop) {
                return;
            }
        }
    }

    private void follow() {
        // Kafka finds its classes by the thread's loader.
        Thread.currentThread().setContextClassLoader(AssetTable.class.getClassLoader());
        try (KafkaConsumer<String, byte[]> consumer =
                new KafkaConsumer<>(kafka, new StringDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(TOPIC).stream()
                    .map(info -> new TopicPartition(TOPIC, info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (true) {
                consumer.poll(Duration.ofMillis(500)).forEach(this::apply);
                if (caughtUp.getCount() > 0
                        && partitions.stream().allMatch(each -> consumer.position(each) >= ends.get(each))) {
                    caughtUp.countDown();
                }
            }
        }
    }

    private void apply(ConsumerRecord<String, byte[]> record) {
        if (record.value() == null) {
            rows.remove(record.key());
            return;
        }
        try {
            rows.put(record.key(), row(decode(record.value())));
        } catch (IOException | RuntimeException error) {
            LOG.error("topic {} offset {}: not a sensor, skipped", TOPIC, record.offset(), error);
        }
    }

    private static RowData row(GenericRecord sensor) {
        return GenericRowData.of(text(sensor, "site"), text(sensor, "area"), text(sensor, "asset_id"),
                text(sensor, "asset_type"), text(sensor, "unit"), sensor.get("low_low"), sensor.get("low"),
                sensor.get("high"), sensor.get("high_high"));
    }

    private static StringData text(GenericRecord sensor, String field) {
        Object value = sensor.get(field);
        return value == null ? null : StringData.fromString(value.toString());
    }

    private GenericRecord decode(byte[] value) throws IOException {
        Schema writer = schemas.writer(ByteBuffer.wrap(value, 1, 4).getInt());
        byte[] body = Arrays.copyOfRange(value, Schemas.FRAME_BYTES, value.length);
        return new GenericDatumReader<GenericRecord>(writer, ours)
                .read(null, DecoderFactory.get().binaryDecoder(body, null));
    }
}
