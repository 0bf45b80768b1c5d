package object

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"batos"
)

// Text prints v for a person, much as the dialect writes it, in about limit
// bytes: what is left out is shown as …
func Text(v Value, limit int) string {
	p := printer{limit: limit}
	p.value(v)
	return p.b.String()
}

// Describe prints one object in a line: its oid, what it is called if it has a
// name, and the names of its slots, as in <0x12a counter: count, parent*>.
func Describe(oid batos.OID, name string, s *State) string {
	var b strings.Builder
	b.WriteByte('<')
	b.WriteString(oid.String())
	if name != "" {
		b.WriteByte(' ')
		b.WriteString(name)
	}
	if s != nil {
		for i, sl := range s.slots {
			if i == 0 {
				b.WriteString(": ")
			} else {
				b.WriteString(", ")
			}
			b.WriteString(sl.Name)
		}
	}
	b.WriteByte('>')
	return b.String()
}

// printer collects text until the limit is reached; from then on it prints
// one … for everything that is left.
type printer struct {
	b     strings.Builder
	limit int
	full  bool
}

func (p *printer) put(s string) {
	if p.full {
		return
	}
	if room := p.limit - p.b.Len(); len(s) > room {
		p.full = true
		for room > 0 && room < len(s) && s[room]&0xc0 == 0x80 { // not inside a rune
			room--
		}
		s = s[:max(room, 0)] + "…"
	}
	p.b.WriteString(s)
}

func (p *printer) value(v Value) {
	if p.full {
		return
	}
	switch v := v.(type) {
	case nil:
		p.put("absent")
	case None:
		p.put("None")
	case Bool:
		if v {
			p.put("True")
		} else {
			p.put("False")
		}
	case Int:
		p.integer(v)
	case Float:
		s := strconv.FormatFloat(float64(v), 'g', -1, 64)
		if strings.Trim(s, "-0123456789") == "" {
			s += ".0"
		}
		p.put(s)
	case Str:
		p.put(strconv.Quote(p.cut(string(v))))
	case Bytes:
		p.put("b" + strconv.QuoteToASCII(p.cut(string(v))))
	case *List:
		p.items("[", v.Items, "]")
	case *Tuple:
		if len(v.Items) == 1 {
			p.items("(", v.Items, ",)")
		} else {
			p.items("(", v.Items, ")")
		}
	case *Set:
		p.items("set([", v.Items, "])")
	case *Dict:
		p.put("{")
		for i, e := range v.Entries {
			if p.full {
				return
			}
			if i > 0 {
				p.put(", ")
			}
			p.value(e.Key)
			p.put(": ")
			p.value(e.Value)
		}
		p.put("}")
	case Ref:
		p.put("<" + batos.OID(v).String() + ">")
	case *Method:
		p.put("<method " + string(v.Selector) + " by " + v.Author.String() + ">")
	case Primitive:
		p.put("<primitive " + string(v) + ">")
	case Blob:
		p.put("<blob " + hex.EncodeToString(v.Hash[:6]) + " of " + strconv.FormatInt(v.Size, 10) + " bytes>")
	case Tree:
		p.put("<tree " + batos.OID(v).String() + ">")
	case Counter:
		p.put("<counter " + strconv.FormatInt(int64(v), 10) + ">")
	case Time:
		p.put(v.AsTime().Format(time.RFC3339Nano))
	}
}

// integer prints big ones by size only when their digits would not fit:
// turning a million bits into decimals takes longer than anyone wants to wait.
func (p *printer) integer(v Int) {
	switch {
	case v.big == nil:
		p.put(strconv.FormatInt(v.small, 10))
	case v.big.BitLen() > 4*p.limit:
		p.put("<int of " + strconv.Itoa(v.big.BitLen()) + " bits>")
	default:
		p.put(v.big.String())
	}
}

// cut spares the quoting of text that will not be shown.
func (p *printer) cut(s string) string {
	n := max(p.limit, 0)
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 { // not inside a rune
		n--
	}
	return s[:n]
}

func (p *printer) items(open string, items []Value, end string) {
	p.put(open)
	for i, it := range items {
		if p.full {
			return
		}
		if i > 0 {
			p.put(", ")
		}
		p.value(it)
	}
	p.put(end)
}
