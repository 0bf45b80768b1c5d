package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"batos/internal/wire"
	"batos/object"
)

// soak is a server under work and what all its clients know together.
type soak struct {
	*mortal
	isModel bool
	added   atomic.Int64 // to the object soak, as answered
	engine  sync.RWMutex // held to write by who kills it
	probe   *probe       // of a long one
	before  ticks        // at the sample before

	mu                sync.Mutex
	took, tookMission []time.Duration // since the last sample
}

// soaker is one client. Not safe for concurrent use.
type soaker struct {
	*soak
	n      int
	rng    *rand.Rand
	packs  bool // one of all is enough
	bridge *dealer
	mcp    *mcp.ClientSession
}

// work is one piece of it, done so often of a thousand.
type work struct {
	name  string
	often int
	do    func(*soaker, context.Context) error
	slow  bool // not counted among the short ones
}

var works = []work{
	{"http write", 200, (*soaker).httpAdd, false},
	{"http read", 200, (*soaker).httpRead, false},
	{"bridge write", 230, (*soaker).bridgeAdd, false},
	{"bridge read", 150, (*soaker).bridgeRead, false},
	{"bridge malformed", 10, (*soaker).bridgeMalformed, false},
	{"mcp call", 80, (*soaker).mcpCall, false},
	{"inspect", 50, (*soaker).inspect, false},
	{"catalog search", 40, (*soaker).search, false},
	{"catalog index", 3, (*soaker).index, true},
	{"set and undo", 10, (*soaker).setAndUndo, false},
	{"mission", 2, (*soaker).mission, true},
	{"errors", 10, (*soaker).errors, false},
	{"events", 4, (*soaker).events, true},
	{"chat", 2, (*soaker).chat, true},
	{"clients come and go", 5, (*soaker).reconnect, true},
	{"pack", 1, (*soaker).pack, true},
}

// allWorks are they and the churn.
var allWorks = slices.Concat(works, churn)

// pick chooses the next work.
func (w *soaker) pick() work {
	all := 0
	for _, x := range allWorks {
		all += x.often
	}
	n := w.rng.IntN(all)
	for _, x := range allWorks {
		if n -= x.often; n < 0 {
			return x
		}
	}
	panic("unreachable")
}

// do does one work and measures it. What goes wrong is the test's error.
func (w *soaker) do(t *testing.T, x work) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	began := time.Now()
	err := x.do(w, ctx)
	took := time.Since(began)
	if err != nil {
		t.Errorf("%s: %s: %v", began.Format(time.TimeOnly), x.name, err)
		w.leave()
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case x.name == "mission":
		w.tookMission = append(w.tookMission, took)
	case !x.slow:
		w.took = append(w.took, took)
	}
}

const soakMethods = `
def add(self, n):
    """Adds n to the count."""
    self.count = self.count + n
    self._p_changed = True
    return self.count

def echo(self, n):
    """Answers n."""
    return n
`

// soakWords are what documents and questions are made of.
var soakWords = strings.Fields("river stone lantern harvest copper sparrow meadow anchor velvet thunder orchard compass marble ribbon glacier ember canvas harbor willow summit")

func (w *soaker) text(words int) string {
	var b strings.Builder
	for i := range words {
		b.WriteString(soakWords[w.rng.IntN(len(soakWords))])
		if i%9 == 8 {
			b.WriteString(". ")
		} else {
			b.WriteString(" ")
		}
	}
	return b.String()
}

// prepare makes what the work is done on.
func (s *soak) prepare(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	dict := func(entries ...object.Entry) wire.Value { return wire.Value{Value: &object.Dict{Entries: entries}} }
	entry := func(name string, v object.Value) object.Entry { return object.Entry{Key: object.Str(name), Value: v} }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.client.Do(ctx, http.MethodPost, "/objects", wire.New{Name: "soak", Slots: dict(entry("count", object.NewInt(0)), entry("exported", object.Bool(true)))}, nil))
	must(s.client.Do(ctx, http.MethodPost, "/objects/soak/methods", wire.Def{Source: soakMethods}, nil))
	for n := range soakWorkers {
		must(s.client.Do(ctx, http.MethodPost, "/objects", wire.New{Name: fmt.Sprintf("thing%d", n), Slots: dict(entry("count", object.NewInt(3)))}, nil))
	}
	w := &soaker{soak: s, rng: rand.New(rand.NewPCG(1, 1))}
	for range 10 {
		must(w.index(ctx))
	}
}

// agree checks that the object's count is what was answered.
func (s *soak) agree(t *testing.T) {
	t.Helper()
	v, err := s.send(t.Context(), "", "soak", "count")
	if want := s.added.Load(); err != nil || !object.Equal(v, object.NewInt(want)) {
		t.Errorf("the count is %s, %v; %d were added", object.Text(v, 40), err, want)
	}
}

func (w *soaker) leave() {
	if w.bridge != nil {
		_ = w.bridge.conn.Close()
		w.bridge = nil
	}
	if w.mcp != nil {
		_ = w.mcp.Close()
		w.mcp = nil
	}
}

func (w *soaker) reconnect(ctx context.Context) error {
	w.leave()
	if err := w.bridgeRead(ctx); err != nil {
		return err
	}
	return w.mcpCall(ctx)
}

func (w *soaker) ask(ctx context.Context, target, selector string, args ...object.Value) (object.Value, error) {
	m := wire.Send{Target: target, Selector: selector}
	for _, a := range args {
		m.Args = append(m.Args, wire.Value{Value: a})
	}
	o, err := w.client.Send(ctx, m)
	switch {
	case err != nil:
		return nil, err
	case o.Error != nil:
		return nil, o.Error.Err()
	case o.Value == nil:
		return nil, fmt.Errorf("%s answers nothing: %s", selector, o.State)
	}
	return o.Value.Value, nil
}

func expect(got object.Value, err error, want int64) error {
	if err == nil && !object.Equal(got, object.NewInt(want)) {
		err = fmt.Errorf("%s, want %d", object.Text(got, 60), want)
	}
	return err
}

func (w *soaker) httpAdd(ctx context.Context) error {
	_, err := w.ask(ctx, "soak", "add", object.NewInt(1))
	if err == nil {
		w.added.Add(1)
	}
	return err
}

func (w *soaker) httpRead(ctx context.Context) error {
	n := w.rng.Int64N(1e6)
	v, err := w.ask(ctx, "soak", "echo", object.NewInt(n))
	return expect(v, err, n)
}

func (w *soaker) inspect(ctx context.Context) error {
	var o wire.Object
	name := []string{"soak", "genesis_obj", "knowledge_catalog_obj"}[w.rng.IntN(3)]
	if err := w.client.Do(ctx, http.MethodGet, "/objects/"+name, nil, &o); err != nil {
		return err
	}
	if o.Name != name || len(o.Slots) == 0 {
		return fmt.Errorf("%s is %+v", name, o)
	}
	return nil
}

func (w *soaker) index(ctx context.Context) error {
	id := fmt.Sprintf("document %d", w.rng.IntN(20))
	_, err := w.ask(ctx, "knowledge_catalog_obj", "index_document_", object.Str(id), object.Str(w.text(200)), &object.Dict{})
	return err
}

func (w *soaker) search(ctx context.Context) error {
	v, err := w.ask(ctx, "knowledge_catalog_obj", "search_", object.Str(w.text(2)))
	if l, ok := v.(*object.List); err == nil && (!ok || len(l.Items) == 0) {
		err = fmt.Errorf("nothing was found: %s", object.Text(v, 60))
	}
	return err
}

func (w *soaker) setAndUndo(ctx context.Context) error {
	var c wire.Changed
	if err := w.client.Do(ctx, http.MethodPut, fmt.Sprintf("/objects/thing%d/slots/note", w.n), wire.Set{Value: wire.Value{Value: object.NewInt(w.rng.Int64N(1e6))}}, &c); err != nil {
		return err
	}
	return w.client.Do(ctx, http.MethodPost, "/undo", wire.Undo(c), nil)
}

// mission has a method written, and takes it and what it did back.
func (w *soaker) mission(ctx context.Context) error {
	w.engine.RLock()
	defer w.engine.RUnlock()
	thing := fmt.Sprintf("thing%d", w.n)
	v, err := w.ask(ctx, thing, "increment_by", object.NewInt(4))
	if err := expect(v, err, 7); err != nil {
		return err
	}
	var o wire.Object
	if err := w.client.Do(ctx, http.MethodGet, "/objects/"+thing, nil, &o); err != nil {
		return err
	}
	if len(o.Methods) != 1 || o.Methods[0].Mission == "" {
		return fmt.Errorf("%s has the methods %+v", thing, o.Methods)
	}
	if err := w.client.Do(ctx, http.MethodPost, "/missions/"+o.Methods[0].Mission+"/undo", nil, nil); err != nil {
		return err
	}
	v, err = w.ask(ctx, thing, "count")
	return expect(v, err, 3)
}

func (w *soaker) errors(ctx context.Context) error {
	if _, err := w.ask(ctx, "nobody", "echo"); err == nil || !strings.Contains(err.Error(), "nobody") {
		return fmt.Errorf("a message to nobody: %v", err)
	}
	if _, err := w.ask(ctx, "soak", "echo"); err == nil {
		return fmt.Errorf("a message without its argument was answered")
	}
	return nil
}

// events listens until it hears of something that it brought about.
func (w *soaker) events(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := io.EOF
	err := w.client.Events(ctx, 1, func(wire.Event) error { return heard })
	if err != heard {
		return fmt.Errorf("the stream of events: %w", err)
	}
	return nil
}

func (w *soaker) pack(ctx context.Context) error {
	if !w.packs {
		return nil
	}
	_, err := w.client.Care(ctx, wire.Care{Verb: wire.CarePack, Before: time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)}, func(wire.CareEvent) {})
	return err
}

// request does one request beside /api/v1.
func (s *soak) request(ctx context.Context, method, path, body string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

func (s *soak) get(t *testing.T, path string) []byte {
	t.Helper()
	status, b, err := s.request(t.Context(), http.MethodGet, path, "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d, %v: %s", path, status, err, b)
	}
	return b
}

func (w *soaker) chat(ctx context.Context) error {
	if !w.isModel {
		return nil
	}
	w.engine.RLock()
	defer w.engine.RUnlock()
	body := `{"model": "brick", "stream": true, "max_tokens": 8, "messages": [{"role": "user", "content": "count"}]}`
	status, b, err := w.request(ctx, http.MethodPost, "/v1/chat/completions", body)
	if err == nil && (status != http.StatusOK || !bytes.Contains(b, []byte("data: [DONE]"))) {
		err = fmt.Errorf("status %d: %.200s", status, b)
	}
	return err
}

// authorized adds the token to what a client sends.
type authorized string

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(a))
	return http.DefaultTransport.RoundTrip(r)
}

func (w *soaker) mcpCall(ctx context.Context) error {
	if w.mcp == nil {
		c := mcp.NewClient(&mcp.Implementation{Name: "soak", Version: "1"}, nil)
		at := &mcp.StreamableClientTransport{Endpoint: "http://" + w.address + "/mcp", HTTPClient: &http.Client{Transport: authorized(w.token)}}
		s, err := c.Connect(context.Background(), at, nil)
		if err != nil {
			return err
		}
		w.mcp = s
	}
	n := w.rng.IntN(1e6)
	r, err := w.mcp.CallTool(ctx, &mcp.CallToolParams{Name: "soak-echo", Arguments: map[string]any{"n": n}})
	if err != nil {
		return err
	}
	if text, ok := r.Content[0].(*mcp.TextContent); !ok || text.Text != fmt.Sprint(n) {
		return fmt.Errorf("%+v, want %d", r.Content[0], n)
	}
	return nil
}

// dealer is a client of the bridge: what ZeroMQ's DEALER says, and no more.
type dealer struct {
	conn net.Conn
	in   *bufio.Reader
}

func dial(ctx context.Context, address string) (*dealer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	greeting := make([]byte, 64)
	greeting[0], greeting[9], greeting[10] = 0xff, 0x7f, 3
	copy(greeting[12:], "NULL")
	ready := "\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
	c := &dealer{conn: conn, in: bufio.NewReader(conn)}
	_, err = conn.Write(append(append(greeting, 4, byte(len(ready))), ready...))
	if err == nil {
		_, err = io.ReadFull(c.in, greeting)
	}
	if err == nil {
		_, err = c.frame()
	}
	if err != nil {
		return nil, fmt.Errorf("the bridge's handshake: %w", err)
	}
	return c, nil
}

// frame reads one, a command's too.
func (d *dealer) frame() ([]byte, error) {
	flags, err := d.in.ReadByte()
	if err != nil {
		return nil, err
	}
	size := make([]byte, 8)
	if flags&2 != 0 {
		_, err = io.ReadFull(d.in, size)
	} else {
		_, err = io.ReadFull(d.in, size[7:])
	}
	if err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint64(size))
	_, err = io.ReadFull(d.in, body)
	return body, err
}

// ask sends one message of one short frame and reads the answer.
func (d *dealer) ask(ctx context.Context, body []byte) (map[string]object.Value, error) {
	until, _ := ctx.Deadline()
	if err := d.conn.SetDeadline(until); err != nil {
		return nil, err
	}
	head := []byte{2, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint64(head[1:], uint64(len(body)))
	if _, err := d.conn.Write(append(head, body...)); err != nil {
		return nil, err
	}
	b, err := d.frame()
	if err != nil {
		return nil, err
	}
	v, err := wire.ParseMsgpack(b)
	if err != nil {
		return nil, err
	}
	out := map[string]object.Value{}
	if dict, ok := v.(*object.Dict); ok {
		for _, e := range dict.Entries {
			if name, ok := e.Key.(object.Str); ok {
				out[string(name)] = e.Value
			}
		}
	}
	return out, nil
}

// overBridge sends a message through the bridge, on a connection that lasts.
func (w *soaker) overBridge(ctx context.Context, selector string, arg int64) (object.Value, error) {
	dict := &object.Dict{}
	put := func(name string, v object.Value) {
		dict.Entries = append(dict.Entries, object.Entry{Key: object.Str(name), Value: v})
	}
	if w.bridge == nil {
		d, err := dial(ctx, w.zmq)
		if err != nil {
			return nil, err
		}
		w.bridge = d
		put("token", object.Str(w.token))
	}
	put("command", object.Str("send"))
	put("target", object.Str("soak"))
	put("selector", object.Str(selector))
	put("args", &object.List{Items: []object.Value{object.NewInt(arg)}})
	a, err := w.bridge.ask(ctx, wire.AppendMsgpack(nil, dict))
	if err == nil && a["value"] == nil {
		err = fmt.Errorf("answered %v", a)
	}
	return a["value"], err
}

func (w *soaker) bridgeAdd(ctx context.Context) error {
	_, err := w.overBridge(ctx, "add", 1)
	if err == nil {
		w.added.Add(1)
	}
	return err
}

func (w *soaker) bridgeRead(ctx context.Context) error {
	n := w.rng.Int64N(1e6)
	v, err := w.overBridge(ctx, "echo", n)
	return expect(v, err, n)
}

func (w *soaker) bridgeMalformed(ctx context.Context) error {
	if err := w.bridgeRead(ctx); err != nil { // there is a connection
		return err
	}
	bad := [][]byte{{}, {0xc1}, {0x93, 1}, []byte("hello"), {0xdf, 0xff, 0xff, 0xff, 0xff}}[w.rng.IntN(5)]
	a, err := w.bridge.ask(ctx, bad)
	if err == nil && a["error"] == nil {
		err = fmt.Errorf("malformed %x was answered %v", bad, a)
	}
	return err
}
