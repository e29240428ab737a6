package vtmigrated;

import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.util.concurrent.TimeUnit;
import vtctlservice.VtctldGrpc;

/** A connection to a running vtmigrated through the official stubs. */
final class Vtctld {
  static final long DEADLINE_SECONDS = 20;
  private static final int MESSAGE_LIMIT = 16 << 20;

  private final ManagedChannel channel;

  /** Dials the server that integration-lab calls {@code name}. */
  Vtctld(String name) {
    var address = Settings.lab().getAsJsonObject(name).get("grpc").getAsString();
    channel = ManagedChannelBuilder.forTarget(address).usePlaintext().maxInboundMessageSize(MESSAGE_LIMIT).build();
  }

  ManagedChannel channel() {
    return channel;
  }

  /** A stub whose next call has to end within the deadline. */
  VtctldGrpc.VtctldBlockingStub stub() {
    return VtctldGrpc.newBlockingStub(channel).withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS);
  }

  /** Ends the connection. */
  void close() throws InterruptedException {
    channel.shutdownNow();
    if (!channel.awaitTermination(DEADLINE_SECONDS, TimeUnit.SECONDS)) {
      throw new IllegalStateException("the channel does not end");
    }
  }
}
