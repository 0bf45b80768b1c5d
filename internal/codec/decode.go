package codec

import (
	"encoding/binary"
	"math"
	"math/big"
	"unicode/utf8"

	"batos"
	"batos/object"
)

// decoder reads canonical bytes. After the first error everything it gives is
// zero, so that callers ask once, at the end.
type decoder struct {
	b     []byte
	i     int    // where it is in b
	all   string // what of b begins with the first text that was copied, if that is small
	allAt int    // where all begins in b
	depth int    // containers open around i
	held  int    // bytes of memory that what was read takes, see memory.go
	err   error
}

// sharedText is up to what size of the input all text that is read shares one
// copy of it. It bounds what one short text may hold on to.
const sharedText = 1 << 10

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = batos.Errorf(batos.Corrupt, "stored bytes are damaged at offset %d of %d: %s", d.i, len(d.b), what)
	}
	d.i = len(d.b)
}

// end gives the error so far, or that of bytes left over.
func (d *decoder) end() error {
	if d.err == nil && d.i != len(d.b) {
		d.fail("bytes are left over")
	}
	return d.err
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b)-d.i {
		d.fail("it ends too early")
		return nil
	}
	p := d.b[d.i : d.i+n]
	d.i += n
	return p
}

func (d *decoder) byte() byte {
	if d.i < len(d.b) {
		d.i++
		return d.b[d.i-1]
	}
	d.fail("it ends too early")
	return 0
}

func (d *decoder) peek() byte {
	if d.i < len(d.b) {
		return d.b[d.i]
	}
	return 0
}

// number reads a big-endian number of n bytes that would not fit one of half
// the width (n > 1), as the canonical form demands.
func (d *decoder) number(n int) uint64 {
	p := d.take(n)
	if p == nil {
		return 0
	}
	switch n {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(p))
	case 4:
		return uint64(binary.BigEndian.Uint32(p))
	}
	return binary.BigEndian.Uint64(p)
}

// atLeast demands that u needed the form it came in.
func (d *decoder) atLeast(u, least uint64) uint64 {
	if u < least && d.err == nil {
		d.fail("a number is not in its shortest form")
		return 0
	}
	return u
}

// uint reads an unsigned integer of up to 64 bits.
func (d *decoder) uint() uint64 {
	switch t := d.byte(); {
	case t < 0x80:
		return uint64(t)
	case t == 0xcc:
		return d.atLeast(d.number(1), 0x80)
	case t == 0xcd:
		return d.atLeast(d.number(2), 1<<8)
	case t == 0xce:
		return d.atLeast(d.number(4), 1<<16)
	case t == 0xcf:
		return d.atLeast(d.number(8), 1<<32)
	}
	d.fail("a number is needed")
	return 0
}

// int reads an integer of 64 bits.
func (d *decoder) int() int64 {
	t := d.peek()
	if t < 0x80 || t >= 0xcc && t <= 0xcf {
		u := d.uint()
		if u > math.MaxInt64 {
			d.fail("a number is too large")
			return 0
		}
		return int64(u)
	}
	d.byte()
	var i, most int64
	switch {
	case t >= 0xe0:
		return int64(int8(t))
	case t == 0xd0:
		i, most = int64(int8(d.number(1))), -33
	case t == 0xd1:
		i, most = int64(int16(d.number(2))), math.MinInt8-1
	case t == 0xd2:
		i, most = int64(int32(d.number(4))), math.MinInt16-1
	case t == 0xd3:
		i, most = int64(d.number(8)), math.MinInt32-1
	default:
		d.fail("a number is needed")
		return 0
	}
	if i > most && d.err == nil {
		d.fail("a number is not in its shortest form")
		return 0
	}
	return i
}

// small reads a number that is at most top.
func (d *decoder) small(top uint64) uint64 {
	u := d.uint()
	if u > top {
		d.fail("a number is out of range")
		return 0
	}
	return u
}

// length reads the length behind a tag that was one of an 8, 16 and 32 bit
// form; short is the least length that needed the first of them.
func (d *decoder) length(width int, short uint64) int {
	least := short
	switch width {
	case 2:
		least = max(short, 1<<8)
	case 4:
		least = 1 << 16
	}
	u := d.atLeast(d.number(width), least)
	if u > uint64(len(d.b)-d.i) { // every element takes at least one byte
		d.fail("a length goes beyond the end")
		return 0
	}
	return int(u)
}

func (d *decoder) rawStr() []byte {
	switch t := d.byte(); {
	case t&0xe0 == 0xa0:
		return d.take(int(t & 0x1f))
	case t == 0xd9:
		return d.take(d.length(1, 32))
	case t == 0xda:
		return d.take(d.length(2, 32))
	case t == 0xdb:
		return d.take(d.length(4, 32))
	}
	d.fail("text is needed")
	return nil
}

// raw reads text without looking at it.
func (d *decoder) raw() []byte {
	if d.i < len(d.b) {
		if n := int(d.b[d.i]) - 0xa0; uint(n) < 32 && d.i+n < len(d.b) { // most text is short
			d.i += 1 + n
			return d.b[d.i-n : d.i]
		}
	}
	return d.rawStr()
}

func (d *decoder) str() string { return d.text(d.raw()) }

// name is str for text that is likely to have come before.
func (d *decoder) name() string {
	p := d.raw()
	if n := len(p); n > 0 && n <= wordBytes {
		if w := wordOf(p); w != nil {
			return w.text
		}
	}
	return d.text(p)
}

// strValue is name for a value.
func (d *decoder) strValue() object.Value {
	p := d.raw()
	if n := len(p); n > 0 && n <= wordBytes {
		if w := wordOf(p); w != nil {
			return w.value
		}
	}
	d.held += boxSize
	return object.Str(d.text(p))
}

// text gives the bytes that were read last as text.
func (d *decoder) text(p []byte) string {
	for i := range p {
		if p[i] >= utf8.RuneSelf {
			if utf8.Valid(p[i:]) {
				break
			}
			d.fail("text is not UTF-8")
			return ""
		}
	}
	return d.copied(p)
}

// copied gives the bytes that were read last in memory that nobody changes.
func (d *decoder) copied(p []byte) string {
	if len(p) == 0 || len(d.b) > sharedText {
		d.hold(len(p))
		return string(p)
	}
	if d.all == "" {
		d.allAt = d.i - len(p)
		d.all = string(d.b[d.allAt:])
		d.hold(len(d.all))
	}
	return d.all[d.i-len(p)-d.allAt : d.i-d.allAt]
}

func (d *decoder) bin() []byte {
	switch d.byte() {
	case 0xc4:
		return d.take(d.length(1, 0))
	case 0xc5:
		return d.take(d.length(2, 0))
	case 0xc6:
		return d.take(d.length(4, 0))
	}
	d.fail("bytes are needed")
	return nil
}

func (d *decoder) arrayLen() int {
	switch t := d.byte(); {
	case t&0xf0 == 0x90:
		return d.count(int(t & 0xf))
	case t == 0xdc:
		return d.count16(d.number(2))
	case t == 0xdd:
		return d.length(4, 0)
	}
	d.fail("a list is needed")
	return 0
}

// mapLen gives the number of pairs.
func (d *decoder) mapLen() int {
	n := 0
	switch t := d.byte(); {
	case t&0xf0 == 0x80:
		n = int(t & 0xf)
	case t == 0xde:
		n = d.count16(d.number(2))
	case t == 0xdf:
		n = d.length(4, 0)
	default:
		d.fail("a map is needed")
	}
	return d.count(2*n) / 2
}

// count16 checks the 16-bit form of a count, which has no 8-bit form before it.
func (d *decoder) count16(u uint64) int { return d.count(int(d.atLeast(u, 16))) }

func (d *decoder) count(n int) int {
	if n > len(d.b)-d.i {
		d.fail("a length goes beyond the end")
		return 0
	}
	return n
}

// tuple demands an array of exactly n elements.
func (d *decoder) tuple(n int) {
	if got := d.arrayLen(); got != n && d.err == nil {
		d.fail("a list has the wrong length")
	}
}

// extLen reads the header of an extension whose tag is next.
func (d *decoder) extLen() (code byte, n int) {
	switch t := d.byte(); t {
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		n = 1 << (t - 0xd4)
	case 0xc7, 0xc8, 0xc9:
		n = d.length(1<<(t-0xc7), 0)
		if n == 1 || n == 2 || n == 4 || n == 8 || n == 16 {
			d.fail("an extension is not in its shortest form")
			return 0, 0
		}
	default:
		d.fail("no value begins like this")
		return 0, 0
	}
	code = d.byte()
	return code, d.count(n)
}

// slots reads n slots with different names, into room if they fit.
func (d *decoder) slots(n int, room []object.Slot) []object.Slot {
	if n == 0 || d.err != nil {
		return nil
	}
	slots := room[:0]
	if cap(room) < n {
		slots = make([]object.Slot, 0, n)
		d.hold(n * slotSize)
	}
	var seen map[string]struct{}
	if n > fewNames {
		seen = make(map[string]struct{}, n)
	}
	for range n {
		name := d.name()
		twice := false
		if seen != nil {
			_, twice = seen[name]
			seen[name] = struct{}{}
		} else {
			for i := range slots {
				twice = twice || slots[i].Name == name
			}
		}
		if twice {
			d.fail("a name comes twice")
		}
		v := d.value()
		if d.err != nil {
			return nil
		}
		slots = append(slots, object.Slot{Name: name, Value: v})
	}
	return slots[:n:n]
}

// fewNames is the number up to which a scan beats a map.
const fewNames = 12

func (d *decoder) values(n int) []object.Value {
	if n == 0 || d.err != nil {
		return nil
	}
	items := make([]object.Value, 0, n)
	d.hold(n * valueSize)
	for range n {
		v := d.value()
		if d.err != nil {
			return nil
		}
		items = append(items, v)
	}
	return items
}

// names notices what comes twice.
type names struct {
	few  []string
	many map[string]struct{}
}

func (s *names) add(name string) bool {
	if s.many != nil {
		_, ok := s.many[name]
		s.many[name] = struct{}{}
		return !ok
	}
	for _, f := range s.few {
		if f == name {
			return false
		}
	}
	s.few = append(s.few, name)
	if len(s.few) > fewNames {
		s.many = make(map[string]struct{}, 2*fewNames)
		for _, f := range s.few {
			s.many[f] = struct{}{}
		}
	}
	return true
}

func (d *decoder) enter() bool {
	d.depth++
	if d.depth > object.MaxDepth {
		d.fail("it nests too deep")
		return false
	}
	return d.err == nil
}

// smallInts are the ints that most ints are, ready made.
var smallInts = func() (out [1 << 10]object.Value) {
	for i := range out {
		out[i] = object.NewInt(int64(i))
	}
	return out
}()

func boxed(i int64) object.Value {
	if i >= 0 && i < int64(len(smallInts)) {
		return smallInts[i]
	}
	return object.NewInt(i)
}

func (d *decoder) value() object.Value {
	t := d.peek()
	switch {
	case d.i >= len(d.b):
		d.fail("it ends too early")
		return nil
	case t < 0x80, t >= 0xe0, t >= 0xcc && t <= 0xcf, t >= 0xd0 && t <= 0xd3:
		i := d.int()
		if i < 0 || i >= int64(len(smallInts)) {
			d.held += boxSize
		}
		return boxed(i)
	case t&0xe0 == 0xa0, t >= 0xd9 && t <= 0xdb:
		return d.strValue()
	case t&0xf0 == 0x90, t == 0xdc, t == 0xdd:
		return d.listValue()
	case t&0xf0 == 0x80, t == 0xde, t == 0xdf:
		return d.dict()
	case t == 0xc0:
		d.i++
		return object.None{}
	case t == 0xc2, t == 0xc3:
		d.i++
		return object.Bool(t == 0xc3)
	case t == 0xcb:
		return d.float()
	case t >= 0xc4 && t <= 0xc6:
		d.held += boxSize
		return object.Bytes(d.copied(d.bin()))
	}
	return d.ext()
}

func (d *decoder) list() []object.Value {
	if !d.enter() {
		return nil
	}
	items := d.values(d.arrayLen())
	d.depth--
	return items
}

// shortList is a list with room for its items, which makes it one thing to the
// collector.
type shortList struct {
	object.List
	items [3]object.Value
}

func (d *decoder) listValue() object.Value {
	if n := int(d.peek()) - 0x90; n <= 0 || n > len(shortList{}.items) {
		d.held += listSize
		return &object.List{Items: d.list()}
	}
	if !d.enter() {
		return nil
	}
	l := &shortList{}
	d.held += shortListSize
	n := d.arrayLen()
	l.Items = l.items[:n:n]
	for i := range l.Items {
		l.Items[i] = d.value()
	}
	d.depth--
	if d.err != nil {
		return nil
	}
	return &l.List
}

func (d *decoder) dict() object.Value {
	if !d.enter() {
		return nil
	}
	n := d.mapLen()
	if d.err != nil {
		return nil
	}
	entries := make([]object.Entry, 0, n)
	d.held += listSize
	d.hold(n * 2 * valueSize)
	var seen names
	for range n {
		key := d.key(&seen)
		v := d.value()
		if d.err != nil {
			return nil
		}
		entries = append(entries, object.Entry{Key: key, Value: v})
	}
	d.depth--
	return &object.Dict{Entries: entries}
}

// key reads a value that can be a key, and was not seen before.
func (d *decoder) key(seen *names) object.Value {
	start := d.i
	k := d.value()
	switch {
	case d.err != nil:
	case !object.Hashable(k):
		d.fail("a key cannot be one")
	case !seen.add(string(d.b[start:d.i])):
		d.fail("a key comes twice")
	}
	return k
}

func (d *decoder) float() object.Value {
	d.byte()
	bits := d.number(8)
	f := math.Float64frombits(bits)
	if f != f && bits != math.Float64bits(math.NaN()) {
		d.fail("a float is not in its one form")
	}
	d.held += wordSize
	return object.Float(f)
}

func (d *decoder) ext() object.Value {
	code, n := d.extLen()
	if d.err != nil {
		return nil
	}
	stop := d.i + n
	v := d.payload(code, n)
	if d.err == nil && d.i != stop {
		d.fail("an extension has the wrong length")
	}
	if d.err != nil {
		return nil
	}
	return v
}

func (d *decoder) payload(code byte, n int) object.Value {
	switch code {
	case ExtBigInt:
		return d.bigInt(n)
	case ExtTuple:
		d.held += listSize
		return &object.Tuple{Items: d.list()}
	case ExtSet:
		return d.set()
	case ExtMethod:
		return d.method()
	case ExtPrimitive:
		d.held += boxSize
		return object.Primitive(d.text(d.take(n)))
	case ExtBlob:
		var b object.Blob
		copy(b.Hash[:], d.take(len(b.Hash)))
		b.Size = int64(d.number(8))
		if b.Size < 0 {
			d.fail("a blob has a size below zero")
		}
		d.held += blobSize
		return b
	}
	d.held += wordSize
	switch code {
	case ExtRef:
		return object.Ref(d.number(8))
	case ExtTree:
		return object.Tree(d.number(8))
	case ExtCounter:
		return object.Counter(d.number(8))
	case ExtTime:
		return object.Time(d.number(8))
	}
	d.fail("an extension has a code of a kind of value that does not exist")
	return nil
}

func (d *decoder) bigInt(n int) object.Value {
	p := d.take(n)
	if len(p) < 2 || p[0] > 1 || p[1] == 0 {
		d.fail("an integer is not in its one form")
		return nil
	}
	i := new(big.Int).SetBytes(p[1:])
	if p[0] == 1 {
		i.Neg(i)
	}
	if i.IsInt64() {
		d.fail("an integer is not in its shortest form")
		return nil
	}
	d.hold(boxSize + bigSize + len(p))
	return object.BigInt(i)
}

func (d *decoder) set() object.Value {
	if !d.enter() {
		return nil
	}
	n := d.arrayLen()
	if d.err != nil {
		return nil
	}
	items := make([]object.Value, 0, n)
	d.held += listSize
	d.hold(n * valueSize)
	var seen names
	for range n {
		k := d.key(&seen)
		if d.err != nil {
			return nil
		}
		items = append(items, k)
	}
	d.depth--
	return &object.Set{Items: items}
}

func (d *decoder) method() object.Value {
	d.tuple(7)
	d.held += methodSize
	m := &object.Method{
		Selector:   batos.Selector(d.str()),
		Source:     d.str(),
		Author:     batos.Authority(d.small(uint64(batos.Person))),
		AuthorName: d.str(),
		Mission:    batos.OID(d.uint()),
		Provenance: batos.OID(d.uint()),
		Version:    int(d.small(math.MaxInt32)),
	}
	return m
}
