package bridge

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"batos/internal/wire"
	"batos/object"
)

// BenchmarkSend is what one message over the bridge costs this process: eight
// clients with 32 requests under way each, as bare as they can be. cpu-us/op is
// the processor's time, theirs included; make bench ONLY=bridge has real
// clients.
func BenchmarkSend(b *testing.B) {
	const clients, window = 8, 32
	address := strings.TrimPrefix(stage(b, nil).Address(), Scheme)
	request := func(token string, i int) []byte {
		entry := func(name string, v object.Value) object.Entry { return object.Entry{Key: object.Str(name), Value: v} }
		d := &object.Dict{Entries: []object.Entry{
			entry("command", object.Str("send")), entry("target", object.Str("counter")), entry("selector", object.Str("echo")),
			entry("args", &object.List{Items: []object.Value{object.NewInt(int64(i))}}), entry("ref", object.Str("3/123456")),
		}}
		if token != "" {
			d.Entries = append(d.Entries, entry("token", object.Str(token)))
		}
		body := wire.AppendMsgpack(nil, d)
		return append([]byte{0, byte(len(body))}, body...)
	}
	var conns []net.Conn
	var ins []*bufio.Reader
	frame := func(in *bufio.Reader) {
		head, err := in.Peek(2)
		if err == nil {
			size := 2 + int(head[1])
			if head[0]&2 != 0 {
				if head, err = in.Peek(9); err == nil {
					size = 9 + int(binary.BigEndian.Uint64(head[1:]))
				}
			}
			if err == nil {
				_, err = in.Discard(size)
			}
		}
		if err != nil {
			b.Error(err)
		}
	}
	for range clients {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		g := make([]byte, 64)
		g[0], g[9], g[10] = 0xff, 0x7f, 3
		copy(g[12:], "NULL")
		ready := "\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
		if _, err := c.Write(append(append(append(g, 4, byte(len(ready))), ready...), request(token, 1)...)); err != nil {
			b.Fatal(err)
		}
		in := bufio.NewReaderSize(c, 1<<15)
		if _, err := io.ReadFull(in, g); err != nil {
			b.Fatal(err)
		}
		frame(in) // READY
		frame(in)
		conns, ins = append(conns, c), append(ins, in)
	}
	one := request("", 123456)
	b.ReportAllocs()
	b.ResetTimer()
	began := processor()
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			places := make(chan struct{}, window)
			n := b.N / clients
			wg.Go(func() {
				for range n {
					frame(ins[i])
					<-places
				}
			})
			w := bufio.NewWriter(c)
			for range n {
				select {
				case places <- struct{}{}:
				default:
					if err := w.Flush(); err != nil {
						b.Error(err)
					}
					places <- struct{}{}
				}
				if _, err := w.Write(one); err != nil {
					b.Error(err)
				}
			}
			if err := w.Flush(); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((processor()-began).Microseconds())/float64(b.N), "cpu-us/op")
}

// processor is the time that this process has had the processor.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
