package vtmigrated;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.vitess.proto.Topodata.TabletType;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer.OrderAnnotation;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import vschema.Vschema;
import vtctldata.Vtctldata;

/** The whole life of a migration from one cluster into another, with the official stubs. */
@TestMethodOrder(OrderAnnotation.class)
class LifeTest {
  private static final Duration PATIENCE = Duration.ofSeconds(120);
  private static final String DONE = "done";
  private static final String WORKFLOW = "import";
  private static final List<String> TABLES = List.of("corder", "customer");

  private static Vtctld vtctld;
  private static Tablets source;
  private static Tablets target;
  private static vschema.Vschema.RoutingRules rulesBefore;

  @BeforeAll
  static void dial() {
    vtctld = new Vtctld("server");
    source = new Tablets("source");
    target = new Tablets("target");
    rulesBefore = rules();
  }

  @AfterAll
  static void close() throws Exception {
    vtctld.close();
    source.close();
    target.close();
  }

  @Test
  @Order(1)
  void theSourceIsMounted() {
    var cluster = Settings.lab().getAsJsonObject("source");
    vtctld.stub().mountRegister(
        Vtctldata.MountRegisterRequest.newBuilder().setName("ext1").setTopoType("etcd2")
            .setTopoServer(cluster.get("address").getAsString()).setTopoRoot(cluster.get("root").getAsString()).build());
    var mounts = vtctld.stub().mountList(Vtctldata.MountListRequest.getDefaultInstance()).getNamesList();
    assertEquals(List.of("ext1"), List.copyOf(mounts));
  }

  @Test
  @Order(2)
  void theTargetGetsItsVSchema() {
    var keyspace = Vschema.Keyspace.newBuilder().setSharded(true)
        .putVindexes("xxhash", Vschema.Vindex.newBuilder().setType("xxhash").build())
        .putTables("customer", table("id")).putTables("corder", table("customer_id")).build();
    vtctld.stub().applyVSchema(
        Vtctldata.ApplyVSchemaRequest.newBuilder().setKeyspace(target.keyspace()).setVSchema(keyspace).build());
    var stored = vtctld.stub().getVSchema(
        Vtctldata.GetVSchemaRequest.newBuilder().setKeyspace(target.keyspace()).build());
    assertEquals(keyspace.getTablesMap(), stored.getVSchema().getTablesMap());
  }

  @Test
  @Order(3)
  void theWorkflowIsCreatedAndCopiesEverything() {
    vtctld.stub().migrateCreate(request());
    await("all streams are running", () -> {
      var streams = status().getShardStreamsMap().values().stream().flatMap(shard -> shard.getStreamsList().stream());
      var states = streams.map(Vtctldata.WorkflowStatusResponse.ShardStreamState::getStatus).toList();
      return states.equals(List.of("Running", "Running")) ? DONE : states.toString();
    });
    await("all rows are there", LifeTest::sameRows);
  }

  @Test
  @Order(4)
  void aSecondCreateOfThatNameIsRefused() {
    var error = assertThrows(StatusRuntimeException.class, () -> vtctld.stub().migrateCreate(request()));
    assertEquals(Status.Code.ALREADY_EXISTS, error.getStatus().getCode(), error.getMessage());
  }

  @Test
  @Order(5)
  void theTargetRefusesWritesMeanwhile() {
    for (var shard : target.shards()) {
      var error = assertThrows(
          StatusRuntimeException.class, () -> target.execute(shard, "insert into customer (id) values (1)"));
      assertEquals(Status.Code.FAILED_PRECONDITION, error.getStatus().getCode(), error.getMessage());
    }
  }

  @Test
  @Order(6)
  void laterWritesArrive() {
    source.execute("0", "insert into customer (id, email, note) values (100001, 'new@example.com', null)");
    source.execute("0", "update customer set note = 'changed' where id <= 100");
    // Moves rows from one shard to the other, some of them back and forth.
    source.execute("0", "update corder set customer_id = customer_id + 1 where order_id <= 200");
    source.execute("0", "delete from corder where order_id > 4900");
    await("the changes are there", LifeTest::sameRows);
  }

  @Test
  @Order(7)
  void theWorkflowIsListed() {
    var workflows = vtctld.stub().getWorkflows(
        Vtctldata.GetWorkflowsRequest.newBuilder().setKeyspace(target.keyspace()).build()).getWorkflowsList();
    assertEquals(List.of(WORKFLOW), workflows.stream().map(Vtctldata.Workflow::getName).toList());
    assertEquals(2, workflows.get(0).getShardStreamsCount());
    assertEquals(source.keyspace(), workflows.get(0).getSource().getKeyspace());
  }

  @Test
  @Order(8)
  void itIsCompleted() {
    await("complete", () -> {
      try {
        vtctld.stub().moveTablesComplete(
            Vtctldata.MoveTablesCompleteRequest.newBuilder().setWorkflow(WORKFLOW).setTargetKeyspace(target.keyspace()).build());
        return DONE;
      } catch (StatusRuntimeException error) {
        // Streams may still be some events behind the source.
        assertEquals(Status.Code.FAILED_PRECONDITION, error.getStatus().getCode(), error.getMessage());
        return error.getMessage();
      }
    });
    assertEquals(DONE, sameRows());
    var workflows = vtctld.stub().getWorkflows(
        Vtctldata.GetWorkflowsRequest.newBuilder().setKeyspace(target.keyspace()).build());
    assertEquals(List.of(), workflows.getWorkflowsList());
    assertEquals(rulesBefore, rules());
  }

  @Test
  @Order(9)
  void theTargetTakesWritesAndTheSourceKeepsItsRows() {
    var before = source.all("select * from customer");
    var shard = target.shards().iterator().next();
    target.execute(shard, "insert into customer (id, email, note) values (200001, 'target@example.com', null)");
    assertNotEquals(DONE, sameRows());
    assertEquals(before, source.all("select * from customer"));
    target.execute(shard, "delete from customer where id = 200001");
    assertEquals(DONE, sameRows());
  }

  /** Everything of the source, read from its replicas; a target tablet looks in its own cell unless told where. */
  private static Vtctldata.MigrateCreateRequest request() {
    return Vtctldata.MigrateCreateRequest.newBuilder().setWorkflow(WORKFLOW).setSourceKeyspace(source.keyspace())
        .setTargetKeyspace(target.keyspace()).setMountName("ext1").setAllTables(true).addCells("zone1")
        .addTabletTypes(TabletType.REPLICA).setAutoStart(true).build();
  }

  private static Vschema.Table table(String column) {
    return Vschema.Table.newBuilder()
        .addColumnVindexes(Vschema.ColumnVindex.newBuilder().setColumn(column).setName("xxhash")).build();
  }

  private static Vtctldata.WorkflowStatusResponse status() {
    return vtctld.stub().workflowStatus(
        Vtctldata.WorkflowStatusRequest.newBuilder().setKeyspace(target.keyspace()).setWorkflow(WORKFLOW).build());
  }

  private static Vschema.RoutingRules rules() {
    return vtctld.stub().getRoutingRules(Vtctldata.GetRoutingRulesRequest.getDefaultInstance()).getRoutingRules();
  }

  /** Compares both sides row by row, past the query services, which refuse tables while they are migrated. */
  private static String sameRows() {
    for (var table : TABLES) {
      var rows = source.all("select * from " + table);
      var copies = target.fetchAll(vtctld, "select * from " + table);
      if (!rows.equals(copies)) {
        return "%s has %d rows at the source and %d at the target, or other ones".formatted(
            table, rows.size(), copies.size());
      }
    }
    return DONE;
  }

  /** Waits until {@code obstacle} tells of none. */
  private static void await(String what, Supplier<String> obstacle) {
    var end = Instant.now().plus(PATIENCE);
    for (var found = obstacle.get(); !found.equals(DONE); found = obstacle.get()) {
      assertTrue(Instant.now().isBefore(end), what + ": not within " + PATIENCE + ": " + found);
      try {
        Thread.sleep(100);
      } catch (InterruptedException error) {
        throw new IllegalStateException(error);
      }
    }
  }
}
