package vtmigrated;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import vtctldata.Vtctldata;

/** Mounting a cluster, with the official stubs. */
class MountTest {
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
  void aMountIsRegisteredShownListedAndUnregistered() {
    var source = Settings.lab().getAsJsonObject("source");
    var register = Vtctldata.MountRegisterRequest.newBuilder().setName("ext1").setTopoType("etcd2")
        .setTopoServer(source.get("address").getAsString()).setTopoRoot(source.get("root").getAsString()).build();
    vtctld.stub().mountRegister(register);
    assertEquals(List.of("ext1"), names());
    var shown = vtctld.stub().mountShow(Vtctldata.MountShowRequest.newBuilder().setName("ext1").build());
    assertEquals("etcd2", shown.getTopoType());
    assertEquals(register.getTopoServer(), shown.getTopoServer());
    assertEquals(register.getTopoRoot(), shown.getTopoRoot());
    assertEquals("ext1", shown.getName());

    vtctld.stub().mountUnregister(Vtctldata.MountUnregisterRequest.newBuilder().setName("ext1").build());
    assertEquals(List.of(), names());
    var error = assertThrows(
        StatusRuntimeException.class,
        () -> vtctld.stub().mountShow(Vtctldata.MountShowRequest.newBuilder().setName("ext1").build()));
    assertEquals(Status.Code.NOT_FOUND, error.getStatus().getCode(), error.getMessage());
  }

  @Test
  void anUnreachableMountIsRefusedAndNotStored() {
    var error = assertThrows(
        StatusRuntimeException.class,
        () -> vtctld.stub().mountRegister(
            Vtctldata.MountRegisterRequest.newBuilder().setName("dead").setTopoType("etcd2")
                .setTopoServer("127.0.0.1:1").setTopoRoot("/vitess/global").build()));
    assertEquals(Status.Code.UNAVAILABLE, error.getStatus().getCode(), error.getMessage());
    assertEquals(false, names().contains("dead"));
  }

  private static List<String> names() {
    return List.copyOf(vtctld.stub().mountList(Vtctldata.MountListRequest.getDefaultInstance()).getNamesList());
  }
}
