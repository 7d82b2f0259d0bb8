package odoo

import (
	"fmt"
	"math/big"
	"strconv"
)

// Value is what a Python literal stands for: nil (None), bool, int64, *big.Int (beyond 64 bits),
// float64, string, Bytes, List, Tuple, Set or *Dict.
type Value any

// Bytes, List, Tuple and Set are the Python types of those names. A Set keeps the order of the
// source and holds each element once.
type (
	Bytes []byte
	List  []Value
	Tuple []Value
	Set   []Value
)

// Dict is a Python dictionary in the order of its source.
type Dict struct {
	items []Item
	index map[string]int
}

// Item is one entry of a Dict.
type Item struct {
	Key, Value Value
	Line       int // of the key, from 1
}

// Items returns the entries in order. The slice belongs to the Dict.
func (d *Dict) Items() []Item {
	if d == nil {
		return nil
	}
	return d.items
}

// Get returns the value of a string key.
func (d *Dict) Get(key string) (Value, bool) {
	item, ok := d.item(key)
	return item.Value, ok
}

func (d *Dict) item(key string) (Item, bool) {
	if d == nil {
		return Item{}, false
	}
	i, ok := d.index["s"+key]
	if !ok {
		return Item{}, false
	}
	return d.items[i], true
}

// set does what Python does with a key that comes twice: the first place, the last value.
func (d *Dict) set(id string, item Item) {
	if i, ok := d.index[id]; ok {
		d.items[i].Value = item.Value
		return
	}
	if d.index == nil {
		d.index = map[string]int{}
	}
	d.index[id] = len(d.items)
	d.items = append(d.items, item)
}

// identity gives equal strings for values that Python holds to be the same key (True == 1 == 1.0),
// and fails for what cannot be a key.
func identity(v Value) (string, error) {
	switch v := v.(type) {
	case nil:
		return "n", nil
	case bool:
		if v {
			return "i1", nil
		}
		return "i0", nil
	case int64:
		return "i" + strconv.FormatInt(v, 10), nil
	case *big.Int:
		return "i" + v.String(), nil
	case float64:
		if whole, accuracy := new(big.Float).SetFloat64(v).Int(nil); accuracy == big.Exact {
			return "i" + whole.String(), nil
		}
		return "f" + strconv.FormatFloat(v, 'x', -1, 64), nil
	case string:
		return "s" + v, nil
	case Bytes:
		return "b" + string(v), nil
	case Tuple:
		id := "t"
		for _, element := range v {
			part, err := identity(element)
			if err != nil {
				return "", err
			}
			id += strconv.Itoa(len(part)) + ":" + part
		}
		return id, nil
	default:
		return "", fmt.Errorf("a %s cannot be a key or an element of a set", typeName(v))
	}
}

func typeName(v Value) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "string"
	case Bytes:
		return "bytes"
	case List:
		return "list"
	case Tuple:
		return "tuple"
	case Set:
		return "set"
	case *Dict:
		return "dictionary"
	default:
		return fmt.Sprintf("%T", v)
	}
}
