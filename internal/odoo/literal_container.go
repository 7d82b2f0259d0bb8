package odoo

// list reads what follows '['.
func (p *parser) list() (Value, error) {
	list := List{}
	for {
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.peek() == ']' {
			p.pos++
			return list, nil
		}
		element, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, element)
		if more, err := p.comma(']'); err != nil || !more {
			return list, err
		}
	}
}

// parentheses reads what follows '(': a tuple, or one value in parentheses.
func (p *parser) parentheses() (Value, error) {
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.peek() == ')' {
		p.pos++
		return Tuple{}, nil
	}
	value, err := p.expressions()
	if err != nil {
		return nil, err
	}
	return value, p.closing(')')
}

// braces reads what follows '{': a dictionary or a set.
func (p *parser) braces() (Value, error) {
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.peek() == '}' {
		p.pos++
		return &Dict{}, nil
	}
	start := p.pos
	first, err := p.value()
	if err != nil {
		return nil, err
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.peek() == ':' {
		return p.dict(start, first)
	}
	return p.set(start, first)
}

// dict reads on after the first key.
func (p *parser) dict(start int, key Value) (Value, error) {
	dict := &Dict{}
	for {
		line := p.line(start)
		id, err := identity(key)
		if err != nil {
			return nil, p.errorAt(start, "%v", err)
		}
		if err := p.space(); err != nil {
			return nil, err
		}
		if p.peek() != ':' {
			return nil, p.fail("expected ':' after the key, found %s", p.token())
		}
		p.pos++
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		dict.set(id, Item{Key: key, Value: value, Line: line})
		if more, err := p.comma('}'); err != nil || !more {
			return dict, err
		}
		if p.peek() == '}' {
			p.pos++
			return dict, nil
		}
		start = p.pos
		if key, err = p.value(); err != nil {
			return nil, err
		}
	}
}

// set reads on after the first element.
func (p *parser) set(start int, element Value) (Value, error) {
	set, seen := Set{}, map[string]bool{}
	for {
		id, err := identity(element)
		if err != nil {
			return nil, p.errorAt(start, "%v", err)
		}
		if !seen[id] {
			seen[id] = true
			set = append(set, element)
		}
		if more, err := p.comma('}'); err != nil || !more {
			return set, err
		}
		if p.peek() == '}' {
			p.pos++
			return set, nil
		}
		start = p.pos
		if element, err = p.value(); err != nil {
			return nil, err
		}
	}
}

// comma reads what stands between elements: true after a comma (and the blanks behind it), false
// after the closing bracket.
func (p *parser) comma(bracket byte) (bool, error) {
	if err := p.space(); err != nil {
		return false, err
	}
	if p.peek() == ',' {
		p.pos++
		return true, p.space()
	}
	return false, p.closing(bracket)
}
