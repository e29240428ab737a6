package vtmigrated;

import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.stub.ServerCalls;
import java.io.IOException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import vtctlservice.VtctldGrpc;

/** A vtctld made of the official stubs: it answers every RPC with an empty message, streams with two, and remembers who was called. */
final class Stock implements AutoCloseable {
  private final Set<String> called = ConcurrentHashMap.newKeySet();
  private final Server server;

  Stock(int port) throws IOException {
    var service = ServerServiceDefinition.builder(VtctldGrpc.getServiceDescriptor());
    for (MethodDescriptor<?, ?> method : VtctldGrpc.getServiceDescriptor().getMethods()) {
      add(service, method);
    }
    server = Grpc.newServerBuilderForPort(port, InsecureServerCredentials.create()).addService(service.build()).build().start();
  }

  private <Q, A> void add(ServerServiceDefinition.Builder service, MethodDescriptor<Q, A> method) {
    var answer = ((PrototypeMarshaller<A>) method.getResponseMarshaller()).getMessagePrototype();
    var handler = method.getType() == MethodType.UNARY
        ? ServerCalls.<Q, A>asyncUnaryCall((request, observer) -> {
          called.add(method.getBareMethodName());
          observer.onNext(answer);
          observer.onCompleted();
        })
        : ServerCalls.<Q, A>asyncServerStreamingCall((request, observer) -> {
          called.add(method.getBareMethodName());
          observer.onNext(answer);
          observer.onNext(answer);
          observer.onCompleted();
        });
    service.addMethod(method, handler);
  }

  /** The names of the RPCs that came here. */
  Set<String> called() {
    return called;
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}
