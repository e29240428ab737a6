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
import java.util.Collection;
import java.util.EnumSet;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import vtctldata.Vtctldata;
import vtctlservice.VtctldGrpc;

/** Every RPC of the official service takes the route that the table in docs/rpcs.md says. */
class EveryRpcTest {
  /** What no request, however empty, may be answered with. */
  private static final EnumSet<Status.Code> FAULTS = EnumSet.of(
      Status.Code.UNKNOWN, Status.Code.INTERNAL, Status.Code.DATA_LOSS, Status.Code.DEADLINE_EXCEEDED,
      Status.Code.CANCELLED);
  private static final Collection<MethodDescriptor<?, ?>> METHODS = VtctldGrpc.getServiceDescriptor().getMethods();

  @Test
  void theTableNamesEveryRpc() throws Exception {
    var routes = Route.table();
    var names = METHODS.stream().map(MethodDescriptor::getBareMethodName).collect(Collectors.toCollection(TreeSet::new));
    assertEquals(names, routes.keySet());
  }

  @Test
  void withoutAFallbackTheRestIsUnimplemented() throws Exception {
    var routes = Route.table();
    var vtctld = new Vtctld("memory");
    var faults = new ArrayList<String>();
    for (MethodDescriptor<?, ?> method : METHODS) {
      var answer = callEmpty(vtctld, method);
      var name = method.getBareMethodName();
      var line = name + ": " + answer.status();
      if (FAULTS.contains(answer.status().getCode())) {
        faults.add(line);
      }
      boolean unimplemented = answer.status().getCode() == Status.Code.UNIMPLEMENTED;
      switch (routes.get(name)) {
        case NATIVE -> check(faults, !unimplemented, line);
        case FORWARDED -> check(faults, unimplemented, line);
        case CONDITIONAL -> { }
      }
      if (unimplemented) {
        var text = answer.status().getDescription() == null ? "" : answer.status().getDescription();
        check(faults, text.contains(name) && text.contains("--fallback-vtctld-server"), line);
      }
    }
    assertEquals(List.of(), faults);
    // The server is still there.
    vtctld.stub().mountList(Vtctldata.MountListRequest.getDefaultInstance());
    vtctld.close();
  }

  @Test
  void withAFallbackTheRestIsForwarded() throws Exception {
    var routes = Route.table();
    var address = Settings.lab().getAsJsonObject("fallback").get("grpc").getAsString();
    var vtctld = new Vtctld("front");
    var faults = new ArrayList<String>();
    try (var stock = new Stock(Integer.parseInt(address.substring(address.lastIndexOf(':') + 1)))) {
      for (MethodDescriptor<?, ?> method : METHODS) {
        var answer = callEmpty(vtctld, method);
        var name = method.getBareMethodName();
        var line = name + ": " + answer;
        check(faults, answer.status().getCode() != Status.Code.UNIMPLEMENTED, line);
        boolean there = stock.called().contains(name);
        switch (routes.get(name)) {
          case NATIVE -> check(faults, !there, line);
          case FORWARDED -> {
            int messages = method.getType() == MethodType.UNARY ? 1 : 2;
            check(faults, there && answer.status().isOk() && answer.messages() == messages, line);
          }
          case CONDITIONAL -> { }
        }
      }
    }
    assertEquals(List.of(), faults);
    vtctld.close();
  }

  private static void check(List<String> faults, boolean good, String line) {
    if (!good) {
      faults.add(line);
    }
  }

  /** How a call ended, and how many messages came before that. */
  private record Answer(Status status, int messages) {}

  /** Calls a method with the default instance of its request; a stream is read to its end. */
  private static <Q, A> Answer callEmpty(Vtctld vtctld, MethodDescriptor<Q, A> method) {
    var request = ((PrototypeMarshaller<Q>) method.getRequestMarshaller()).getMessagePrototype();
    assertEquals(0, ((Message) request).getSerializedSize());
    var options = CallOptions.DEFAULT.withDeadlineAfter(Vtctld.DEADLINE_SECONDS, TimeUnit.SECONDS);
    var messages = new AtomicInteger();
    try {
      if (method.getType() == MethodType.UNARY) {
        ClientCalls.blockingUnaryCall(vtctld.channel(), method, options, request);
        messages.incrementAndGet();
      } else {
        ClientCalls.blockingServerStreamingCall(vtctld.channel(), method, options, request)
            .forEachRemaining(answer -> messages.incrementAndGet());
      }
      return new Answer(Status.OK, messages.get());
    } catch (StatusRuntimeException error) {
      return new Answer(error.getStatus(), messages.get());
    }
  }
}
