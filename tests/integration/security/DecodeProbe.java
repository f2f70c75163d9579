import java.lang.reflect.Proxy;
import java.time.Instant;
import java.util.HexFormat;
import java.util.Map;

import org.apache.flink.api.common.functions.RuntimeContext;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.util.Collector;

import fieldstream.DecodeReading;

/** Decodes a record whose schema only the registry knows. Arguments: registry, authorities, cache, the record in hexadecimal. */
public final class DecodeProbe {
    public static void main(String[] args) throws Exception {
        Map<String, String> parameters = Map.of("fieldstream.registry", args[0],
                "fieldstream.kafka.ssl.truststore.location", args[1], "fieldstream.schema-cache", args[2]);
        DecodeReading decoder = new DecodeReading();
        decoder.setCollector(new Collector<RowData>() {
            @Override
            public void collect(RowData row) {
                System.out.println(row.isNullAt(0) ? "a reading" : "refused: " + row.getString(0));
            }

            @Override
            public void close() {}
        });
        decoder.open(new FunctionContext((RuntimeContext) Proxy.newProxyInstance(DecodeProbe.class.getClassLoader(),
                new Class<?>[] {RuntimeContext.class}, (proxy, method, given) -> parameters)));
        decoder.eval(HexFormat.of().parseHex(args[3]), Instant.ofEpochMilli(1_795_517_640_000L));
    }
}
