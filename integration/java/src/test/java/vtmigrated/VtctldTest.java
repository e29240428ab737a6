package vtmigrated;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import vtctldata.Vtctldata;
import vtctlservice.VtctldGrpc;

/** The official stubs against a server that keeps its topology in memory. */
class VtctldTest {
  private static final long DEADLINE_SECONDS = 20;
  /** What no request, however empty, may be answered with. */
  private static final EnumSet<Status.Code> FAULTS = EnumSet.of(
      Status.Code.UNKNOWN, Status.Code.INTERNAL, Status.Code.DATA_LOSS, Status.Code.DEADLINE_EXCEEDED, Status.Code.CANCELLED);

  private static ManagedChannel channel;

  @BeforeAll
  static void dial() {
    var address = Settings.lab().getAsJsonObject("memory").get("grpc").getAsString();
    channel = ManagedChannelBuilder.forTarget(address).usePlaintext().build();
  }

  @AfterAll
  static void close() throws Exception {
    channel.shutdownNow();
    assertTrue(channel.awaitTermination(DEADLINE_SECONDS, TimeUnit.SECONDS));
  }

  private static VtctldGrpc.VtctldBlockingStub vtctld() {
    return VtctldGrpc.newBlockingStub(channel).withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS);
  }

  @Test
  void aKeyspaceIsCreatedListedAndDeleted() {
    var created = vtctld().createKeyspace(Vtctldata.CreateKeyspaceRequest.newBuilder().setName("java_ks").build());
    assertEquals("java_ks", created.getKeyspace().getName());
    var all = vtctld().getKeyspaces(Vtctldata.GetKeyspacesRequest.getDefaultInstance());
    assertTrue(all.getKeyspacesList().stream().anyMatch(keyspace -> keyspace.getName().equals("java_ks")));
    var one = vtctld().getKeyspace(Vtctldata.GetKeyspaceRequest.newBuilder().setKeyspace("java_ks").build());
    assertEquals(created.getKeyspace(), one.getKeyspace());
    vtctld().createShard(Vtctldata.CreateShardRequest.newBuilder().setKeyspace("java_ks").setShardName("-80").build());
    var shards = vtctld().findAllShardsInKeyspace(
        Vtctldata.FindAllShardsInKeyspaceRequest.newBuilder().setKeyspace("java_ks").build());
    assertEquals(List.of("-80"), List.copyOf(shards.getShardsMap().keySet()));
  }

  @Test
  void aKeyspaceThatIsNotThereIsNotFound() {
    var error = assertThrows(
        StatusRuntimeException.class,
        () -> vtctld().getKeyspace(Vtctldata.GetKeyspaceRequest.newBuilder().setKeyspace("nowhere").build()));
    assertEquals(Status.Code.NOT_FOUND, error.getStatus().getCode());
    assertTrue(error.getMessage().contains("nowhere"), error.getMessage());
  }

  @Test
  void anUnreachableMountIsRefusedAndNotStored() {
    var error = assertThrows(
        StatusRuntimeException.class,
        () -> vtctld().mountRegister(
            Vtctldata.MountRegisterRequest.newBuilder().setName("dead").setTopoType("etcd2")
                .setTopoServer("127.0.0.1:1").setTopoRoot("/vitess/global").build()));
    assertEquals(Status.Code.UNAVAILABLE, error.getStatus().getCode(), error.getMessage());
    var mounts = vtctld().mountList(Vtctldata.MountListRequest.getDefaultInstance());
    assertTrue(!mounts.getNamesList().contains("dead"));
  }

  @Test
  void everyRpcAnswersAnEmptyRequest() {
    var faults = new ArrayList<String>();
    var methods = VtctldGrpc.getServiceDescriptor().getMethods();
    int unimplemented = 0;
    for (MethodDescriptor<?, ?> method : methods) {
      var status = callEmpty(method);
      var line = method.getFullMethodName() + ": " + status;
      System.out.println(line);
      if (FAULTS.contains(status.getCode())) {
        faults.add(line);
      }
      if (status.getCode() == Status.Code.UNIMPLEMENTED) {
        unimplemented++;
        var text = status.getDescription() == null ? "" : status.getDescription();
        if (!text.contains(method.getBareMethodName())) {
          faults.add(line + " (does not name the RPC)");
        }
      }
    }
    System.out.printf("%d of %d RPCs are served%n", methods.size() - unimplemented, methods.size());
    assertEquals(List.of(), faults);
    assertTrue(vtctld().getKeyspaces(Vtctldata.GetKeyspacesRequest.getDefaultInstance()).isInitialized());
  }

  /** Calls a method with the default instance of its request; a stream is read to its end. */
  private static <Q, A> Status callEmpty(MethodDescriptor<Q, A> method) {
    var request = ((PrototypeMarshaller<Q>) method.getRequestMarshaller()).getMessagePrototype();
    assertEquals(0, ((Message) request).getSerializedSize());
    var options = CallOptions.DEFAULT.withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS);
    try {
      if (method.getType() == MethodType.UNARY) {
        ClientCalls.blockingUnaryCall(channel, method, options, request);
      } else {
        ClientCalls.blockingServerStreamingCall(channel, method, options, request).forEachRemaining(answer -> {});
      }
      return Status.OK;
    } catch (StatusRuntimeException error) {
      return error.getStatus();
    }
  }
}
