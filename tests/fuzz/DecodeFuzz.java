import java.lang.management.ManagementFactory;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.HexFormat;
import java.util.Map;
import java.util.Random;

import org.apache.flink.api.common.functions.RuntimeContext;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.util.Collector;

import fieldstream.DecodeReading;

/** Arguments: inputs, seed, good records in hexadecimal; schemas by id lie in var/schemas. Prints one JSON object. */
public final class DecodeFuzz {
    private static final long SLOW_NS = 100_000_000L;
    private static final byte[][] TOKENS = {
        {(byte) 0x80, (byte) 0xbc, (byte) 0xc1, (byte) 0x96, 0x0b}, // a length of 1.5 GB
        {(byte) 0xfe, -1, -1, -1, 0x0f}, {-1, -1, -1, -1, -1, -1, -1, -1, -1, 1}, {1}, {0}, {2}, "\u00e9<b>".getBytes()};

    public static void main(String[] args) throws Exception {
        long inputs = Long.parseLong(args[0]);
        Random chance = new Random(Long.parseLong(args[1]));
        byte[][] seeds = new byte[args.length - 2][];
        for (int i = 0; i < seeds.length; i++) {
            seeds[i] = HexFormat.of().parseHex(args[i + 2]);
        }
        DecodeReading decoder = new DecodeReading();
        long[] rows = new long[2];
        decoder.setCollector(new Collector<RowData>() {
            @Override
            public void collect(RowData row) {
                rows[row.isNullAt(0) ? 0 : 1]++;
            }

            @Override
            public void close() {}
        });
        // Of the job's context the decoder asks nothing but the job's parameters.
        decoder.open(new FunctionContext((RuntimeContext) Proxy.newProxyInstance(DecodeFuzz.class.getClassLoader(),
                new Class<?>[] {RuntimeContext.class}, (proxy, method, given) -> Map.of())));
        String found = "";
        for (long number = 0; number < inputs && found.isEmpty(); number++) {
            byte[] data = changed(chance, seeds);
            long started = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
            try {
                decoder.eval(data, Instant.ofEpochMilli(1_795_517_640_000L));
            } catch (Throwable error) { // what is being looked for; an OutOfMemoryError too
                found = error.getClass().getSimpleName() + " on " + HexFormat.of().formatHex(data);
            }
            if (ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - started > SLOW_NS && number > 10_000) {
                found = "slow on " + HexFormat.of().formatHex(data);
            }
        }
        System.out.println("{\"valid\": " + rows[0] + ", \"dead\": " + rows[1] + ", \"found\": \"" + found + "\"}");
    }

    private static byte[] changed(Random chance, byte[][] seeds) {
        byte[] seed = seeds[chance.nextInt(seeds.length)];
        ByteBuffer out = ByteBuffer.allocate(seed.length + 64);
        int at = chance.nextInt(seed.length + 1);
        out.put(seed, 0, at);
        switch (chance.nextInt(4)) {
            case 0 -> out.put(TOKENS[chance.nextInt(TOKENS.length)]);
            case 1 -> at = Math.min(seed.length, at + 1 + chance.nextInt(4));
            case 2 -> {
                if (at < seed.length) {
                    out.put((byte) (seed[at++] ^ 1 << chance.nextInt(8)));
                }
            }
            default -> {
                byte[] noise = new byte[1 + chance.nextInt(8)];
                chance.nextBytes(noise);
                out.put(noise);
                at = Math.min(seed.length, at + chance.nextInt(8));
            }
        }
        out.put(seed, at, seed.length - at);
        byte[] data = new byte[out.position()];
        out.flip().get(data);
        // Another schema id is asked of a registry, which is not here: it stays, or the frame's mark is damaged.
        System.arraycopy(seed, 0, data, 0, Math.min(5, data.length));
        if (chance.nextInt(50) == 0 && data.length > 0) {
            data[0] = 1;
        }
        return data;
    }
}
