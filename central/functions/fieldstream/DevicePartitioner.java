package fieldstream;

import java.nio.charset.StandardCharsets;
import java.util.Map;

import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.Partitioner;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.Cluster;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.utils.Utils;

/**
 * Partitions by the part of the key before the first slash, hashed as Kafka's own partitioner does: keys
 * `device/metric/start` go where key `device` goes, so the windows of one device stay in order.
 */
public final class DevicePartitioner implements Partitioner {
    @Override
    public int partition(String topic, Object key, byte[] keyBytes, Object value, byte[] valueBytes, Cluster cluster) {
        String text = keyBytes == null ? "" : new String(keyBytes, StandardCharsets.UTF_8);
        int slash = text.indexOf('/');
        byte[] device = (slash < 0 ? text : text.substring(0, slash)).getBytes(StandardCharsets.UTF_8);
        return Utils.toPositive(Utils.murmur2(device)) % cluster.partitionCountForTopic(topic);
    }

    @Override
    public void close() {}

    @Override
    public void configure(Map<String, ?> configs) {}
}
