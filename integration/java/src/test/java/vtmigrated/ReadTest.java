package vtmigrated;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.io.IOException;
import java.net.Socket;
import java.util.ArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import vschema.Vschema;
import vtctldata.Vtctldata;
import vtctlservice.VtctldGrpc;

/** A client that reads much at full speed over one connection keeps it, and one that floods beside it does not. */
class ReadTest {
  private static final long MUCH = 100L << 20;
  private static final int CALLERS = 4;
  private static final long LIMIT_SECONDS = 120;
  private static final byte[] PREFACE =
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0".getBytes(java.nio.charset.StandardCharsets.ISO_8859_1);
  private static final byte[] PING = {0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  private static final int PINGS = 100_000;

  @Test
  void aHundredMegabytesAreReadOverOneConnectionBesideAFlood() throws Exception {
    var vtctld = new Vtctld("memory");
    var address = Settings.lab().getAsJsonObject("memory").get("grpc").getAsString();
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(address).usePlaintext().maxInboundMessageSize(16 << 20).disableRetry().build();
    ExecutorService threads = Executors.newFixedThreadPool(CALLERS + 1);
    try {
      fill(vtctld);
      var lost = lostConnections(channel);
      var flood = threads.submit(() -> isHungUpOn(address));
      var read = new AtomicLong();
      var readers = new ArrayList<Future<?>>();
      for (int at = 0; at < CALLERS; at++) {
        readers.add(threads.submit(() -> read(channel, read)));
      }
      for (Future<?> reader : readers) {
        reader.get(LIMIT_SECONDS, TimeUnit.SECONDS);
      }
      Assertions.assertTrue(read.get() >= MUCH);
      Assertions.assertTrue(flood.get(LIMIT_SECONDS, TimeUnit.SECONDS), "a flood is not hung up on");
      assertEquals(0, lost.get(), "connections that were lost");
    } finally {
      threads.shutdownNow();
      channel.shutdownNow();
      channel.awaitTermination(Vtctld.DEADLINE_SECONDS, TimeUnit.SECONDS);
      vtctld.close();
    }
  }

  /** A keyspace whose VSchema has some megabytes. */
  private static void fill(Vtctld vtctld) {
    vtctld.stub().createKeyspace(Vtctldata.CreateKeyspaceRequest.newBuilder().setName("java_read").build());
    var keyspace = Vschema.Keyspace.newBuilder();
    for (int at = 0; at < 3500; at++) {
      keyspace.putTables("t".repeat(900) + at, Vschema.Table.getDefaultInstance());
    }
    vtctld.stub().applyVSchema(
        Vtctldata.ApplyVSchemaRequest.newBuilder().setKeyspace("java_read").setVSchema(keyspace).build());
  }

  private static void read(ManagedChannel channel, AtomicLong read) {
    var request = Vtctldata.GetVSchemaRequest.newBuilder().setKeyspace("java_read").build();
    while (read.get() < MUCH) {
      var stub = VtctldGrpc.newBlockingStub(channel).withDeadlineAfter(LIMIT_SECONDS, TimeUnit.SECONDS);
      read.addAndGet(stub.getVSchema(request).getSerializedSize());
    }
  }

  /** Counts how often the channel is without its connection once it was there. */
  private static AtomicInteger lostConnections(ManagedChannel channel) {
    var lost = new AtomicInteger();
    watch(channel, channel.getState(true), lost);
    return lost;
  }

  private static void watch(ManagedChannel channel, ConnectivityState state, AtomicInteger lost) {
    channel.notifyWhenStateChanged(state, () -> {
      var now = channel.getState(false);
      if (state == ConnectivityState.READY && now != ConnectivityState.SHUTDOWN) {
        lost.incrementAndGet();
      }
      if (now != ConnectivityState.SHUTDOWN) {
        watch(channel, now, lost);
      }
    });
  }

  private static boolean isHungUpOn(String address) {
    var at = address.lastIndexOf(':');
    try (var socket = new Socket(address.substring(0, at), Integer.parseInt(address.substring(at + 1)))) {
      socket.setSoTimeout(30_000);
      var out = socket.getOutputStream();
      out.write(PREFACE);
      for (int sent = 0; sent < PINGS; sent++) {
        out.write(PING);
      }
      // what was answered before the end
      while (socket.getInputStream().read() >= 0) {
        continue;
      }
      return true;
    } catch (java.net.SocketTimeoutException stillOpen) {
      return false;
    } catch (IOException hungUp) {
      return true;
    }
  }
}
