package ggml

import "strings"

// DeviceInfo is something that computes, as the library reports it.
type DeviceInfo struct {
	Name        string // "CPU", "CUDA0"
	Description string
	Kind        DeviceKind
	Free, Total int64 // bytes of its memory, now; 0 where the library does not say
}

// DeviceKind says what a device's memory is.
type DeviceKind string

const (
	Processor   DeviceKind = "cpu"
	GPU         DeviceKind = "gpu"         // with memory of its own
	Integrated  DeviceKind = "igpu"        // in the processor's memory
	Accelerator DeviceKind = "accelerator" // helps the processor
)

// kindsC are the kinds in the library's order.
var kindsC = [...]DeviceKind{Processor, GPU, Integrated, Accelerator}

func (d DeviceInfo) String() string { return d.Name + ": " + d.Description }

// Devices tells what can compute, the most capable backend first; the CPU is
// always among them.
func (l *Library) Devices() []DeviceInfo {
	var out []DeviceInfo
	for i := range l.c.devCount() {
		p := l.c.devGet(i)
		d := DeviceInfo{Name: goString(l.c.base.devName(p)), Description: strings.TrimSpace(goString(l.c.base.devDescription(p))), Kind: Accelerator}
		if k := l.c.base.devKind(p); k >= 0 && int(k) < len(kindsC) {
			d.Kind = kindsC[k]
		}
		var free, total uint64
		l.c.base.devMemory(p, &free, &total)
		d.Free, d.Total = int64(min(free, 1<<62)), int64(min(total, 1<<62))
		out = append(out, d)
	}
	return out
}
