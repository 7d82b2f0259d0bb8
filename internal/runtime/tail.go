package runtime

// Tail keeps the last bytes written to it.
type Tail struct {
	Most int
	buf  []byte
}

func (l *Tail) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	if len(l.buf) > 2*l.Most { // seldom, so that writing stays cheap
		l.buf = append(l.buf[:0], l.buf[len(l.buf)-l.Most:]...)
	}
	return len(p), nil
}

// Bytes are what was written last.
func (l *Tail) Bytes() []byte {
	return l.buf[max(0, len(l.buf)-l.Most):]
}
