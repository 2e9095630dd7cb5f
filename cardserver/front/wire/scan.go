package wire

// scan reads the JSON value that begins at or after b[i], checking its grammar
// and nothing else: the text must be UTF-8 already. It returns the offset after
// the value and the number of containers around its deepest point; ok is false
// when the text is not JSON, and end is then where that shows. It does not
// recurse, so no depth can exhaust the stack.
func scan(b []byte, i int) (end, depth int, ok bool) {
	var room [64]byte
	open := room[:0] // the opening bytes of the containers around i
	for {
		// A value is expected here.
		i = space(b, i)
		if i == len(b) {
			return i, depth, false
		}
		switch c := b[i]; c {
		case '{', '[':
			open = append(open, c)
			depth = max(depth, len(open))
			i = space(b, i+1)
			if i < len(b) && b[i] == c+2 { // in ASCII both closers are two further
				break
			}
			if c == '{' {
				if i, ok = scanKey(b, i); !ok {
					return i, depth, false
				}
			}
			continue
		default:
			if i, ok = scanScalar(b, i); !ok {
				return i, depth, false
			}
		}
		// A value or an empty container's inside has ended: close what closes.
		for {
			if len(open) == 0 {
				return i, depth, true
			}
			i = space(b, i)
			if i == len(b) {
				return i, depth, false
			}
			top := open[len(open)-1]
			if b[i] == top+2 {
				open = open[:len(open)-1]
				i++
				continue
			}
			if b[i] != ',' {
				return i, depth, false
			}
			i++
			if top == '{' {
				if i, ok = scanKey(b, i); !ok {
					return i, depth, false
				}
			}
			break
		}
	}
}

// space returns the offset of the first byte at or after i that is no JSON space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scanKey reads a key and its colon.
func scanKey(b []byte, i int) (int, bool) {
	i = space(b, i)
	if i == len(b) || b[i] != '"' {
		return i, false
	}
	i, ok := scanString(b, i)
	if !ok {
		return i, false
	}
	i = space(b, i)
	if i == len(b) || b[i] != ':' {
		return i, false
	}
	return i + 1, true
}

func scanScalar(b []byte, i int) (int, bool) {
	switch c := b[i]; {
	case c == '"':
		return scanString(b, i)
	case c == '-' || c >= '0' && c <= '9':
		return scanNumber(b, i)
	case c == 't':
		return scanWord(b, i, "true")
	case c == 'f':
		return scanWord(b, i, "false")
	case c == 'n':
		return scanWord(b, i, "null")
	}
	return i, false
}

func scanWord(b []byte, i int, word string) (int, bool) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

// scanString reads the string whose opening quote is b[i].
func scanString(b []byte, i int) (int, bool) {
	for i++; ; i++ {
		for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
			i++
		}
		if i == len(b) {
			return i, false
		}
		switch b[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
			if i == len(b) {
				return i, false
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(b, i+1); !ok {
					return i, false
				}
				i += 4
			default:
				return i, false
			}
		default:
			return i, false
		}
	}
}

// hex4 reads the four hexadecimal digits at b[i:].
func hex4(b []byte, i int) (r rune, ok bool) {
	if len(b)-i < 4 {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func scanNumber(b []byte, i int) (int, bool) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if n := digits(b, i); n > i {
		i = n
	} else {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		n := digits(b, i+1)
		if n == i+1 {
			return n, false
		}
		i = n
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		n := digits(b, i)
		if n == i {
			return n, false
		}
		i = n
	}
	return i, true
}

// digits returns the offset after the run of digits at b[i:].
func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}
