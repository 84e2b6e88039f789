package kgw;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;

/** Tables: of a topic, of every partition on every instance, joined with each other and with a stream. */
final class Tables {
    private Tables() {}

    static void join(Check check) throws Exception {
        String orders = check.topic + "-orders";
        String users = check.topic + "-users";
        String cities = check.topic + "-cities";
        String out = check.topic + "-out";
        String joined = check.topic + "-joined";
        Topics.create(check, 3, orders, users, cities, out, joined);
        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, String> table = builder.table(users, materialized("users"));
        GlobalKTable<String, String> global = builder.globalTable(cities, materialized("cities"));
        builder.<String, String>stream(orders)
                .join(table, (order, user) -> order + ":" + user)
                .join(global, (key, value) -> value.substring(value.indexOf(':') + 1), (value, city) ->
                        value + ":" + city)
                .map((key, value) -> KeyValue.pair(value.substring(0, value.indexOf(':')), value))
                .to(out);
        // A join over another key than the table's own: two more repartition topics, made by Streams
        table.join(builder.table(joined, materialized("names")), city -> city, (city, name) -> city + "=" + name)
                .toStream()
                .to(check.topic + "-foreign");
        Topics.create(check, 3, check.topic + "-foreign");

        List<ProducerRecord<String, String>> records = new ArrayList<>();
        Map<String, String> foreign = new HashMap<>();
        for (int user = 0; user < 20; user++) {
            String city = "city" + user % 4;
            records.add(new ProducerRecord<>(users, "user" + user, city));
            foreign.put("user" + user, city + "=" + "Name of " + city);
        }
        for (int city = 0; city < 4; city++) {
            records.add(new ProducerRecord<>(cities, "city" + city, "country" + city % 2));
            records.add(new ProducerRecord<>(joined, "city" + city, "Name of city" + city));
        }
        Topics.write(check, records);
        try (App app = new App(check, check.topic, builder.build(), Map.of()).start()) {
            Topics.becomes(check, "join by a foreign key", check.topic + "-foreign", new StringDeserializer(), foreign);
            records.clear();
            Map<String, String> want = new HashMap<>();
            for (int order = 0; order < 100; order++) {
                int user = order % 20;
                records.add(new ProducerRecord<>(orders, "user" + user, "order" + order));
                want.put("order" + order, "order" + order + ":city" + user % 4 + ":country" + user % 4 % 2);
            }
            Topics.write(check, records);
            Topics.becomes(check, "stream, table and global table", out, new StringDeserializer(), want);
            var store = app.streams.store(StoreQueryParameters.fromNameAndType(
                    "users", QueryableStoreTypes.<String, String>keyValueStore()));
            check.equal("the table asked for a key", store.get("user7"), "city3");
            Topics.write(check, List.of(new ProducerRecord<>(users, "user7", null)));
            foreign.remove("user7");
            Topics.becomes(check, "a tombstone", check.topic + "-foreign", new StringDeserializer(), foreign);
        }
    }

    private static Materialized<String, String, org.apache.kafka.streams.state.KeyValueStore<
                    org.apache.kafka.common.utils.Bytes, byte[]>>
            materialized(String name) {
        return Materialized.<String, String>as(Stores.inMemoryKeyValueStore(name))
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.String());
    }
}
