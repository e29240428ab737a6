package vtmigrated;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.protobuf.Message;
import io.grpc.CallOptions;
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

/** Every RPC of the official service against a server that keeps its topology in memory. */
class EveryRpcTest {
  /** What no request, however empty, may be answered with. */
  private static final EnumSet<Status.Code> FAULTS = EnumSet.of(
      Status.Code.UNKNOWN, Status.Code.INTERNAL, Status.Code.DATA_LOSS, Status.Code.DEADLINE_EXCEEDED,
      Status.Code.CANCELLED);

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
  void everyRpcAnswersAnEmptyRequest() {
    var faults = new ArrayList<String>();
    var methods = VtctldGrpc.getServiceDescriptor().getMethods();
    int unimplemented = 0;
    for (MethodDescriptor<?, ?> method : methods) {
      var status = callEmpty(method);
      var line = method.getFullMethodName() + ": " + status;
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
    // The server is still there.
    vtctld.stub().mountList(Vtctldata.MountListRequest.getDefaultInstance());
  }

  /** Calls a method with the default instance of its request; a stream is read to its end. */
  private static <Q, A> Status callEmpty(MethodDescriptor<Q, A> method) {
    var request = ((PrototypeMarshaller<Q>) method.getRequestMarshaller()).getMessagePrototype();
    assertEquals(0, ((Message) request).getSerializedSize());
    var options = CallOptions.DEFAULT.withDeadlineAfter(Vtctld.DEADLINE_SECONDS, TimeUnit.SECONDS);
    try {
      if (method.getType() == MethodType.UNARY) {
        ClientCalls.blockingUnaryCall(vtctld.channel(), method, options, request);
      } else {
        ClientCalls.blockingServerStreamingCall(vtctld.channel(), method, options, request).forEachRemaining(answer -> {});
      }
      return Status.OK;
    } catch (StatusRuntimeException error) {
      return error.getStatus();
    }
  }
}
