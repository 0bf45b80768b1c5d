// Package codec gives object state, values and arguments their one canonical
// form in bytes.
package codec

import (
	"batos"
	"batos/image/store"
	"batos/object"
)

// EncodeState gives the record of an object.
func EncodeState(s *object.State) []byte { panic("being written") }

// DecodeState is the inverse of EncodeState.
func DecodeState(data []byte) (*object.State, error) { panic("being written") }

// EncodeValue gives one value in bytes.
func EncodeValue(v object.Value) []byte { panic("being written") }

// DecodeValue is the inverse of EncodeValue.
func DecodeValue(data []byte) (object.Value, error) { panic("being written") }

// EncodeArgs gives a message's arguments in bytes.
func EncodeArgs(args []object.Value, kwargs []object.Slot) []byte { panic("being written") }

// DecodeArgs is the inverse of EncodeArgs.
func DecodeArgs(data []byte) ([]object.Value, []object.Slot, error) { panic("being written") }

// Refs lists what s refers to, in order and without duplicates.
func Refs(s *object.State) ([]batos.OID, []store.BlobHash) { panic("being written") }
