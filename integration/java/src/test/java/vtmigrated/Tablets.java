package vtmigrated;

import com.google.gson.JsonObject;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.vitess.proto.Query.BoundQuery;
import io.vitess.proto.Query.ExecuteRequest;
import io.vitess.proto.Query.Target;
import io.vitess.proto.Topodata.TabletType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import queryservice.QueryGrpc;

/** The primaries of a keyspace, asked through their query services. */
final class Tablets {
  private final String keyspace;
  private final Map<String, ManagedChannel> channels = new TreeMap<>();

  /** The primaries of the cluster that integration-lab calls {@code name}. */
  Tablets(String name) {
    JsonObject cluster = Settings.lab().getAsJsonObject(name);
    keyspace = cluster.get("keyspace").getAsString();
    cluster.getAsJsonObject("primaries").entrySet().forEach(
        entry -> channels.put(
            entry.getKey(), ManagedChannelBuilder.forTarget(entry.getValue().getAsString()).usePlaintext().build()));
  }

  String keyspace() {
    return keyspace;
  }

  Iterable<String> shards() {
    return channels.keySet();
  }

  /** Runs a statement on one shard; each value of the rows as text, {@code null} for NULL. */
  List<List<String>> execute(String shard, String sql) {
    var target = Target.newBuilder().setKeyspace(keyspace).setShard(shard).setTabletType(TabletType.PRIMARY);
    var request = ExecuteRequest.newBuilder().setTarget(target)
        .setQuery(BoundQuery.newBuilder().setSql(sql)).build();
    var result = QueryGrpc.newBlockingStub(channels.get(shard))
        .withDeadlineAfter(Vtctld.DEADLINE_SECONDS, TimeUnit.SECONDS).execute(request).getResult();
    var rows = new ArrayList<List<String>>();
    for (var row : result.getRowsList()) {
      var values = new ArrayList<String>();
      int offset = 0;
      for (long length : row.getLengthsList()) {
        // A length of -1 is NULL.
        int end = offset + Math.max(0, (int) length);
        values.add(length < 0 ? null : row.getValues().substring(offset, end).toStringUtf8());
        offset = end;
      }
      rows.add(values);
    }
    return rows;
  }

  /** The rows that a query finds on all shards, sorted. */
  List<List<String>> all(String sql) {
    var rows = new ArrayList<List<String>>();
    channels.keySet().forEach(shard -> rows.addAll(execute(shard, sql)));
    rows.sort((a, b) -> a.toString().compareTo(b.toString()));
    return rows;
  }

  /** Ends the connections. */
  void close() throws InterruptedException {
    for (var channel : channels.values()) {
      channel.shutdownNow();
      channel.awaitTermination(Vtctld.DEADLINE_SECONDS, TimeUnit.SECONDS);
    }
  }
}
