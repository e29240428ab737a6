package vtmigrated;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import vtctldata.Vtctldata;

/** Keyspaces and shards, with the official stubs. */
class KeyspaceTest {
  private static Vtctld vtctld;

  @BeforeAll
  static void dial() {
    vtctld = new Vtctld("memory");
  }

  @AfterAll
  static void close() throws Exception {
    vtctld.close();
  }

  @Test
  void aKeyspaceIsCreatedListedAndDeleted() {
    var created = vtctld.stub().createKeyspace(Vtctldata.CreateKeyspaceRequest.newBuilder().setName("java_ks").build());
    assertEquals("java_ks", created.getKeyspace().getName());
    var all = vtctld.stub().getKeyspaces(Vtctldata.GetKeyspacesRequest.getDefaultInstance());
    assertTrue(all.getKeyspacesList().stream().anyMatch(keyspace -> keyspace.getName().equals("java_ks")));
    var one = vtctld.stub().getKeyspace(Vtctldata.GetKeyspaceRequest.newBuilder().setKeyspace("java_ks").build());
    assertEquals(created.getKeyspace(), one.getKeyspace());
    vtctld.stub().createShard(Vtctldata.CreateShardRequest.newBuilder().setKeyspace("java_ks").setShardName("-80").build());
    var shards = vtctld.stub().findAllShardsInKeyspace(
        Vtctldata.FindAllShardsInKeyspaceRequest.newBuilder().setKeyspace("java_ks").build());
    assertEquals(List.of("-80"), List.copyOf(shards.getShardsMap().keySet()));
  }

  @Test
  void aKeyspaceThatIsNotThereIsNotFound() {
    var error = assertThrows(
        StatusRuntimeException.class,
        () -> vtctld.stub().getKeyspace(Vtctldata.GetKeyspaceRequest.newBuilder().setKeyspace("nowhere").build()));
    assertEquals(Status.Code.NOT_FOUND, error.getStatus().getCode());
    assertTrue(error.getMessage().contains("nowhere"), error.getMessage());
  }
}
