package guardian

import "strings"

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// What the dialect's own names do to values.
var (
	modules   = words("json math time")
	constants = words("True False None")

	// scalarFunctions answer something that shares nothing with their
	// arguments, and change nothing.
	scalarFunctions = words(`abs all any bool bytes chr dir fail float hasattr hash int len
		ord print random range repr round send_later str type`)
	// copyFunctions answer a new container of their arguments' elements.
	copyFunctions = words("dict enumerate list reversed set sorted tuple zip")
	// otherFunctions are treated one by one in call.go.
	otherFunctions = words("clone getattr max min resend root sum")

	// mutators are built-in methods that change their receiver; the same
	// names on an object are sends.
	mutators = words(`add append clear delete difference_update discard extend insert
		intersection_update pop popitem put remove set setdefault symmetric_difference_update update`)
	// scalarMethods answer something that shares nothing with the receiver.
	scalarMethods = words(`capitalize count elem_ords elems endswith find format has index isalnum isalpha
		isdigit islower isspace issubset issuperset istitle isupper join lower lstrip partition removeprefix
		removesuffix replace rfind rindex rpartition rstrip startswith strip title upper
		codepoints codepoint_ords isdisjoint keys rsplit size split splitlines`)
	// freshMethods are those of scalarMethods that answer a new container.
	freshMethods = words("elem_ords elems keys partition rpartition rsplit split splitlines codepoints codepoint_ords")
	// copyMethods answer a new container of the receiver's elements, and of
	// the arguments'.
	copyMethods = words("difference intersection items range symmetric_difference union values")
	// elementMethods answer an element of the receiver, or their default.
	elementMethods = words("get max min pop popitem setdefault")
	// extenders take the elements of their argument, other mutators the
	// argument itself.
	extenders = words("difference_update extend intersection_update symmetric_difference_update update")

	// keyed mutators begin with a key or position, which they do not keep as
	// something that could change.
	keyed = words("delete discard insert pop put remove set setdefault")

	// slotChangers are the selectors of traits_obj that change the
	// receiver's slots.
	slotChangers = words("count_ deleteSlot_ delete_slot_ removeSlot_ remove_slot_ setSlot_value_ set_slot_")
	// slotNaming says which arguments of a selector are names of slots.
	slotNaming = map[string][]int{
		"count_": {0}, "setSlot_value_": {0}, "set_slot_": {0}, "slot_": {0}, "has_slot_": {0},
		"deleteSlot_": {0}, "delete_slot_": {0}, "removeSlot_": {0}, "remove_slot_": {0},
	}
)

// knownMethod reports whether a call of this name on anything but a known
// object is taken for a built-in method of the dialect.
func knownMethod(name string) bool {
	return mutators[name] || scalarMethods[name] || copyMethods[name] || elementMethods[name]
}

// defined reports whether a global name is one of the dialect's: its own
// functions and modules, and root names.
func defined(name string) bool {
	return constants[name] || modules[name] || scalarFunctions[name] || copyFunctions[name] || otherFunctions[name] ||
		isRoot(name) || isLowered(name)
}

// isRoot reports whether a global name is that of a root object.
func isRoot(name string) bool {
	return strings.HasSuffix(name, "_obj") || name == "active_cycles"
}

// isLowered reports whether name is a function that parsing puts in place of
// an f-string or its fields: no program can type it.
func isLowered(name string) bool { return strings.HasPrefix(name, "·") }
