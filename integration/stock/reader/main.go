// The program reader asks a vtctld over one connection for the VSchema of a keyspace until it has read so many bytes, as fast as
// they come: `reader ADDRESS KEYSPACE BYTES`. It fails when a call fails, or when the connection had to be made again. It does so
// twice: with windows that grow by what the line carries, and with small ones; and once more for a little, as VTAdmin dials before
// 23.0.7 and 24.0.4: by the name of a cluster, which leaves `:authority` empty.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/stats"
)

const (
	method  = "/vtctlservice.Vtctld/GetVSchema"
	callers = 4
	limit   = 10 * time.Minute
	// Of HTTP/2; a window that is given is not made larger by what the line carries.
	smallWindow = 65535
)

// bytesCodec passes messages as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(message.([]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*int64) += int64(data.Len())
	return nil
}

// connections counts those that were opened.
type connections struct{ opened atomic.Int64 }

func (c *connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *connections) HandleRPC(context.Context, stats.RPCStats)                         {}
func (c *connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (c *connections) HandleConn(_ context.Context, event stats.ConnStats) {
	if _, begins := event.(*stats.ConnBegin); begins {
		c.opened.Add(1)
	}
}

func read(target string, request []byte, wanted int64, options ...grpc.DialOption) error {
	seen := &connections{}
	options = append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(seen),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(16<<20)),
	)
	connection, err := grpc.NewClient(target, options...)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var total, calls atomic.Int64
	var group sync.WaitGroup
	errs := make(chan error, callers)
	for range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			for total.Load() < wanted {
				var size int64
				if err := connection.Invoke(ctx, method, request, &size); err != nil {
					errs <- err
					return
				}
				total.Add(size)
				calls.Add(1)
			}
		}()
	}
	group.Wait()
	select {
	case err := <-errs:
		return fmt.Errorf("after %d bytes in %d calls: %w", total.Load(), calls.Load(), err)
	default:
	}
	if opened := seen.opened.Load(); opened != 1 {
		return fmt.Errorf("%d connections were opened", opened)
	}
	fmt.Printf("%d bytes in %d calls\n", total.Load(), calls.Load())
	return nil
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: reader ADDRESS KEYSPACE BYTES")
	}
	address, keyspace := args[0], args[1]
	wanted, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	if len(keyspace) > 127 {
		return fmt.Errorf("the name of the keyspace is too long")
	}
	// GetVSchemaRequest: a string as field 1
	request := append([]byte{0x0a, byte(len(keyspace))}, keyspace...)
	target := "passthrough:///" + address
	if err := read(target, request, wanted); err != nil {
		return fmt.Errorf("windows that grow: %w", err)
	}
	small := []grpc.DialOption{grpc.WithInitialWindowSize(smallWindow), grpc.WithInitialConnWindowSize(smallWindow)}
	if err := read(target, request, wanted, small...); err != nil {
		return fmt.Errorf("small windows: %w", err)
	}
	clusters := manual.NewBuilderWithScheme("cluster")
	clusters.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: address}}})
	if err := read("cluster://vtctld/", request, 1, grpc.WithResolvers(clusters)); err != nil {
		return fmt.Errorf("an empty authority: %w", err)
	}
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}
