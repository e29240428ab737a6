package vtmigrated;

import com.google.gson.JsonObject;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.vitess.proto.Query.BoundQuery;
import io.vitess.proto.Query.ExecuteRequest;
import io.vitess.proto.Query.QueryResult;
import io.vitess.proto.Query.Target;
import io.vitess.proto.Topodata.TabletAlias;
import io.vitess.proto.Topodata.TabletType;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import queryservice.QueryGrpc;
import vtctldata.Vtctldata;

/** The primaries of a keyspace, asked through their query services. */
final class Tablets {
  private static final int MAX_ROWS = 100_000;

  private final String keyspace;
  private final Map<String, ManagedChannel> channels = new TreeMap<>();
  private final Map<String, TabletAlias> aliases = new TreeMap<>();

  /** The primaries of the cluster that integration-lab calls {@code name}. */
  Tablets(String name) {
    JsonObject cluster = Settings.lab().getAsJsonObject(name);
    keyspace = cluster.get("keyspace").getAsString();
    cluster.getAsJsonObject("primaries").entrySet().forEach(
        entry -> {
          var tablet = entry.getValue().getAsJsonObject();
          channels.put(
              entry.getKey(), ManagedChannelBuilder.forTarget(tablet.get("address").getAsString()).usePlaintext().build());
          aliases.put(
              entry.getKey(),
              TabletAlias.newBuilder().setCell(tablet.get("cell").getAsString()).setUid(tablet.get("uid").getAsInt()).build());
        });
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
    return rows(result);
  }

  /** The rows that a query finds on all shards, sorted. */
  List<List<String>> all(String sql) {
    var rows = new ArrayList<List<String>>();
    channels.keySet().forEach(shard -> rows.addAll(execute(shard, sql)));
    return sorted(rows);
  }

  /** The same past the query services: the server asks each tablet manager. */
  List<List<String>> fetchAll(Vtctld vtctld, String sql) {
    var rows = new ArrayList<List<String>>();
    for (var alias : aliases.values()) {
      var request = Vtctldata.ExecuteFetchAsAppRequest.newBuilder().setTabletAlias(alias).setQuery(sql)
          .setMaxRows(MAX_ROWS).build();
      rows.addAll(rows(vtctld.stub().executeFetchAsApp(request).getResult()));
    }
    return sorted(rows);
  }

  private static List<List<String>> rows(QueryResult result) {
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

  private static List<List<String>> sorted(List<List<String>> rows) {
    rows.sort(Comparator.comparing(List::toString));
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
